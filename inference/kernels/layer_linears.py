"""The linear layers of a decoder layer in a step: products that read several weights in one launch where the
kernels know their storage, else the modules that they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from inference.kernels.activations import gated_activation
from inference.kernels.gemv import Product
from inference.kernels.layer_parts import LayerParts
from inference.kernels.norms import HALVES
from inference.kernels.weights import UnsupportedWeight, stored_weight

#: (rows, in) -> (rows, out).
Linear = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerLinears:
    """What stands between norms and attention; every function takes and gives (rows, size).

    Attributes:
        heads: To queries, keys and values side by side, or the three of them.
        out: Behind attention.
        gated: To the activated gate times up.
        down: Behind it.
    """

    heads: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
    out: Linear
    gated: Linear
    down: Linear


def layer_linears(parts: LayerParts, *, products: bool = True) -> LayerLinears:
    """The linear layers of a decoder layer, each group in the fastest form that its storage allows.

    Args:
        parts: The layer.
        products: False: the modules themselves, whatever their storage.
    """
    dtype = parts.before_attention.weight.dtype if products else None
    heads = parts.rule.heads
    widths = [heads.queries * heads.size, heads.keys * heads.size, heads.keys * heads.size]

    def split(packed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = torch.split(packed, widths, dim=-1)
        return q, k, v

    packed: Linear | None = _product(parts.inward, dtype)
    if packed is None and len(parts.inward) == 1:
        packed = parts.inward[0]
    q, k, v = parts.inward if len(parts.inward) == 3 else (parts.inward[0],) * 3
    return LayerLinears(
        heads=(lambda x: (q(x), k(x), v(x))) if packed is None else (lambda x: split(packed(x))),
        out=_product((parts.o_proj,), dtype) or parts.o_proj,
        gated=_gated(parts, dtype),
        down=_product((parts.down_proj,), dtype) or parts.down_proj,
    )


def _gated(parts: LayerParts, dtype: torch.dtype | None) -> Linear:
    pair = len(parts.gate_up) == 2
    if pair and parts.activation == "silu" and (product := _product(parts.gate_up, dtype, paired=True)):
        return product
    both = _product(parts.gate_up, dtype) or (None if pair else parts.gate_up[0])
    if both is None:
        gate, up = parts.gate_up
        return lambda x: gated_activation(gate(x), up(x), parts.activation)

    def halves(x: Tensor) -> Tensor:
        first, second = both(x).chunk(2, dim=-1)
        return gated_activation(first, second, parts.activation)

    return halves


def _product(
    modules: tuple[nn.Module, ...], dtype: torch.dtype | None, *, paired: bool = False
) -> Product | None:
    """One launch for linear layers of the same input; None where the kernels cannot read them."""
    if dtype not in HALVES:
        return None
    try:
        weights = tuple(stored_weight(module) for module in modules)
        if not weights[0].data.is_cuda:
            return None
        return Product(weights, dtype=dtype, paired=paired)
    except UnsupportedWeight:
        return None
