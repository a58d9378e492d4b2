"""Writes a tiny llama with random weights as vLLM reads it: run by the environment `vllm`. `FOLDER WIDTH LAYERS CONTEXT`.

Its vocabulary is that of `tiny_model.py`: special ones and single bytes below 259, then ` wN`. Prompts are lists of ids.
Its layers add next to nothing, so that the next token follows from the last one alone: greedy answers come round in circles
after some tens of tokens, which is what drafts by n-grams need to be accepted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

WORDS = 4096
FIRST_WORD = 259
HEADS = 4


def write(folder: Path, width: int, layers: int, context: int) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    size = FIRST_WORD + WORDS
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float32", "vocab_size": size,
        "hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": layers, "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS, "head_dim": width // HEADS, "max_position_embeddings": context, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    names = ["<unk>", "<s>", "</s>", *(f"<0x{n:02X}>" for n in range(256)), *(f"w{n}" for n in range(WORDS))]
    tokenizer = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    told = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**told, "model_max_length": context}))

    def matrix(*shape: int, scale: float = 0.05) -> np.ndarray:
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    weights = {
        "model.embed_tokens.weight": matrix(size, width, scale=1.0),
        "model.norm.weight": np.ones(width, dtype=np.float32),
        "lm_head.weight": matrix(size, width),
    }
    for number in range(layers):
        block = f"model.layers.{number}."
        for part in ("q", "k", "v"):
            weights[f"{block}self_attn.{part}_proj.weight"] = matrix(width, width)
        weights[f"{block}self_attn.o_proj.weight"] = matrix(width, width, scale=1e-5)
        weights[f"{block}mlp.gate_proj.weight"] = matrix(2 * width, width)
        weights[f"{block}mlp.up_proj.weight"] = matrix(2 * width, width)
        weights[f"{block}mlp.down_proj.weight"] = matrix(width, 2 * width, scale=1e-5)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            weights[f"{block}{norm}.weight"] = np.ones(width, dtype=np.float32)
    save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})


if __name__ == "__main__":
    final = Path(sys.argv[1])
    part = final.with_name(f"{final.name}.part")
    write(part, *(int(word) for word in sys.argv[2:5]))
    part.rename(final)
