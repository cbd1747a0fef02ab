"""What is told of a model before it is loaded, from its files alone."""

from __future__ import annotations

import re
from typing import Any

from inference.events import ModelInfo
from inference.models import architecture, model_card
from inference.models.checkpoints import TensorHeader
from inference.models.model_files import ModelFiles, stored_dtype
from inference.models.packing import stored_method, stored_quantization, weights_in
from inference.models.quantization import DTYPE_BYTES

#: Tensors of routed experts, one each or all of a layer in one, by transformers' and GGUF's names; and those
#: that are only where they have three dimensions, the first for the expert.
_ROUTED = re.compile(r"\.experts\.(?!router)|_exps\.")
_STACKED = re.compile(r"\.(input|output)_linear\.weight$")


def describe(files: ModelFiles, dtype: str | None = None) -> ModelInfo:
    """What the files say of the model, without its weights.

    Args:
        files: The model.
        dtype: The precision of the KV cache, by torch's name; None: 16 bits.
    """
    config = files.text_config
    header = files.gguf.metadata if files.gguf is not None else None
    return ModelInfo(
        source=files.source,
        name=files.name,
        architecture=_architecture_name(files.config),
        parameters=parameter_count(files),
        context_length=architecture.context_length(config),
        vocabulary=architecture.first_int(config, "vocab_size"),
        layers=architecture.layer_count(config),
        hidden_size=architecture.hidden_size(config),
        kv_bytes_per_token=architecture.kv_shape(config).values_per_token() * DTYPE_BYTES.get(dtype or "", 2),
        stored_bytes=files.checkpoint.nbytes,
        stored_dtype=stored_quantization(files.config) or stored_method(files.config) or stored_dtype(files),
        licence=model_card.licence(files.folder) if header is None else header.get("general.license"),
        has_chat_template=(
            model_card.has_chat_template(files.folder)
            if header is None
            else "tokenizer.chat_template" in header
        ),
        has_attention=architecture.has_attention(config),
        format=files.format,
        active_parameters=active_parameters(files),
        experts=architecture.expert_counts(config)[0],
        active_experts=architecture.expert_counts(config)[1],
    )


def parameter_count(files: ModelFiles) -> int:
    """The model's parameters: a tied embedding once, packed weights unpacked, their scales left out."""
    return sum(weights_in(tensor, files.config) for tensor in files.parameters())


def active_parameters(files: ModelFiles) -> int:
    """The parameters that a token goes through: all but those of the experts that it is not sent to."""
    experts, chosen = architecture.expert_counts(files.text_config)
    total = parameter_count(files)
    if not experts:
        return total
    routed = sum(weights_in(tensor, files.config) for tensor in files.parameters() if _is_routed(tensor))
    return total - routed + routed * chosen // experts


def _is_routed(tensor: TensorHeader) -> bool:
    stacked = len(tensor.shape) == 3 and _STACKED.search(tensor.name)
    return bool(stacked or _ROUTED.search(tensor.name))


def _architecture_name(config: dict[str, Any]) -> str:
    names = config.get("architectures")
    if isinstance(names, list) and names:
        return str(names[0])
    return str(config.get("model_type") or "unknown")
