"""Products of one to eight activation rows with stored weights, at the speed of memory (cuda/gemv.cu).

    product = Product((q, k, v), dtype=torch.bfloat16)  # StoredWeight each; compiles nothing yet
    out = product(x)                                    # (rows, features) -> (rows, sum of the weights' rows)

Several weights in one launch are read as they lie (nothing is concatenated); ``paired=True`` takes gate and
up and gives silu(gate) * up. ``weights.multiply_twin`` is the same in plain torch.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch

from inference.kernels.compiler import Kernel, Source
from inference.kernels.weights import StoredWeight, UnsupportedWeight

MAX_ROWS = 8
TILE = 16
_SEGMENTS = 3
_SIGNATURE = "PPP" + "PPPPPPPii" * _SEGMENTS + "iiii"
_TYPES = {torch.bfloat16: "Bf16", torch.float16: "Fp16"}
_NEVER = 0x7FFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How a product is cut for the GPU; see cuda/gemv.cu.

    Attributes:
        warps: Warps that share a tile of 16 weight rows, each with its part of the features.
        groups: Tiles that a thread block works on at once.
        depth: Chunks (128 bytes of 16 rows) that a warp has in flight.
        min_blocks: Thread blocks a multiprocessor that registers must allow.
        blocks: At most so many thread blocks a multiprocessor; 0: as many as fit.
    """

    warps: int = 8
    groups: int = 2
    depth: int = 2
    min_blocks: int = 1
    blocks: int = 0


def _format_number(weight: StoredWeight) -> int:
    if weight.format == "four_bit":
        return 2 if weight.nested is None else 3
    return 1 if weight.format == "int8" else 0


def _piece(number: int) -> int:
    """Weights of one row in 64 bytes."""
    return {0: 32, 1: 64}.get(number, 128)


