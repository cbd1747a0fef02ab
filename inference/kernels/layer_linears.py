"""The linear layers of a decoder layer in a step: products that read several weights in one launch where the
kernels know their storage, else the modules that they are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from inference.kernels.activations import PLAIN_ACTIVATIONS, gated_activation
from inference.kernels.gemv import Product
from inference.kernels.layer_parts import GatedMlp, LayerParts, PlainMlp
from inference.kernels.linears import Int8
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
        mlp: The whole feed-forward block.
    """

    heads: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
    out: Linear
    mlp: Linear


def layer_linears(parts: LayerParts, *, products: bool = True, int8: Int8 = "weight-only") -> LayerLinears:
    """The linear layers of a decoder layer, each group in the fastest form that its storage allows.

    Args:
        parts: The layer.
        products: False: the modules themselves, whatever their storage.
        int8: What an int8 layer computes; see :mod:`inference.kernels.linears`.
    """
    make = functools.partial(_product, parts.before_attention.weight.dtype if products else None, int8)
    heads = parts.rule.heads
    widths = [heads.queries * heads.size, heads.keys * heads.size, heads.keys * heads.size]

    def split(packed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if parts.grouped:
            groups = packed.view(-1, heads.keys, heads.group + 2, heads.size)
            return (
                groups[:, :, : heads.group].flatten(1),
                groups[:, :, -2].flatten(1),
                groups[:, :, -1].flatten(1),
            )
        q, k, v = torch.split(packed, widths, dim=-1)
        return q, k, v

    packed: Linear | None = make(parts.inward)
    if packed is None and len(parts.inward) == 1:
        packed = parts.inward[0]
    q, k, v = parts.inward if len(parts.inward) == 3 else (parts.inward[0],) * 3
    return LayerLinears(
        heads=(lambda x: (q(x), k(x), v(x))) if packed is None else (lambda x: split(packed(x))),
        out=make((parts.o_proj,)) or parts.o_proj,
        mlp=_mlp(parts.mlp, make),
    )


def _mlp(mlp: GatedMlp | PlainMlp | nn.Module, make: Callable[..., Product | None]) -> Linear:
    if isinstance(mlp, GatedMlp):
        return _gated_mlp(mlp, make)
    if not isinstance(mlp, PlainMlp):
        return _whole(mlp)
    up, down = make((mlp.up_proj,)) or mlp.up_proj, make((mlp.down_proj,)) or mlp.down_proj
    activate = PLAIN_ACTIVATIONS[mlp.activation]
    return lambda x: down(activate(up(x)))


def _whole(mlp: nn.Module) -> Linear:
    """A feed-forward block as it is, which may give more than hidden states."""

    def call(x: Tensor) -> Tensor:
        output: Any = mlp(x[None])
        hidden: Tensor = output[0] if isinstance(output, tuple) else output
        return hidden.reshape(x.shape)

    return call


def _gated_mlp(parts: GatedMlp, make: Callable[..., Product | None]) -> Linear:
    gated, down = _gated(parts, make), make((parts.down_proj,)) or parts.down_proj

    def call(x: Tensor) -> Tensor:
        hidden: Tensor = down(gated(x))
        return hidden

    return call


def _gated(parts: GatedMlp, make: Callable[..., Product | None]) -> Linear:
    """To the activated gate times up."""
    pair = len(parts.gate_up) == 2
    if pair and parts.activation == "silu" and (product := make(parts.gate_up, paired=True)):
        return product
    both = make(parts.gate_up) or (None if pair else parts.gate_up[0])
    if both is None:
        gate, up = parts.gate_up
        return lambda x: gated_activation(gate(x), up(x), parts.activation)

    def halves(x: Tensor) -> Tensor:
        first, second = both(x).chunk(2, dim=-1)
        return gated_activation(first, second, parts.activation)

    return halves


def _product(
    dtype: torch.dtype | None, int8: Int8, modules: tuple[nn.Module, ...], *, paired: bool = False
) -> Product | None:
    """One launch for linear layers of the same input; None where the kernels cannot read them."""
    if dtype not in HALVES:
        return None
    try:
        weights = tuple(stored_weight(module) for module in modules)
        if not weights[0].data.is_cuda or (weights[0].format == "int8" and int8 == "llm-int8"):
            return None
        return Product(weights, dtype=dtype, paired=paired)
    except UnsupportedWeight:
        return None
