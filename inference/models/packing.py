"""Models that are stored quantized: how many weights a stored tensor holds, and what it takes in memory."""

from __future__ import annotations

import re
from typing import Any

from inference.events import Quantization
from inference.models.checkpoints import TensorHeader

#: Scales, tables and zero points, by the names that bitsandbytes, GPTQ, AWQ and MXFP4 give them.
_CONSTANTS = re.compile(
    r"\.(absmax|quant_map|nested_absmax|nested_quant_map|SCB|weight_format|quant_state\.\w+|qzeros|scales|g_idx"
    r"|weight_scale\w*|input_scale|weight_packed_shape)$|_scales$"
)


def stored_method(config: dict[str, Any]) -> str:
    """The quantization method that a config names ("bitsandbytes", "gptq", ...); "" for plain weights."""
    described = config.get("quantization_config")
    return str(described.get("quant_method") or "bitsandbytes") if isinstance(described, dict) else ""


def stored_quantization(config: dict[str, Any]) -> Quantization | None:
    """The bitsandbytes format that the weights are stored in; None for plain weights and other methods."""
    if stored_method(config) != "bitsandbytes":
        return None
    described = config["quantization_config"]
    if described.get("load_in_8bit"):
        return "int8"
    if described.get("load_in_4bit"):
        return "fp4" if described.get("bnb_4bit_quant_type") == "fp4" else "nf4"
    return None


def weights_in(tensor: TensorHeader, config: dict[str, Any]) -> int:
    """How many of the model's weights a stored tensor holds; 0 for scales and tables."""
    method = stored_method(config)
    if not method:
        return tensor.elements
    if _CONSTANTS.search(tensor.name):
        return 0
    if tensor.dtype == "uint8" and (stored_quantization(config) in ("nf4", "fp4") or method == "mxfp4"):
        return 2 * tensor.elements
    if tensor.dtype == "int32" and tensor.name.endswith(("qweight", "weight_packed")):
        bits = config["quantization_config"].get("bits")
        return tensor.elements * 32 // (bits if isinstance(bits, int) and bits > 0 else 4)
    return tensor.elements


def bytes_held(tensor: TensorHeader, config: dict[str, Any], size: int) -> int:
    """Bytes of a stored tensor in memory where nothing more is quantized.

    Plain tensors take ``size`` bytes a number; packed ones stay as they are, except for MXFP4, which is
    unpacked, as its kernels would have to be fetched.
    """
    method = stored_method(config)
    if method == "mxfp4" and tensor.dtype == "uint8":
        return weights_in(tensor, config) * size
    packed = tensor.dtype.startswith(("uint8", "int8", "int32", "float8")) or _CONSTANTS.search(tensor.name)
    return tensor.nbytes if method and packed else tensor.elements * size
