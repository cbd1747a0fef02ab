"""Gradients where they need help: through 4-bit layers on a CPU, in little memory, with few launches.

On a CPU bitsandbytes multiplies with a fused kernel that has no backward pass and drops the graph without
a word (``matmul_4bit`` with ``packing_format_for_cpu``; bitsandbytes 0.50), so a gradient would come out
as zero. Within :func:`differentiable_layers` such a layer gets one: the gradient of ``y = x W^T`` with
respect to x is ``g W``, and W is what the layer itself makes of the identity matrix. On a GPU bitsandbytes
has its own backward pass.

On a GPU a gradient through a short prompt takes as long as its kernels take to be launched, and RMS norms,
written out as eight operations, are a third of them; there they go through PyTorch's fused one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from inference.passes.attention_masks import decoder_layers


@contextmanager
def differentiable_layers(model: nn.Module) -> Iterator[None]:
    """Within the block, all layers of a model pass gradients on."""
    changed: list[Any] = [module for module in model.modules() if _drops_gradients(module)]
    for module in changed:
        module.forward = _with_backward(module.forward, int(module.in_features))
    for norm in rms_norms(model):
        if norm.weight.device.type == "cuda":
            norm.forward = fused_norm(norm)
            changed.append(norm)
    try:
        yield
    finally:
        for module in changed:
            del module.forward


def rms_norms(model: nn.Module) -> list[Any]:
    """The modules of a model that are PyTorch's RMS norm under another name, by what they compute."""
    same: dict[type[nn.Module], bool] = {}
    found = []
    for module in model.modules():
        kind = type(module)
        if "RMSNorm" not in kind.__name__ or "forward" in vars(module):
            continue
        if not isinstance(getattr(module, "weight", None), Tensor):  # Gemma 3n has some without a scale
            continue
        if kind not in same:
            same[kind] = _is_rms_norm(module)
        if same[kind]:
            found.append(module)
    return found


def fused_norm(norm: Any) -> Callable[[Tensor], Tensor]:
    """What an RMS norm computes, in one operation."""
    plain, weight = norm.forward, norm.weight
    shape, epsilon = tuple(weight.shape), _epsilon(norm)

    def forward(inputs: Tensor) -> Tensor:
        if inputs.dtype != weight.dtype:
            outputs: Tensor = plain(inputs)
            return outputs
        return nn.functional.rms_norm(inputs, shape, weight, epsilon)

    return forward


def _is_rms_norm(norm: Any) -> bool:
    """Whether a norm and PyTorch's agree; Gemma's, for one, scales by 1 + weight."""
    weight = getattr(norm, "weight", None)
    if not isinstance(weight, Tensor) or weight.dim() != 1 or _epsilon(norm) is None:
        return False
    with torch.no_grad():
        probe = torch.linspace(-2.0, 3.0, 2 * len(weight), device=weight.device).view(2, -1).to(weight.dtype)
        plain, fused = norm(probe), fused_norm(norm)(probe)
    limit = 4 * torch.finfo(weight.dtype).eps * float(plain.abs().max()) + 1e-12
    return bool((plain - fused).abs().max() <= limit)


def _epsilon(norm: Any) -> float | None:
    for name in ("variance_epsilon", "eps", "epsilon"):
        if isinstance(value := getattr(norm, name, None), float):
            return value
    return None


@contextmanager
def recomputed_layers(model: nn.Module) -> Iterator[None]:
    """Within the block, a model's layers keep their inputs alone and are computed again in the backward pass.

    The block must hold the forward pass; the cache that it is given, if any, must not change.
    """
    layers = list(decoder_layers(model))
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _drops_gradients(module: nn.Module) -> bool:
    if "Linear4bit" not in {base.__name__ for base in type(module).__mro__}:
        return False
    weight: Any = module.weight
    return bool(weight.device.type == "cpu")


def _with_backward(plain: Callable[[Tensor], Tensor], width: int) -> Callable[[Tensor], Tensor]:
    def forward(inputs: Tensor) -> Tensor:
        outputs: Tensor = _Frozen.apply(inputs, plain, width)  # type: ignore[no-untyped-call]
        return outputs

    return forward


class _Frozen(torch.autograd.Function):
    """A linear layer whose weights are constants."""

    @staticmethod
    def forward(context: Any, inputs: Tensor, plain: Callable[[Tensor], Tensor], width: int) -> Tensor:
        context.plain, context.width = plain, width
        return plain(inputs.detach())

    @staticmethod
    def backward(context: Any, slopes: Tensor) -> tuple[Tensor, None, None]:
        unit = torch.eye(context.width, dtype=slopes.dtype, device=slopes.device)
        with torch.no_grad():
            transposed = context.plain(unit) - context.plain(torch.zeros_like(unit[:1]))
        return slopes @ transposed.T, None, None
