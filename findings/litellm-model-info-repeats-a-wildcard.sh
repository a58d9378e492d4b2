#!/bin/sh
# LiteLLM 1.109.3, /v1/model/info, which reads like the list of deployments: two deployments, one of them the wildcard `openai/*`, are
# 213 rows and 1.7 MB. The wildcard is a row for each of 211 models that its price list knows, all with the same model_info.id; an
# alias of the other repeats that one's id. Deployments are the different ids, not the rows.
#
# Seen: 213 rows, 2 ids, rows per id 211 2. Ends with 1 if that is no longer so.
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
  - {model_name: "openai/*", litellm_params: {model: "openai/*", api_base: "http://127.0.0.1:9/v1", api_key: none}}
router_settings: {model_group_alias: {other: main}}
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
rows = json.loads(get("/v1/model/info"))["data"]
ids = collections.Counter(row["model_info"]["id"] for row in rows)
print(f"{len(rows)} rows, {len(ids)} ids, rows per id", *sorted(ids.values(), reverse=True))
EOF
seen=$(python3 "$work/ask.py" "$port")
echo "$seen"
[ "$seen" = "213 rows, 2 ids, rows per id 211 2" ]
