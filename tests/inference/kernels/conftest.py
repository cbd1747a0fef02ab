"""Layers of bitsandbytes with weights that are hard to quantize, made on the processor."""

from __future__ import annotations

from collections.abc import Callable

import bitsandbytes as bnb
import pytest
import torch
from torch import nn

MakeLayer = Callable[..., nn.Linear]


def hostile_weights(rows: int, features: int, seed: int = 0) -> torch.Tensor:
    """Weights whose blocks differ by many powers of ten, some of them zero."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(rows, features, generator=generator) * 0.05
    weights[rows // 3] *= 40
    weights[rows // 2] *= 1e-4
    weights[-1, : features // 2] = 0
    weights[:, :: max(1, features // 5)] *= 8
    return weights


@pytest.fixture(scope="session")
def make_layer() -> MakeLayer:
    """``make_layer(storage, rows, features, dtype=, bias=)``: storage dense, int8, nf4, fp4, nf4-nested."""

    def make(
        storage: str,
        rows: int,
        features: int,
        *,
        dtype: torch.dtype = torch.bfloat16,
        bias: bool = False,
        seed: int = 0,
        device: str = "cpu",
    ) -> nn.Linear:
        plain = nn.Linear(features, rows, bias=bias, dtype=dtype).requires_grad_(False)
        plain.weight.copy_(hostile_weights(rows, features, seed))
        if storage == "dense":
            return plain.to(device)
        layer: nn.Linear
        if storage == "int8":
            layer = bnb.nn.Linear8bitLt(features, rows, bias=bias, has_fp16_weights=False, threshold=6.0)
        else:
            layer = bnb.nn.Linear4bit(
                features,
                rows,
                bias=bias,
                compute_dtype=dtype,
                quant_type=storage.removesuffix("-nested"),
                compress_statistics=storage.endswith("-nested"),
            )
        layer.load_state_dict(plain.state_dict())
        return layer.to(device).requires_grad_(False).eval()

    return make
