"""Random stored weights in the shapes of known models, for the kernels' benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from inference.kernels.weights import NESTED_BLOCK, StoredWeight

Storage = Literal["nf4", "nf4-nested", "int8", "bf16"]
STORAGES: tuple[Storage, ...] = ("nf4", "nf4-nested", "int8", "bf16")
_BLOCK = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """Sizes of a Llama-like model; ``layers`` are all it has, ``measured`` as many as a benchmark builds."""

    hidden: int
    key_value: int
    intermediate: int
    layers: int
    measured: int
    vocabulary: int = 128256


MODELS = {
    "1b": ModelShape(hidden=2048, key_value=512, intermediate=8192, layers=16, measured=16),
    "8b": ModelShape(hidden=4096, key_value=1024, intermediate=14336, layers=32, measured=32),
    "70b": ModelShape(hidden=8192, key_value=1024, intermediate=28672, layers=80, measured=8),
}


def nf4_code(device: torch.device) -> torch.Tensor:
    """The 16 values of NF4, as bitsandbytes has them."""
    negative = (-1.0, -0.6961928, -0.52507305, -0.3949175, -0.28444138, -0.18477343, -0.09105004, 0.0)
    positive = (0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1.0)
    return torch.tensor((*negative, *positive), device=device)


def random_weight(rows: int, features: int, storage: Storage, device: torch.device) -> StoredWeight:
    """A weight with random contents, laid out as bitsandbytes does; much quicker than quantizing."""
    if storage == "bf16":
        data = torch.randn(rows, features, device=device, dtype=torch.bfloat16) * features**-0.5
        return StoredWeight(format="dense", rows=rows, features=features, data=data)
    if storage == "int8":
        data = torch.randint(-127, 128, (rows, features), device=device, dtype=torch.int8)
        scale = torch.rand(rows, device=device) + 0.5
        return StoredWeight(format="int8", rows=rows, features=features, data=data, scale=scale)
    count = rows * features
    data = torch.randint(0, 256, (count // 2, 1), device=device, dtype=torch.uint8)
    blocks = -(-count // _BLOCK)
    code = nf4_code(device)
    if storage == "nf4":
        absmax = (torch.rand(blocks, device=device) + 0.5) * features**-0.5
        return StoredWeight(
            format="four_bit",
            rows=rows,
            features=features,
            data=data,
            scale=absmax,
            blocksize=_BLOCK,
            code=code,
        )
    return StoredWeight(
        format="four_bit",
        rows=rows,
        features=features,
        data=data,
        scale=torch.randint(0, 256, (blocks,), device=device, dtype=torch.uint8),
        blocksize=_BLOCK,
        code=code,
        nested=(torch.rand(-(-blocks // NESTED_BLOCK), device=device) + 0.5) * 0.2 * features**-0.5,
        nested_code=torch.linspace(-1, 1, 256, device=device),
        offset=torch.full((1,), features**-0.5, device=device),
    )


Layer = dict[str, tuple[StoredWeight, ...]]


def random_layer(shape: ModelShape, storage: Storage, device: torch.device) -> Layer:
    """The linear layers of one block, grouped as they share their input."""

    def weight(rows: int, features: int) -> StoredWeight:
        return random_weight(rows, features, storage, device)

    hidden, key_value, wide = shape.hidden, shape.key_value, shape.intermediate
    return {
        "qkv": (weight(hidden, hidden), weight(key_value, hidden), weight(key_value, hidden)),
        "o": (weight(hidden, hidden),),
        "gate_up": (weight(wide, hidden), weight(wide, hidden)),
        "down": (weight(hidden, wide),),
    }
