"""How a product is cut: every case has a kernel that fits the GPU's shared memory."""

from __future__ import annotations

import pytest
import torch

from inference.kernels.gemv_plan import MAX_ROWS, default_shape, plan

_SHARED = {"compute capability 8.0": 166_912, "8.6 and 8.9": 101_376, "9.0": 232_448}


@pytest.mark.parametrize("most_shared", _SHARED.values(), ids=_SHARED.keys())
@pytest.mark.parametrize("number", [0, 1, 2, 3])
@pytest.mark.parametrize("features", [64, 320, 2048, 4096, 11008, 14336, 28672])
def test_every_case_fits_the_shared_memory(most_shared: int, number: int, features: int) -> None:
    for rows in range(1, MAX_ROWS + 1):
        chosen = plan(
            number=number,
            features=features,
            blocksize=64 if number >= 2 else 0,
            dtype=torch.bfloat16,
            rows=rows,
            paired=False,
            shape=default_shape(number, features, rows),
            most_shared=most_shared,
            shared_base=0,
        )
        assert chosen.shared <= most_shared
        assert chosen.threads % 32 == 0
        assert chosen.threads <= 1024
