"""Stored weights as the kernels read them: what bitsandbytes 0.50 keeps, and its meaning in torch.

A linear layer's weight has ``rows`` output and ``features`` input features. Formats:

- ``dense``: bfloat16 or float16, row-major.
- ``int8``: ``CB`` (int8, row-major) and ``SCB`` (float32, one a row): w = CB * SCB / 127.
- ``four_bit``: two values a byte, the first in the high half; w = code[q] * absmax of its block, blocks
  running over the flattened weight. The absmax are float32, or (``nested``) uint8 q with absmax
  = nested_code[q] * nested[i // 256] + offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

Format = Literal["dense", "int8", "four_bit"]
NESTED_BLOCK = 256


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredWeight:
    """One weight, its tensors shared with the module that owns them.

    Attributes:
        format: How it is stored; see the module's docstring.
        rows: Output features.
        features: Input features.
        data: The stored values.
        scale: int8: row scales; four bits: absmax; dense: None.
        blocksize: Weights that share an absmax; 0 where there is none.
        code: Four bits: the 16 values.
        nested: Four bits, double-quantized: absmax of the blocks of 256 absmax.
        nested_code: The 256 values of a quantized absmax.
        offset: Mean of the absmax, one element.
        bias: One a row, or None.
    """

    format: Format
    rows: int
    features: int
    data: torch.Tensor
    scale: torch.Tensor | None = None
    blocksize: int = 0
    code: torch.Tensor | None = None
    nested: torch.Tensor | None = None
    nested_code: torch.Tensor | None = None
    offset: torch.Tensor | None = None
    bias: torch.Tensor | None = None

    @property
    def bytes(self) -> int:
        """Bytes that one product must read at least."""
        tensors = (self.data, self.scale, self.nested)
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor is not None)


class UnsupportedWeight(Exception):
    """The layer's storage is none that the kernels read; the message says what it is."""


def stored_weight(module: nn.Module) -> StoredWeight:
    """What the kernels read of a linear layer of torch or bitsandbytes.

    Raises:
        UnsupportedWeight: When the layer's storage is another.
    """
    kind = type(module).__name__
    if kind in ("Linear4bit", "LinearNF4", "LinearFP4"):
        return _four_bit(module)
    if kind == "Linear8bitLt":
        return _int8(module)
    if type(module) is nn.Linear:
        return _dense(module)
    raise UnsupportedWeight(f"{kind} is not a linear layer that is known here")


def _dense(module: nn.Linear) -> StoredWeight:
    weight = module.weight
    if weight.dtype not in (torch.bfloat16, torch.float16):
        raise UnsupportedWeight(f"weights are {str(weight.dtype).removeprefix('torch.')}")
    if not weight.is_contiguous() or weight.data_ptr() % 16:
        raise UnsupportedWeight("the weights do not lie in one piece")
    rows, features = weight.shape
    return StoredWeight(format="dense", rows=rows, features=features, data=weight.data, bias=_bias(module))


def _bias(module: Any) -> torch.Tensor | None:
    return None if module.bias is None else module.bias.data


def _four_bit(module: Any) -> StoredWeight:
    state = getattr(module.weight, "quant_state", None) or module.quant_state
    if state is None:
        raise UnsupportedWeight("it is not quantized yet")
    data = module.weight.data
    rows, features = state.shape
    if getattr(state, "packing_format_for_cpu", False):
        raise UnsupportedWeight("it is packed for a processor")
    if (rows, features) != (module.out_features, module.in_features):
        raise UnsupportedWeight("its weight is stored the other way round")
    if state.blocksize % 64:
        raise UnsupportedWeight(f"its blocks have {state.blocksize} weights")
    nested = state.state2
    if nested is not None and (nested.blocksize != NESTED_BLOCK or nested.code.numel() != 256):
        raise UnsupportedWeight("its absmax are quantized in another way")
    if nested is None and state.absmax.dtype != torch.float32:
        raise UnsupportedWeight(f"its absmax are {state.absmax.dtype}")
    if not data.is_contiguous() or data.data_ptr() % 16:
        raise UnsupportedWeight("the weights do not lie in one piece")
    return StoredWeight(
        format="four_bit",
        rows=rows,
        features=features,
        data=data,
        scale=state.absmax,
        blocksize=state.blocksize,
        code=state.code.float(),
        nested=None if nested is None else nested.absmax.float(),
        nested_code=None if nested is None else nested.code.float(),
        offset=None if nested is None else state.offset.float().reshape(1),
        bias=_bias(module),
    )


def _int8(module: Any) -> StoredWeight:
    weight, state = module.weight, module.state
    data = weight.CB if weight.CB is not None else state.CB
    scale = weight.SCB if weight.SCB is not None else state.SCB
    if state.has_fp16_weights or data is None or scale is None:
        raise UnsupportedWeight("it is not quantized yet")
    if not data.is_contiguous() or data.data_ptr() % 16 or data.dtype != torch.int8:
        raise UnsupportedWeight("the weights do not lie in one piece")
    rows, features = data.shape
    return StoredWeight(
        format="int8",
        rows=rows,
        features=features,
        data=data.detach(),
        scale=scale.float().reshape(-1),
        bias=_bias(module),
    )


def dequantized(weight: StoredWeight, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """The weight as plain numbers, shape (rows, features): what kernels must agree with. Slow and simple."""
    if weight.format == "dense":
        return weight.data.to(dtype)
    assert weight.scale is not None
    if weight.format == "int8":
        return weight.data.to(dtype) * (weight.scale.to(dtype)[:, None] / 127)
    assert weight.code is not None
    stored = weight.data.reshape(-1).view(torch.uint8)
    values = weight.code.to(dtype)[torch.stack([stored >> 4, stored & 15], dim=1).reshape(-1).long()]
    absmax = _absmax(weight).to(dtype)
    count = weight.rows * weight.features
    spread = absmax.repeat_interleave(weight.blocksize)[:count]
    return (values[:count] * spread).reshape(weight.rows, weight.features)


def _absmax(weight: StoredWeight) -> torch.Tensor:
    assert weight.scale is not None
    if weight.nested is None:
        return weight.scale
    assert weight.nested_code is not None
    assert weight.offset is not None
    scale = weight.scale.reshape(-1)
    spread = weight.nested.repeat_interleave(NESTED_BLOCK)[: scale.numel()]
    return weight.nested_code[scale.long()] * spread + weight.offset


def multiply_twin(
    x: torch.Tensor,
    weights: tuple[StoredWeight, ...],
    *,
    paired: bool = False,
    residual: torch.Tensor | None = None,
) -> torch.Tensor:
    """What the kernels compute, in float64 between the roundings that they share with torch's path.

    Args:
        x: Shape (rows of activations, features), bfloat16 or float16.
        weights: One to three weights; their outputs stand side by side.
        paired: Two weights, gate and up: silu(gate) * up instead.
        residual: Added to the rounded result.

    Returns:
        Shape (rows of activations, sum of the weights' rows), float64; rounded to ``x``'s type only within
        ``paired`` and before ``residual``.
    """
    products = []
    for weight in weights:
        product = x.double() @ dequantized(weight).T
        products.append(product if weight.bias is None else product + weight.bias.double())
    if paired:
        gate, up = (product.to(x.dtype) for product in products)
        out = nn.functional.silu(gate.double()).to(x.dtype).double() * up.double()
    else:
        out = torch.cat(products, dim=1)
    return out if residual is None else out.to(x.dtype).double() + residual.double()
