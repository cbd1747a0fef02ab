"""How a product is cut for the GPU: which kernel, its options, threads and shared memory. Needs no GPU.

Formats by number, as cuda/gemv.cu has them: 0 dense, 1 int8, 2 four bits, 3 four bits with quantized absmax.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from inference.kernels.compiler import Source

MAX_ROWS = 8
TILE = 16
TYPES = {torch.bfloat16: "Bf16", torch.float16: "Fp16"}
_ODD_ROOM = 16384
"""Elements of x that fit between the entries of the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How a product is cut for the GPU; see cuda/gemv.cu.

    Attributes:
        warps: Warps that share a tile of 16 weight rows, each with its part of the features.
        groups: Tiles that a thread block works on at once.
        depth: Chunks (128 bytes of 16 rows) that a warp has in flight.
        min_blocks: Thread blocks a multiprocessor that registers must allow.
        blocks: At most so many thread blocks a multiprocessor; 0: as many as fit.
        ahead: Bytes that a load brings into L2 around what it reads: 0, 64, 128 or 256.
        row: A single activation row takes the kernel of its own (cuda/gemv_row.cu) where that fits.
    """

    warps: int = 8
    groups: int = 2
    depth: int = 2
    min_blocks: int = 1
    blocks: int = 0
    ahead: int = 0
    row: bool = True


def piece(number: int) -> int:
    """Weights of one row in 64 bytes."""
    return {0: 32, 1: 64}.get(number, 128)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One kernel for one case.

    Attributes:
        source: What to compile.
        tiles_at_once: Tiles that a thread block works on.
        threads: Of a thread block.
        shared: Bytes of dynamic shared memory.
    """

    source: Source
    tiles_at_once: int
    threads: int
    shared: int


def plan(
    *,
    number: int,
    features: int,
    blocksize: int,
    dtype: torch.dtype,
    rows: int,
    paired: bool,
    shape: Shape,
    most_shared: int,
    shared_base: int,
) -> Plan:
    """How a product is computed; needs no GPU.

    Args:
        number: FORMAT in cuda/gemv.cu.
        features: Input features.
        blocksize: Weights that share an absmax; 0 where there is none.
        dtype: Of the activations.
        rows: Of activations.
        paired: silu(first) * second.
        shape: How the product is cut.
        most_shared: Bytes of shared memory that a thread block may have.
        shared_base: See :func:`inference.kernels.gemv.shared_base`.
    """
    common: dict[str, str | int] = {
        "ACT": TYPES[dtype],
        "FORMAT": number,
        "GROUPS": shape.groups,
        "MIN_BLOCKS": shape.min_blocks,
        "PAIRED": int(paired),
        "TABLE_BASE": shared_base,
    }
    if shape.ahead:
        common["LOAD_AHEAD"] = f'".L2::{shape.ahead}B"'
    table = (65536 if number >= 2 else 0) + (1024 if number == 3 else 0)
    if shape.row and rows == 1 and number >= 2 and blocksize == 64:
        chosen = _row_plan(common, features, shape.warps, table)
        if chosen is not None and chosen.shared + 1024 <= most_shared:
            return chosen
    chunk = 2 * piece(number)
    chunks = -(-features // chunk)
    full = features % chunk == 0 and chunks % shape.warps == 0
    fixed = table + 2 * shape.groups * shape.warps * TILE * rows * 4
    x_bytes = rows * (chunks * chunk + (32 if number == 0 else 8)) * 2
    x_odd = number >= 2 and rows * chunks * chunk <= _ODD_ROOM
    x_shared = x_odd or fixed + x_bytes + 1024 <= most_shared // max(1, shape.min_blocks)
    options = common | {
        "ROWS": rows,
        "WARPS": shape.warps,
        "DEPTH": shape.depth,
        "FULL": int(full),
        "SHIFT": (max(64, blocksize) // 64).bit_length() - 1,
        "X_SHARED": int(x_shared),
        "X_ODD": int(x_odd),
    }
    return Plan(
        source=_source("gemv.cu", options),
        tiles_at_once=shape.groups,
        threads=shape.warps * shape.groups * 32,
        shared=fixed + (x_bytes if x_shared and not x_odd else 0),
    )


def _row_plan(common: dict[str, str | int], features: int, most_warps: int, table: int) -> Plan | None:
    """The kernel for a single row of x, where chunks of 512 weights come out even for 4 or more warps."""
    counts = range(most_warps, 3, -1) if features % 512 == 0 else ()
    warps = next((count for count in counts if features // 512 % count == 0), 0)
    if not warps:
        return None
    groups = int(common["GROUPS"])
    x_odd = features <= _ODD_ROOM
    return Plan(
        source=_source("gemv_row.cu", common | {"WARPS": warps, "X_ODD": int(x_odd)}),
        tiles_at_once=groups,
        threads=warps * groups * 32,
        shared=table + 2 * groups * warps * TILE * 4 + (0 if x_odd else features * 2),
    )


def _source(file: str, options: dict[str, str | int]) -> Source:
    flags = tuple(f"-D{name}={value}" for name, value in options.items())
    return Source.of("prelude.cuh", "stored.cuh", file, options=flags)


def default_shape(number: int, features: int, rows: int) -> Shape:
    """The cut that was fastest on an H200; see the table in ``inference/kernels/__init__.py``."""
    if number >= 2:
        return Shape(warps=8, groups=1, depth=2, min_blocks=2, blocks=2, ahead=128)
    return Shape(warps=8, groups=2, depth=2 if number == 1 else 4, min_blocks=1, blocks=1, ahead=128)
