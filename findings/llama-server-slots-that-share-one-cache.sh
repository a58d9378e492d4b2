#!/bin/sh
# llama.cpp's server (build 11549, package xllamacpp 2026.10.11549) without a number of slots: it makes four that share one KV cache,
# and each tells the whole of it as its own `n_ctx`. Four requests that fit by what each slot says (a third of its n_ctx) do not fit
# together: all of them end with an error. Nothing in /props, /slots, /v1/models or /metrics says that the cache is shared. With
# `-np 4` and a cache each, the same slots tell their share.
#
# Seen, n_ctx 1024: automatic: 4 slots, n_ctx of each 1024, of 4 requests for 340 tokens at once 0 ended well, 4 with status 500.
#                   -np 4:     4 slots, n_ctx of each 256.
# Ends with 1 if that is no longer so.
set -eu
work=$(mktemp -d)
pid=
trap '[ -n "$pid" ] && kill "$pid" 2> /dev/null; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q --disable-pip-version-check install --no-deps \
  xllamacpp==2026.10.11549 gguf==0.19.0 numpy==2.4.6 PyYAML==6.0.4 tqdm==4.70.1 requests==2.34.2

cat > "$work/model.py" <<'EOF'
import sys, gguf, numpy
width, words = 128, 600
out = gguf.GGUFWriter(sys.argv[1], "llama")
for name, value in dict(context_length=4096, embedding_length=width, block_count=1, feed_forward_length=256, head_count=4,
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

cat > "$work/serve.py" <<'EOF'
import signal, sys
from xllamacpp import CommonParams, Server
params = CommonParams()
params.model.path, params.hostnames, params.port, params.n_ctx = sys.argv[1], ["127.0.0.1"], int(sys.argv[2]), 1024
params.n_parallel = int(sys.argv[3])
params.endpoint_metrics = True
server = Server(params)
signal.pause()
EOF

cat > "$work/ask.py" <<'EOF'
import collections, json, sys, threading, time, urllib.request
base = f"http://127.0.0.1:{sys.argv[1]}"
def get(path, body=None):
    try:
        with urllib.request.urlopen(urllib.request.Request(base + path, body and json.dumps(body).encode()), timeout=300) as got:
            return got.status, got.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
limit = time.monotonic() + 90
while True:
    try:
        if get("/health")[0] == 200:
            break
    except OSError:
        pass
    if time.monotonic() > limit:
        sys.exit("the server did not start")
    time.sleep(0.2)
slots = json.loads(get("/slots")[1])
said = f"{len(slots)} slots, n_ctx of each {' '.join(sorted({str(slot['n_ctx']) for slot in slots}))}"
ended = collections.Counter()
def ask(number):
    ended[get("/completion", {"prompt": [300 + number], "n_predict": 340, "ignore_eos": True})[0]] += 1
if sys.argv[2] == "-1":
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said += f", {ended[200]} ended well, {ended[500]} with status 500"
print(said)
EOF

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
try() {
  "$work/venv/bin/python" "$work/serve.py" "$work/tiny.gguf" "$port" "$1" > "$work/log" 2>&1 &
  pid=$!
  python3 "$work/ask.py" "$port" "$1"
  kill "$pid"; wait "$pid" 2> /dev/null || true
}
automatic=$(try -1)
four=$(try 4)
echo "automatic: $automatic"
echo "-np 4:     $four"
[ "$automatic" = "4 slots, n_ctx of each 1024, 0 ended well, 4 with status 500" ] && [ "$four" = "4 slots, n_ctx of each 256" ]
