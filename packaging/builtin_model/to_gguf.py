"""The built-in model as a GGUF file, so that llama.cpp can be measured on the same weights.

    python packaging/builtin_model/to_gguf.py resources/models/builtin builtin.gguf --type f16

Needs the packages ``gguf``, ``safetensors`` and ``torch``; ``python -m inference bench decode --llama-cpp
PYTHON FILE`` measures.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import gguf
import torch
from safetensors.torch import load_file

_TYPES = {"f32": torch.float32, "f16": torch.float16}
_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_PARTS = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def main() -> None:
    """Convert a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--type", choices=sorted(_TYPES), default="f16")
    arguments = parser.parse_args()
    convert(arguments.folder, arguments.file, _TYPES[arguments.type])


def convert(folder: Path, file: Path, dtype: torch.dtype) -> None:
    """Write a folder of transformers (a Llama with a byte-level BPE) as a GGUF file.

    Args:
        folder: Has config.json, tokenizer.json, tokenizer_config.json and model.safetensors.
        file: Is replaced.
        dtype: Of the matrices; norms are always float32.
    """
    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(str(file), "llama")
    _write_shape(writer, config)
    _write_tokenizer(writer, folder, config)
    heads = {
        "self_attn.q_proj": config["num_attention_heads"],
        "self_attn.k_proj": config["num_key_value_heads"],
    }
    for name, tensor in load_file(folder / "model.safetensors").items():
        part = name.split(".", 3)[-1].removesuffix(".weight")
        if part in heads:
            tensor = _interleaved(tensor, heads[part])
        wanted = torch.float32 if tensor.dim() == 1 else dtype
        writer.add_tensor(_name(name), tensor.to(wanted).contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _name(name: str) -> str:
    """llama.cpp's name of a parameter."""
    if name in _NAMES:
        return _NAMES[name]
    _, _, layer, part = name.split(".", 3)
    return f"blk.{layer}.{_PARTS[part.removesuffix('.weight')]}.weight"


def _interleaved(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of a head in the order in which llama.cpp rotates: neighbours, not halves."""
    rows, columns = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, columns)
    return halves.transpose(1, 2).reshape(rows, columns)


def _write_shape(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_name("Model Loupe's built-in model")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])


def _write_tokenizer(writer: gguf.GGUFWriter, folder: Path, config: dict[str, Any]) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    special = {each["content"] for each in tokenizer["added_tokens"] if each["special"]}
    pieces = sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
    kinds = gguf.TokenType
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([piece for piece, _ in pieces])
    writer.add_token_types([kinds.CONTROL if piece in special else kinds.NORMAL for piece, _ in pieces])
    merges = tokenizer["model"]["merges"]
    writer.add_token_merges([each if isinstance(each, str) else " ".join(each) for each in merges])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(False)
    writer.add_chat_template(settings["chat_template"])


if __name__ == "__main__":
    main()
