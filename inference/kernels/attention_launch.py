"""How the attention kernel is compiled and laid out on a GPU."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch

from inference.kernels.compiler import Kernel
from inference.kernels.norms import layer_source
from inference.kernels.rotary import Heads

#: Keys that a warp takes at a time; STEP in cuda/attention.cu.
_STEP = 16
#: Blocks on a multiprocessor at once; more gain nothing and cost memory.
MOST_BLOCKS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A kernel with how it is launched.

    Attributes:
        kernel: Compiled and loaded.
        warps: Of a block.
        shared: Bytes of dynamic shared memory of a block.
        resident: Blocks that fill the GPU.
    """

    kernel: Kernel
    warps: int
    shared: int
    resident: int


@functools.cache
def launch_of(
    dtype: torch.dtype,
    heads: Heads,
    tile_rows: int,
    mask: int,
    factors: bool,
    rotated: int,
    paired: bool,
    wide_table: bool,
    norm: int,
    warps: int,
    stages: int,
    device: torch.device,
) -> Launch:
    """The kernel for these compile-time numbers; zero warps and stages mean what fits the GPU best."""
    properties = torch.cuda.get_device_properties(device)
    if not warps:
        warps, stages = _layout(heads.size, properties)
    options = {
        "BFLOAT16": dtype == torch.bfloat16,
        "HEAD": heads.size,
        "GROUP": heads.group,
        "WARPS": warps,
        "STAGES": stages,
        "TILE_ROWS": tile_rows,
        "MASK": mask,
        "FACTORS": factors,
        "ROTARY": rotated,
        "PAIRED": paired,
        "TABLE_FLOAT": wide_table,
        "NORM": norm,
    }
    source = layer_source("new_rows.cuh", "merging.cuh", "attention.cu", options=options)
    kernel = source.kernel("decode_attention", "PPPPPPPPPPPPPPPPqqqqqiifffii", device=device)
    shared = _shared_bytes(heads.size, warps, stages)
    blocks = kernel.blocks_per_multiprocessor(32 * warps, shared)
    return Launch(
        kernel=kernel,
        warps=warps,
        shared=shared,
        resident=min(max(1, blocks), MOST_BLOCKS) * multiprocessors(device),
    )


def multiprocessors(device: torch.device) -> int:
    """How many a GPU has."""
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def _shared_bytes(size: int, warps: int, stages: int) -> int:
    """Stages of keys and values for each warp, and the queries."""
    return (warps * stages * 2 * _STEP + 16) * (size + 8) * 2


def _layout(size: int, properties: object) -> tuple[int, int]:
    """Warps and stages: many warps, so that few blocks have to be merged; the first that fits."""
    most = int(getattr(properties, "shared_memory_per_block_optin", 99 * 1024))
    room = most - 4 * size * 8 - 2048
    layouts = ((8, 2), (4, 2), (2, 2), (1, 2))
    return next(each for each in layouts if _shared_bytes(size, *each) <= room)
