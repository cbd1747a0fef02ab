"""What each choice of precision means: which dtype is computed in, and which config says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

from inference.errors import InvalidRequest
from inference.events import Quantization

if TYPE_CHECKING:
    import torch
    from transformers import BitsAndBytesConfig

#: Choices in which bitsandbytes holds the linear layers.
BITSANDBYTES: frozenset[str] = frozenset({"int8", "nf4", "fp4"})

#: Weights that share one scale in bitsandbytes' 4-bit formats.
BLOCK_SIZE = 64

DTYPE_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}

QUANTIZATIONS: tuple[Quantization, ...] = get_args(Quantization)


def check_quantization(quantization: str) -> Quantization:
    """Return the name if it is one of :data:`QUANTIZATIONS`.

    Raises:
        InvalidRequest: It is not.
    """
    for known in QUANTIZATIONS:
        if quantization == known:
            return known
    raise InvalidRequest(
        f"There is no quantization {quantization!r}.", hint=f"Use one of {', '.join(QUANTIZATIONS)}."
    )


def effective_dtype(quantization: Quantization, device: str, stored: str) -> str:
    """The precision that is computed in, by torch's name for it.

    "bf16" and "fp16" are what they say. Otherwise the stored precision is kept on a GPU; on a CPU, where bf16
    and fp16 are slower than float32 and cost accuracy, it is float32. Stored precisions that one can't
    compute in (fp8, int8) become bf16 on a GPU.
    """
    if quantization == "bf16":
        return "bfloat16"
    if quantization == "fp16":
        return "float16"
    if device == "cpu":
        return "float32"
    return stored if stored in ("float32", "bfloat16", "float16") else "bfloat16"


def can_pack(shape: Sequence[int], quantization: Quantization, device: str) -> bool:
    """Whether bitsandbytes can compute with a linear layer's packed weight (outputs, inputs).

    On a CPU with AVX-512 its 4-bit kernel lays weights out in blocks of 32 outputs and scales in blocks of 64
    inputs, and breaks off at any other size (bitsandbytes 0.50).
    """
    four_bits = quantization in ("nf4", "fp4")
    return not (four_bits and device == "cpu") or (shape[0] % 32 == 0 and shape[1] % BLOCK_SIZE == 0)


def quantization_config(
    quantization: Quantization, dtype: torch.dtype, kept_whole: Sequence[str] = ()
) -> BitsAndBytesConfig | None:
    """transformers' description of a choice; None where nothing is quantized. ``kept_whole`` are names of
    layers that stay as they are beside the output layer.

    4-bit: blocks of 64 with one float32 scale each, no double quantization (it saves 0.4 bit a weight and
    costs a second lookup in every step). int8: LLM.int8() with its published outlier threshold 6.0 (Dettmers
    et al. 2022).
    """
    if quantization not in BITSANDBYTES:
        return None
    from transformers import BitsAndBytesConfig

    # Named layers take the place of transformers' own choice, which is the output layer.
    skipped = ["lm_head", *kept_whole] if kept_whole else None
    if quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skipped)  # type: ignore[no-untyped-call]
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type=quantization,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=skipped,
    )
