"""Routes a model's linear layers through the kernels, where that is possible, and back.

For one to eight activation rows (decoding, verifying drafts) the products of gemv.py; for more rows
dequantization and cuBLAS, a part of the weight at a time. Where a gradient is wanted the layer's own path
runs, except for int8, which gets the same weight-only product with a gradient, so that explanations explain
what is generated.

int8 has two meanings. ``weight-only``: activations stay as they are, so nothing is lost but the rounding of
the weights; it can be captured in a CUDA graph. ``llm-int8``: bitsandbytes' LLM.int8(), which rounds
activations to eight bits too, except columns with outliers; it is slower, and is left as it is.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from inference.kernels.compiler import KernelError, KernelUnavailable, available
from inference.kernels.gemv import MAX_ROWS, Product
from inference.kernels.weights import StoredWeight, UnsupportedWeight, stored_weight

Int8 = Literal["weight-only", "llm-int8"]
_PART = 32 * 1024 * 1024
"""Weights that are dequantized at once."""


@dataclass(slots=True, kw_only=True)
class Installed:
    """What was routed through the kernels.

    Attributes:
        products: The layers that are, by name.
        kept: The linear layers that are not, by name, and why.
    """

    products: dict[str, Product] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    _undo: list[Callable[[], None]] = field(default_factory=list)

    def prepare(self, rows: int = 1) -> None:
        """Compiles what is needed for ``rows`` activation rows, before a capture or at a good moment."""
        for product in self.products.values():
            product.prepare(rows)

    def uninstall(self) -> None:
        """Gives every layer its own path back."""
        while self._undo:
            self._undo.pop()()
        self.products.clear()


def install(model: nn.Module, *, int8: Int8 = "weight-only") -> Installed:
    """Routes the linear layers of ``model`` that lie on a CUDA device through the kernels.

    Never fails: what cannot be routed is kept and named with its reason.

    Args:
        model: In place; its weights stay where they are and are not copied.
        int8: What an int8 layer computes.
    """
    installed = Installed()
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear):
            continue
        try:
            product = _product(module, int8)
            product.prepare(1)
        except (UnsupportedWeight, KernelUnavailable, KernelError) as error:
            installed.kept[name] = str(error)
            continue
        installed.products[name] = product
        installed._undo.append(_route(module, product))
    return installed


def _product(module: nn.Linear, int8: Int8) -> Product:
    reason = available(module.weight.device)
    if reason:
        raise UnsupportedWeight(reason)
    weight = stored_weight(module)
    if weight.format == "int8" and int8 == "llm-int8":
        raise UnsupportedWeight("LLM.int8() was asked for")
    return Product((weight,), dtype=_compute_type(module, weight))


def _compute_type(module: Any, weight: StoredWeight) -> torch.dtype:
    if weight.format == "dense":
        return weight.data.dtype
    if weight.bias is not None and weight.bias.dtype in (torch.bfloat16, torch.float16):
        return weight.bias.dtype
    chosen = getattr(module, "compute_dtype", None) or torch.bfloat16
    return chosen if isinstance(chosen, torch.dtype) else torch.bfloat16


def _route(module: nn.Linear, product: Product) -> Callable[[], None]:
    # accelerate keeps the forward that its hooks wrap under another name.
    attribute = (
        "_old_forward" if hasattr(module, "_hf_hook") and hasattr(module, "_old_forward") else "forward"
    )
    present = attribute in vars(module)
    before = vars(module).get(attribute)
    route = _Route(module, product, before)
    setattr(module, attribute, route)
    # Not a reference to the layer: a model that is dropped must not wait for the garbage collector.
    layer = weakref.ref(module)

    def undo() -> None:
        target = layer()
        if target is None or vars(target).get(attribute) is not route:
            return
        if present:
            setattr(target, attribute, before)
        else:
            delattr(target, attribute)

    return undo


class _Route:
    """Stands in for a linear layer's forward."""

    def __init__(self, module: nn.Linear, product: Product, before: Callable[..., Any] | None) -> None:
        self._layer = weakref.ref(module)
        self._before = before
        self._products = {product.dtype: product}
        self._weight = product.weights[0]
        self._device = product.device

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.numel() // max(1, x.shape[-1])
        if torch.is_grad_enabled() and (x.requires_grad or self._trains()):
            if self._weight.format == "int8" and not self._trains():
                return _product_with_gradient(x, self._weight)
            return self._original(x)
        if x.device == self._device and 1 <= rows <= MAX_ROWS:
            product = self._products.get(x.dtype)
            if product is not None:
                flat = x.reshape(rows, x.shape[-1]).contiguous()
                if flat.data_ptr() % 16 == 0:
                    return product(flat).reshape(*x.shape[:-1], product.rows)
        if self._weight.format == "int8" and x.is_floating_point():
            return weight_only_product(x, self._weight)
        return self._original(x)

    def _trains(self) -> bool:
        layer = self._layer()
        return layer is not None and any(p.requires_grad for p in layer.parameters(recurse=False))

    def _original(self, x: torch.Tensor) -> torch.Tensor:
        layer = self._layer()
        assert layer is not None
        result: torch.Tensor = self._before(x) if self._before is not None else type(layer).forward(layer, x)
        return result


def weight_only_product(x: torch.Tensor, weight: StoredWeight) -> torch.Tensor:
    """x W^T with int8 weights and activations as they are, for any number of rows, on any device.

    The weight is widened a part at a time, so that no second copy of it is kept.

    Args:
        x: Shape (..., features), floating point.
        weight: In format int8.

    Returns:
        Shape (..., weight.rows), of ``x``'s type.
    """
    assert weight.scale is not None
    flat = x.reshape(-1, weight.features)
    out = torch.empty((flat.shape[0], weight.rows), dtype=x.dtype, device=x.device)
    step = max(1, _PART // weight.features)
    for start in range(0, weight.rows, step):
        part = slice(start, start + step)
        out[:, part] = _part_of_product(flat, weight.data[part], weight.scale[part] / 127)
    if weight.bias is not None:
        out += weight.bias.to(x.dtype)
    return out.reshape(*x.shape[:-1], weight.rows)


def _part_of_product(x: torch.Tensor, values: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    if x.dtype == torch.float16:
        # Sums of unscaled values would exceed the type's range.
        return x @ (values * scale[:, None]).to(x.dtype).T
    # Eight bits are exact in every other type: scale the result, not the weights.
    return (x @ values.to(x.dtype).T) * scale


def _product_with_gradient(x: torch.Tensor, weight: StoredWeight) -> torch.Tensor:
    product: torch.Tensor = _WeightOnly.apply(x, weight)  # type: ignore[no-untyped-call]
    return product


class _WeightOnly(torch.autograd.Function):
    """:func:`weight_only_product` with a gradient for the activations; the weights are not trained."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: StoredWeight) -> torch.Tensor:
        ctx.weight = weight
        return weight_only_product(x, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        weight: StoredWeight = ctx.weight
        assert weight.scale is not None
        flat = gradients[0].reshape(-1, weight.rows)
        result = torch.zeros((flat.shape[0], weight.features), dtype=torch.float32, device=flat.device)
        step = max(1, _PART // weight.features)
        for start in range(0, weight.rows, step):
            part = slice(start, start + step)
            scaled = flat[:, part] * (weight.scale[part] / 127).to(flat.dtype)
            result += scaled @ weight.data[part].to(flat.dtype)
        return result.to(flat.dtype).reshape(*gradients[0].shape[:-1], weight.features), None
