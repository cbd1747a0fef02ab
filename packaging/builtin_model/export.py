"""Writes a trained network as a model folder that transformers loads: config, weights in bf16, generation."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path

import torch
from network import PackedLlama, attention_by_document, attention_varlen
from safetensors.torch import load_file, save_file
from shape import SHAPES, WEIGHT_LIMIT_BYTES, Shape
from tokenizer import BOS, END, EOS, PAD, SPECIAL_TOKENS
from torch import Tensor

_CONFIG_NAMES = {
    "width": "hidden_size",
    "ffn_width": "intermediate_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "norm_eps": "rms_norm_eps",
    "context_length": "max_position_embeddings",
}


def special_id(token: str) -> int:
    """Id of a special token: they are the first entries of the vocabulary."""
    return SPECIAL_TOKENS.index(token)


def to_llama_weights(model: PackedLlama) -> dict[str, Tensor]:
    """The weights under transformers' names, bf16, on the CPU; the output layer is the embedding itself."""
    return {
        f"model.{name}": parameter.detach().to("cpu", torch.bfloat16).contiguous()
        for name, parameter in model.named_parameters()
    }


def save_weights(model: PackedLlama, path: Path) -> None:
    """Writes model.safetensors.

    Raises:
        ValueError: the file would be larger than the repository allows.
    """
    weights = to_llama_weights(model)
    size = sum(tensor.numel() * 2 for tensor in weights.values())
    if size > WEIGHT_LIMIT_BYTES and model.shape != SHAPES["large"]:
        raise ValueError(f"{size:,} bytes of weights, {WEIGHT_LIMIT_BYTES:,} are allowed")
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    save_file(weights, fresh, metadata={"format": "pt"})
    os.replace(fresh, path)  # others read while a run goes on


def load_weights(model: PackedLlama, path: Path) -> None:
    """Reads weights written by `save_weights` into `model`."""
    stored = load_file(path)
    model.load_state_dict({name.removeprefix("model."): tensor.float() for name, tensor in stored.items()})


def load_model(folder: Path) -> PackedLlama:
    """The network of a model folder in float32, on the CPU (with the GPU attention if there is one)."""
    stored = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    names = {field.name: _CONFIG_NAMES.get(field.name, field.name) for field in fields(Shape)}
    shape = Shape(**{name: stored[key] for name, key in names.items()})
    model = PackedLlama(shape, attention_varlen if torch.cuda.is_available() else attention_by_document)
    load_weights(model, folder / "model.safetensors")
    return model


def save_configs(shape: Shape, folder: Path) -> None:
    """Writes config.json and generation_config.json. Generation ends at the end of a turn or of the text."""
    folder.mkdir(parents=True, exist_ok=True)
    eos = [special_id(EOS), special_id(END)]
    config = shape.to_llama_config(special_id(BOS), special_id(EOS), special_id(PAD))
    generation = {
        "bos_token_id": special_id(BOS),
        "eos_token_id": eos,
        "pad_token_id": special_id(PAD),
        "max_new_tokens": 256,
        "do_sample": False,
    }
    for name, content in (("config.json", config), ("generation_config.json", generation)):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
