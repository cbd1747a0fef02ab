"""Products with the weights of linear layers for single tokens on a CPU.

A step on a CPU waits for memory. Where the weights are exact in float16 (those of bfloat16 checkpoints are),
it reads a packed float16 copy of them (FBGEMM: float16 weights, float32 activations and sums): half of the
bytes. The copy is for steps only; the model's own weights stay what gradients and everything else work on.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import linear

#: A weight that float16 holds to this is held exactly, or is too small to be seen in a sum of float32.
_EXACT = 6e-8

#: (..., in) -> (..., out), with (1, out) added if it is given.
Product = Callable[..., Tensor]


def product(weights: Sequence[Tensor], biases: Sequence[Tensor | None], *, copy: bool) -> tuple[Product, int]:
    """One product for linears that read the same.

    Args:
        weights: (out, in) each.
        biases: (out,) or None each.
        copy: Whether a packed copy may be made.

    Returns:
        Their outputs behind each other, and the bytes of the copy (0 where none was made).
    """
    packed = _packed(weights, biases) if copy else None
    if packed is not None:
        return packed, 2 * sum(weight.numel() for weight in weights)
    pairs = list(zip(weights, biases, strict=True))

    def apart(hidden: Tensor, residual: Tensor | None = None) -> Tensor:
        outputs = [linear(hidden, weight, bias) for weight, bias in pairs]
        output = outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1)
        return output if residual is None else output.add_(residual)

    return apart, 0


@torch.inference_mode()
def _packed(weights: Sequence[Tensor], biases: Sequence[Tensor | None]) -> Product | None:
    """The linears on packed float16 weights; None where that is not exact or this torch can't."""
    pack = getattr(torch, "fbgemm_pack_gemm_matrix_fp16", None)
    multiply = getattr(torch, "fbgemm_linear_fp16_weight_fp32_activation", None)
    if pack is None or multiply is None:
        return None
    if any(float((weight - weight.half().float()).abs().max()) > _EXACT for weight in weights):
        return None
    zeros = [
        torch.zeros(len(weight)) if bias is None else bias
        for weight, bias in zip(weights, biases, strict=True)
    ]
    bias, biased = torch.cat(zeros), any(each is not None for each in biases)
    with warnings.catch_warnings():
        # Announced to go some day; then the model's own weights are read.
        warnings.simplefilter("ignore", UserWarning)
        try:
            held = pack(torch.cat(list(weights)))
            multiply(torch.zeros(1, weights[0].shape[1]), held, bias)
        except RuntimeError:  # FBGEMM is for x86 with AVX2
            return None

    def packed(hidden: Tensor, residual: Tensor | None = None) -> Tensor:
        if residual is None:
            return multiply(hidden, held, bias)  # type: ignore[no-any-return]
        # What the product adds to its sums may be anything of that shape.
        row = residual.view(-1)
        added = row + bias if biased else row
        return multiply(hidden, held, added)  # type: ignore[no-any-return]

    return packed
