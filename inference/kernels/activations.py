"""``activation(gate) * up``: the middle of a gated feed-forward block (Shazeer, 2020), in one kernel."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from inference.kernels.compiler import Kernel
from inference.kernels.norms import layer_source, on_kernel

#: What a gate may go through, by name, in the order of the kernel's numbers.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": functional.silu,
    "gelu": functional.gelu,
    "gelu_tanh": functools.partial(functional.gelu, approximate="tanh"),
}
#: What the middle of a block without a gate may go through.
PLAIN_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    **ACTIVATIONS,
    "relu": functional.relu,
    "relu2": lambda x: functional.relu(x).square(),
}
_THREADS = 128


def gated_activation(gate: Tensor, up: Tensor, activation: str) -> Tensor:
    """The activated gate times up.

    Args:
        gate: (rows, size); rows may be apart, as in a part of a wider tensor.
        up: (rows, size), likewise.
        activation: A name of :data:`ACTIVATIONS`.

    Returns:
        (rows, size), contiguous.
    """
    rows, size = gate.shape
    apart = gate.stride(0) % 8 == 0 and up.stride(0) % 8 == 0 and gate.stride(1) == up.stride(1) == 1
    if size % 8 or not apart or not on_kernel(gate, up):
        return reference_gated_activation(gate, up, activation)
    out = torch.empty((rows, size), dtype=gate.dtype, device=gate.device)
    _kernel(gate.dtype, activation, gate.device)(
        out,
        gate,
        up,
        gate.stride(0),
        up.stride(0),
        size,
        grid=(-(-size // (8 * _THREADS)), rows),
        block=(_THREADS,),
        dependent=True,
    )
    return out


def reference_gated_activation(gate: Tensor, up: Tensor, activation: str) -> Tensor:
    """:func:`gated_activation` in plain torch."""
    return ACTIVATIONS[activation](gate) * up


@functools.cache
def _kernel(dtype: torch.dtype, activation: str, device: torch.device) -> Kernel:
    number = list(ACTIVATIONS).index(activation)
    options = {"BFLOAT16": dtype == torch.bfloat16, "ACTIVATION": number}
    return layer_source("activations.cu", options=options).kernel("gated_activation", "PPPqqi", device=device)