@functools.cache
def _shared_base(index: int) -> int:
    """Where dynamic shared memory begins in its window: a constant that is built into kernels."""
    device = torch.device("cuda", index)
    options = (
        "-DACT=Bf16",
        "-DFORMAT=0",
        "-DROWS=1",
        "-DWARPS=4",
        "-DGROUPS=1",
        "-DDEPTH=1",
        "-DMIN_BLOCKS=1",
    )
    kernel = Source.of("prelude.cuh", "gemv.cu", options=options).kernel("shared_base", "P", device=device)
    out = torch.zeros(1, dtype=torch.int32, device=device)
    kernel(out, grid=(1,), block=(1,), shared=1024)
    return int(out.item())


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
) -> tuple[dict[str, str | int], int]:
    """The compiler's options for a product, and the bytes of shared memory that it takes.

    Args:
        number: FORMAT in cuda/gemv.cu.
        features: Input features.
        blocksize: Weights that share an absmax; 0 where there is none.
        dtype: Of the activations.
        rows: Of activations.
        paired: silu(first) * second.
        shape: How the product is cut.
        most_shared: Bytes of shared memory that a thread block may have.
        shared_base: See :func:`_shared_base`.
    """
    chunk = 2 * _piece(number)
    chunks = -(-features // chunk)
    table = (65536 if number >= 2 else 0) + (1024 if number == 3 else 0)
    partials = 2 * shape.groups * shape.warps * TILE * rows * 4
    x_bytes = rows * (chunks * chunk + 8) * 2
    x_shared = table + partials + x_bytes + 1024 <= most_shared // max(1, shape.min_blocks)
    options: dict[str, str | int] = {
        "ACT": _TYPES[dtype],
        "FORMAT": number,
        "ROWS": rows,
        "WARPS": shape.warps,
        "GROUPS": shape.groups,
        "DEPTH": shape.depth,
        "MIN_BLOCKS": shape.min_blocks,
        "FULL": int(features % chunk == 0 and chunks % shape.warps == 0),
        "SHIFT": (max(64, blocksize) // 64).bit_length() - 1,
        "X_SHARED": int(x_shared),
        "PAIRED": int(paired),
        "TABLE_BASE": shared_base,
    }
    return options, table + partials + (x_bytes if x_shared else 0)


def source(options: dict[str, str | int]) -> Source:
    """The kernel's source with its options."""
    return Source.of("prelude.cuh", "gemv.cu", options=tuple(f"-D{k}={v}" for k, v in options.items()))


class Product:
    """A prepared product with one to three weights of one format, features and device.

    Args:
        weights: One to three; with ``paired`` two of equal rows.
        dtype: Of the activations and the result: bfloat16 or float16.
        paired: Give silu(first) * second.
        shape: How to cut it; None takes what was measured to be good.

    Raises:
        UnsupportedWeight: When the kernels cannot read these weights together.
    """

    def __init__(
        self,
        weights: tuple[StoredWeight, ...],
        *,
        dtype: torch.dtype,
        paired: bool = False,
        shape: Shape | None = None,
    ) -> None:
        self.weights = weights
        self.dtype = dtype
        self.paired = paired
        self.device = weights[0].data.device
        self.features = weights[0].features
        self.rows = weights[0].rows if paired else sum(weight.rows for weight in weights)
        self._shape = shape
        self._number = _format_number(weights[0])
        self._check()
        self._arguments = self._segments()
        self._launches: dict[int, tuple[Kernel, int, int, int]] = {}

    def _check(self) -> None:
        first = self.weights[0]
        alike = all(
            (_format_number(w), w.features, w.blocksize, w.data.device)
            == (self._number, first.features, first.blocksize, first.data.device)
            for w in self.weights
        )
        if not alike or not 1 <= len(self.weights) <= _SEGMENTS:
            raise UnsupportedWeight("the weights are stored in different ways")
        if self.paired and (len(self.weights) != 2 or first.rows != self.weights[1].rows):
            raise UnsupportedWeight("a pair needs two weights of equal rows")
        if self.dtype not in _TYPES:
            raise UnsupportedWeight(f"activations are {str(self.dtype).removeprefix('torch.')}")
        if self._number == 0 and any(w.data.dtype != self.dtype for w in self.weights):
            raise UnsupportedWeight("weights and activations have different types")
        if first.features % (_piece(self._number) // (2 if self._number >= 2 else 4)):
            raise UnsupportedWeight(f"{first.features} input features do not come in whole groups")
        if first.blocksize and (first.features % 64 or first.blocksize & (first.blocksize - 1)):
            raise UnsupportedWeight(
                f"{first.features} input features do not come in blocks of {first.blocksize}"
            )
        if any(w.bias is not None and w.bias.dtype != self.dtype for w in self.weights):
            raise UnsupportedWeight("the bias has another type than the activations")

    def _segments(self) -> list[torch.Tensor | int | None]:
        """The kernel's segments; for the output's address stands its offset, in bytes."""
        arguments: list[torch.Tensor | int | None] = []
        tile = row = 0
        for i in range(_SEGMENTS):
            present = i < len(self.weights)
            weight = self.weights[i] if present else self.weights[0]
            first = (0 if self.paired else tile) if present else _NEVER
            arguments += [
                weight.data.data_ptr(),
                weight.scale,
                weight.nested,
                weight.offset,
                weight.bias,
                0,
                row * 2,
            ]
            arguments += [weight.rows, first]
            if present and not self.paired:
                tile += -(-weight.rows // TILE)
                row += weight.rows
        self._tiles = -(-self.weights[0].rows // TILE) if self.paired else tile
        return [a.data_ptr() if isinstance(a, torch.Tensor) else a for a in arguments]

    def _prepare(self, rows: int) -> tuple[Kernel, int, int, int]:
        properties = torch.cuda.get_device_properties(self.device)
        index = torch.cuda.current_device() if self.device.index is None else self.device.index
        shape = self._shape or default_shape(self._number, self.features, rows)
        options, shared = plan(
            number=self._number,
            features=self.features,
            blocksize=self.weights[0].blocksize,
            dtype=self.dtype,
            rows=rows,
            paired=self.paired,
            shape=shape,
            most_shared=getattr(properties, "shared_memory_per_block_optin", 48 * 1024),
            shared_base=_shared_base(index),
        )
        kernel = source(options).kernel("gemv", _SIGNATURE, device=self.device)
        threads = shape.warps * shape.groups * 32
        fit = kernel.blocks_per_multiprocessor(threads, shared)
        if shape.blocks:
            fit = min(fit, shape.blocks)
        grid = min(-(-self._tiles // shape.groups), properties.multi_processor_count * max(1, fit))
        return kernel, grid, threads, shared

    def prepare(self, rows: int) -> None:
        """Compiles for ``rows`` activation rows: before a capture, or to have it done at a good moment."""
        if rows not in self._launches:
            self._launches[rows] = self._prepare(rows)

    def __call__(
        self,
        x: torch.Tensor,
        *,
        out: torch.Tensor | None = None,
        residual: torch.Tensor | None = None,
        dependent: bool = True,
    ) -> torch.Tensor:
        """The product.

        Args:
            x: Shape (1 to 8, features); rows may be apart, elements of a row may not.
            out: Shape (rows of x, ``self.rows``), contiguous; may be ``residual`` itself.
            residual: Like ``out``: added to the rounded product.
            dependent: Start while the kernel before it ends (see compiler.py); ``x`` and ``residual`` must
                come from kernels of the same stream.

        Returns:
            ``out``, or a new tensor.
        """
        count = x.shape[0]
        launch = self._launches.get(count)
        if launch is None:
            self.prepare(count)
            launch = self._launches[count]
        if out is None:
            out = torch.empty((count, self.rows), dtype=self.dtype, device=self.device)
        kernel, grid, threads, shared = launch
        arguments = self._arguments.copy()
        out_address = out.data_ptr()
        residual_address = 0 if residual is None else residual.data_ptr()
        for i in range(0, 9 * _SEGMENTS, 9):
            offset = arguments[i + 6]
            arguments[i + 6] = out_address + offset  # type: ignore[operator]
            if residual_address:
                arguments[i + 5] = residual_address + offset  # type: ignore[operator]
        first = self.weights[0]
        kernel(
            x,
            first.code,
            first.nested_code,
            *arguments,
            self._tiles,
            self.features,
            x.stride(0),
            self.rows,
            grid=(grid,),
            block=(threads,),
            shared=shared,
            dependent=dependent,
        )
        return out


def default_shape(number: int, features: int, rows: int) -> Shape:
    """The cut that was fastest on an H200; see the table in ``inference/kernels/__init__.py``."""
    return Shape()
