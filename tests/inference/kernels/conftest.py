"""Layers of bitsandbytes with weights that are hard to quantize, made on the processor."""

from __future__ import annotations

from collections.abc import Callable

import bitsandbytes as bnb
import pytest
import torch
from torch import nn

MakeLayer = Callable[..., nn.Linear]


def hostile_weights(rows: int, features: int, seed: int = 0) -> torch.Tensor:
    """Weights whose blocks of 64 differ by powers of ten; some are zero, some hold one large value."""
    generator = torch.Generator().manual_seed(seed)
    blocks = -(-features // 64)
    sizes = 10.0 ** torch.randint(-4, 1, (rows, blocks), generator=generator)
    sizes[:, -1] = 1
    sizes[rows // 2] = 0
    weights = torch.randn(rows, blocks, 64, generator=generator) * sizes[:, :, None]
    weights[::3, 0, 5] *= 8
    return weights.reshape(rows, blocks * 64)[:, :features] * 0.05


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
        if layer.bias is not None:
            layer.bias = nn.Parameter(layer.bias.to(dtype))
        return layer.to(device).requires_grad_(False).eval()

    return make
