"""Models of a known shape with random weights, made where they run: speed and memory need no trained weights,
and 16 GB of them need not be written and read.
"""

from __future__ import annotations

import argparse
import importlib
from typing import Any

from inference.command_line import load_model
from inference.events import ModelInfo, Quantization
from inference.models.loaded_model import LoadedModel
from inference.session import Session

#: Published shapes; the vocabulary, the heads and the widths are those of the models' own config.json.
SHAPES: dict[str, dict[str, Any]] = {
    "llama-3-8b": {
        "vocab_size": 128256,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 8192,
        "rope_theta": 500000.0,
        "tie_word_embeddings": False,
    },
    "tiny": {
        "vocab_size": 16384,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": False,
    },
}


def add_shape_argument(parser: argparse.ArgumentParser) -> None:
    """``--shape``, in place of ``--model``."""
    parser.add_argument(
        "--shape", choices=sorted(SHAPES), default=None, help="random weights of this shape, not --model"
    )


def loaded_model(session: Session, arguments: argparse.Namespace) -> LoadedModel:
    """The model that ``add_model_arguments`` and ``add_shape_argument`` asked for.

    Raises:
        RunFailed: It can't be loaded.
    """
    if arguments.shape is not None:
        return random_model(arguments.shape, arguments.quantization, arguments.device)
    load_model(session, arguments)
    return session.require_engine().loaded


def random_model(shape: str, quantization: Quantization = "none", device: str = "auto") -> LoadedModel:
    """A Llama of one of :data:`SHAPES` with the built-in model's tokenizer, whose ids it has all.

    Args:
        shape: Its name.
        quantization: "nf4", "fp4" and "int8" pack all linear layers but the head with bitsandbytes;
            otherwise weights are bfloat16 on a GPU and float32 on a CPU.
        device: "auto" takes a GPU where there is one.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, set_seed

    from inference.models.building import import_bitsandbytes
    from inference.models.model_files import find_model
    from inference.models.quantization import BITSANDBYTES
    from inference.models.tokenizers import load_tokenizer

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    config = LlamaConfig(**SHAPES[shape], dtype=dtype)
    set_seed(1)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model: Any = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if quantization in BITSANDBYTES:
        import_bitsandbytes()
        pack(model, quantization, dtype)
    model.eval().requires_grad_(False)
    return LoadedModel(
        model=model,
        tokenizer=load_tokenizer(find_model("builtin")),
        info=_info(shape, model, parameters),
        quantization=quantization,
        device=torch.device(device),
        dtype=dtype,
        context_length=int(config.max_position_embeddings),
        eos_ids=frozenset(),
    )


def pack(model: Any, quantization: Quantization, dtype: Any) -> None:
    """Replace a model's linear layers, its head apart, by bitsandbytes' ones, one after the other."""
    import torch

    bitsandbytes: Any = importlib.import_module("bitsandbytes.nn")
    head = model.get_output_embeddings()
    linears = [
        (module, name, child)
        for module in model.modules()
        for name, child in module.named_children()
        if isinstance(child, torch.nn.Linear) and child is not head
    ]
    while linears:
        parent, name, linear = linears.pop()
        device, weight = linear.weight.device, linear.weight.data
        packed: Any
        with torch.device("meta"):
            if quantization == "int8":
                packed = bitsandbytes.Linear8bitLt(
                    linear.in_features, linear.out_features, bias=False, has_fp16_weights=False, threshold=6.0
                )
            else:
                packed = bitsandbytes.Linear4bit(
                    linear.in_features,
                    linear.out_features,
                    bias=False,
                    compute_dtype=dtype,
                    compress_statistics=False,
                    quant_type=quantization,
                )
        packed.weight = _packed_weight(packed, weight, quantization)._quantize(device)
        setattr(parent, name, packed)
        del linear, weight


def _packed_weight(packed: Any, weight: Any, quantization: Quantization) -> Any:
    """A parameter that packs itself by ``_quantize``; ``to`` does not call that for every device."""
    bitsandbytes: Any = importlib.import_module("bitsandbytes.nn")
    if quantization == "int8":
        return bitsandbytes.Int8Params(weight, requires_grad=False, has_fp16_weights=False)
    return bitsandbytes.Params4bit(
        weight,
        requires_grad=False,
        compress_statistics=False,
        quant_type=quantization,
        module=packed,
    )


def _info(shape: str, model: Any, parameters: int) -> ModelInfo:
    config = model.config
    size = config.hidden_size // config.num_attention_heads
    return ModelInfo(
        source=shape,
        name=f"{shape}, random weights",
        architecture="llama",
        parameters=parameters,
        context_length=int(config.max_position_embeddings),
        vocabulary=int(config.vocab_size),
        layers=int(config.num_hidden_layers),
        hidden_size=int(config.hidden_size),
        kv_bytes_per_token=2 * config.num_hidden_layers * config.num_key_value_heads * size * 2,
        stored_bytes=0,
        stored_dtype="bfloat16",
        licence=None,
        has_chat_template=False,
    )
