"""RMS norm (Zhang and Sennrich, 2019) of a few rows, with the residual sum that stands before it in a layer.

One kernel takes the place of the five to seven that the framework runs for ``residual + x`` and its norm.
Each step is rounded as the framework's operations round it: the outcome differs only where a sum's order
does.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.kernels.compiler import Kernel, Source, available

#: The types that the kernels of a decoder layer are compiled for.
HALVES = (torch.bfloat16, torch.float16)


@dataclass(frozen=True, slots=True, kw_only=True)
class RmsNorm:
    """The parameters of one norm.

    Attributes:
        weight: (size,).
        epsilon: Added to the mean of the squares.
        one_plus: The factor is ``1 + weight``, applied before rounding (Gemma), not ``weight`` after it.
    """

    weight: Tensor
    epsilon: float
    one_plus: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerNorm:
    """The parameters of a layer norm (Ba et al., 2016), which the framework computes in one kernel.

    Attributes:
        weight: (size,).
        epsilon: Added to the variance.
        bias: (size,) or None.
    """

    weight: Tensor
    epsilon: float
    bias: Tensor | None = None


Norm = RmsNorm | LayerNorm


def apply_norm(x: Tensor, norm: Norm) -> Tensor:
    """A norm of either kind of each row of x (..., size)."""
    if isinstance(norm, RmsNorm):
        return rms_norm(x, norm)
    return torch.nn.functional.layer_norm(x, norm.weight.shape, norm.weight, norm.bias, norm.epsilon)


def add_and_norm(
    x: Tensor, residual: Tensor, norm: Norm, *, around: RmsNorm | None = None, multiplier: float = 1.0
) -> tuple[Tensor, Tensor]:
    """:func:`add_rms_norm` for either kind of norm."""
    if isinstance(norm, RmsNorm):
        return add_rms_norm(x, residual, norm, around=around, multiplier=multiplier)
    added = x if around is None else rms_norm(x, around)
    total = residual + (added if multiplier == 1.0 else added * multiplier)
    return total, apply_norm(total, norm)


def rms_norm(x: Tensor, norm: RmsNorm) -> Tensor:
    """The norm of each row of x (..., size)."""
    return _run(x, None, norm, None, 1.0)[1]


def add_rms_norm(
    x: Tensor,
    residual: Tensor,
    norm: RmsNorm,
    *,
    around: RmsNorm | None = None,
    multiplier: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """The residual sum and its norm.

    Args:
        x: (..., size), what a block adds to the residual stream.
        residual: (..., size).
        norm: Of the sum.
        around: A norm that x goes through before it is added (Gemma 2 and 3).
        multiplier: Of what is added (Granite).

    Returns:
        ``residual + x * multiplier`` and its norm, shaped as x.
    """
    return _run(x, residual, norm, around, multiplier)


def reference_rms_norm(x: Tensor, norm: RmsNorm) -> Tensor:
    """:func:`rms_norm` in plain torch; in float64 where x is."""
    wide = x if x.dtype == torch.float64 else x.float()
    scaled = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + norm.epsilon)
    if norm.one_plus:
        return (scaled * (1.0 + norm.weight.to(wide.dtype))).to(x.dtype)
    return norm.weight.to(x.dtype) * scaled.to(x.dtype)


def reference_add_rms_norm(
    x: Tensor,
    residual: Tensor,
    norm: RmsNorm,
    *,
    around: RmsNorm | None = None,
    multiplier: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """:func:`add_rms_norm` in plain torch."""
    added = x if around is None else reference_rms_norm(x, around)
    total = residual + (added if multiplier == 1.0 else added * multiplier)
    return total, reference_rms_norm(total, norm)


def on_kernel(*tensors: Tensor | None) -> bool:
    """Whether these can be worked on by the kernels: on a GPU that has them, in one 16-bit type, aligned."""
    given = [tensor for tensor in tensors if tensor is not None]
    first = given[0]
    return (
        first.is_cuda
        and first.dtype in HALVES
        and all(each.dtype == first.dtype and each.data_ptr() % 16 == 0 for each in given)
        and not available(first.device)
    )


def _run(
    x: Tensor, residual: Tensor | None, norm: RmsNorm, around: RmsNorm | None, multiplier: float
) -> tuple[Tensor, Tensor]:
    size = x.shape[-1]
    fits = size % 8 == 0 and x.is_contiguous() and (residual is None or residual.is_contiguous())
    if not fits or not on_kernel(x, residual, norm.weight, around.weight if around else None):
        if residual is None:
            return x, reference_rms_norm(x, norm)
        return reference_add_rms_norm(x, residual, norm, around=around, multiplier=multiplier)
    normed = torch.empty_like(x)
    total = x if residual is None else torch.empty_like(x)
    kernel, threads = _kernel(
        x.dtype, size, residual is not None, around is not None, norm.one_plus, x.device
    )
    kernel(
        normed,
        total,
        x,
        residual,
        norm.weight,
        None if around is None else around.weight,
        norm.epsilon,
        0.0 if around is None else around.epsilon,
        multiplier,
        grid=(x.numel() // size,),
        block=(threads,),
        dependent=True,
    )
    return total, normed


@functools.cache
def _kernel(
    dtype: torch.dtype, size: int, residual: bool, around: bool, one_plus: bool, device: torch.device
) -> tuple[Kernel, int]:
    """The kernel for rows of a size, and the threads of its blocks."""
    threads = min(1024, -(-size // 256) * 32)
    options = {
        "BFLOAT16": dtype == torch.bfloat16,
        "SIZE": size,
        "THREADS": threads,
        "PER_THREAD": -(-size // (8 * threads)),
        "RESIDUAL": residual,
        "AROUND": around,
        "ONE_PLUS": one_plus,
    }
    return layer_source("norms.cu", options=options).kernel("rms_norm", "PPPPPPfff", device=device), threads


def layer_source(*files: str, options: dict[str, int]) -> Source:
    """A kernel of a decoder layer, in one file or several, with its compile-time numbers."""
    return Source.of(
        "prelude.cuh",
        "numbers.cuh",
        *files,
        options=tuple(f"-D{name}={int(value)}" for name, value in options.items()),
    )
