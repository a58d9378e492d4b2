#!/bin/sh
# LiteLLM 1.109.3: /router/settings, whose `current_values` read like the settings in force, tells `fallbacks` without the default ones
# as soon as a group has fallbacks of its own. /get/config/callbacks tells both, the default ones as the group `*`. A check of "where
# may a request go" that reads the first one misses where every other group goes.
#
# Seen, with fallbacks of one group and default_fallbacks: settings name the groups: main; callbacks: main *.
# Ends with 1 if that is no longer so.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
pid=
trap '[ -n "$pid" ] && kill "$pid" 2> /dev/null; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q --disable-pip-version-check install --no-deps -r "$here/../tests/engines/pins/litellm.txt" litellm==1.109.3
cat > "$work/config.yaml" <<'EOF'
model_list:
  - {model_name: main, litellm_params: {model: openai/local, api_base: "http://127.0.0.1:9/v1", api_key: none}}
  - {model_name: second, litellm_params: {model: openai/second, api_base: "http://127.0.0.1:9/v1", api_key: none}}
  - {model_name: last, litellm_params: {model: openai/last, api_base: "http://127.0.0.1:9/v1", api_key: none}}
router_settings: {fallbacks: [{main: [second]}]}
litellm_settings: {default_fallbacks: [last]}
general_settings: {master_key: sk-finding}
EOF
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
LITELLM_LOCAL_MODEL_COST_MAP=True LITELLM_TELEMETRY=False "$work/venv/bin/litellm" --config "$work/config.yaml" \
  --host 127.0.0.1 --port "$port" > "$work/log" 2>&1 &
pid=$!
cat > "$work/ask.py" <<'EOF'
import collections, json, sys, time, urllib.request
def get(path):
    request = urllib.request.Request(f"http://127.0.0.1:{sys.argv[1]}{path}", headers={"Authorization": "Bearer sk-finding"})
    return urllib.request.urlopen(request, timeout=60).read()
limit = time.monotonic() + 180
while True:
    try:
        get("/health/liveliness")
        break
    except OSError:
        if time.monotonic() > limit:
            sys.exit("the proxy did not start")
        time.sleep(0.5)
def groups(rows):
    return " ".join(group for row in rows for group in row)
settings = json.loads(get("/router/settings"))["current_values"]["fallbacks"]
callbacks = json.loads(get("/get/config/callbacks"))["router_settings"]["fallbacks"]
print(f"settings name the groups: {groups(settings)}; callbacks: {groups(callbacks)}")
EOF
seen=$(python3 "$work/ask.py" "$port")
echo "$seen"
[ "$seen" = "settings name the groups: main; callbacks: main *" ]
