"""Writes a tiny llama model with random weights: run by the environment `llamacpp`. `PATH WIDTH LAYERS CONTEXT`.

Its vocabulary is single bytes and ` wN`; nothing merges, so a prompt in words is a token a byte: give it as a list of ids.
"""

from __future__ import annotations

import sys
from pathlib import Path

import gguf
import numpy as np

WORDS = 4096
FIRST_WORD = 259
"""Below are the special ones and the single bytes."""


def write(path: str, width: int, layers: int, context: int) -> None:
    rng = np.random.default_rng(1)
    out = gguf.GGUFWriter(path, "llama")
    size = FIRST_WORD + WORDS
    out.add_name("tiny")
    out.add_context_length(context)
    out.add_embedding_length(width)
    out.add_block_count(layers)
    out.add_feed_forward_length(2 * width)
    out.add_head_count(4)
    out.add_head_count_kv(4)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_rope_dimension_count(width // 4)
    out.add_vocab_size(size)
    out.add_tokenizer_model("llama")
    letters = [b"<unk>", b"<s>", b"</s>", *(f"<0x{n:02X}>".encode() for n in range(256))]
    out.add_token_list([*letters, *("▁w".encode() + str(n).encode() for n in range(WORDS))])
    out.add_token_scores([0.0] * size)
    out.add_token_types([2, 3, 3, *[6] * 256, *[1] * WORDS])
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    out.add_unk_token_id(0)

    def matrix(name: str, *shape: int) -> None:
        out.add_tensor(f"{name}.weight", (rng.standard_normal(shape) * 0.05).astype(np.float16))

    def ones(name: str) -> None:
        out.add_tensor(f"{name}.weight", np.ones(width, dtype=np.float32))

    matrix("token_embd", size, width)
    ones("output_norm")
    matrix("output", size, width)
    for number in range(layers):
        block = f"blk.{number}."
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            matrix(block + part, width, width)
        ones(block + "attn_norm")
        ones(block + "ffn_norm")
        matrix(block + "ffn_gate", 2 * width, width)
        matrix(block + "ffn_up", 2 * width, width)
        matrix(block + "ffn_down", width, 2 * width)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


if __name__ == "__main__":
    final = Path(sys.argv[1])
    part = final.with_suffix(".part")
    write(str(part), *(int(word) for word in sys.argv[2:5]))
    part.rename(final)
