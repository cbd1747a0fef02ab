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
SEGMENT = "PPPPPPiifi"
"""Layout of a segment of the kernel's arguments: see cuda/stored.cuh."""
_SIGNATURE = "PP" + SEGMENT * _SEGMENTS + "16f" + "iiii"
_RESIDUAL, _OUT = 4, 5
_TYPES = {torch.bfloat16: "Bf16", torch.float16: "Fp16"}
_NEVER = 0x7FFFFFFF
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
    files = ("prelude.cuh", "stored.cuh", "gemv.cu")
    kernel = Source.of(*files, options=options).kernel("shared_base", "P", device=device)
    out = torch.zeros(1, dtype=torch.int32, device=device)
    kernel(out, grid=(1,), block=(1,), shared=1024)
    return int(out.item())


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
        shared_base: See :func:`_shared_base`.
    """
    common: dict[str, str | int] = {
        "ACT": _TYPES[dtype],
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
    chunk = 2 * _piece(number)
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


_known_tables: dict[tuple[torch.device, bytes], torch.Tensor] = {}


def _shared_table(table: torch.Tensor) -> torch.Tensor:
    """One tensor for all tables of these values: it stays in the cache, where one a layer would not."""
    key = (table.device, table.cpu().numpy().tobytes())
    return _known_tables.setdefault(key, table)


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
        self._segments = self._make_segments()
        self._code, self.nested_code = self._tables()
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

    def _make_segments(self) -> list[int | float]:
        """The kernel's segments; for the output's address stands its offset, in bytes."""
        arguments: list[int | float] = []
        tile = row = 0
        for i in range(_SEGMENTS):
            present = i < len(self.weights)
            weight = self.weights[i] if present else self.weights[0]
            first = (0 if self.paired else tile) if present else _NEVER
            offset = 0.0 if weight.offset is None else float(weight.offset)
            addresses = [weight.data, weight.scale, weight.nested, weight.bias]
            arguments += [0 if tensor is None else tensor.data_ptr() for tensor in addresses]
            arguments += [0, row * 2, weight.rows, first, offset, 0]
            if present and not self.paired:
                tile += -(-weight.rows // TILE)
                row += weight.rows
        self.tiles = -(-self.weights[0].rows // TILE) if self.paired else tile
        return arguments

    def _tables(self) -> tuple[list[float], torch.Tensor | None]:
        """The 16 values of four bits and the 256 of a quantized absmax, the same for all the weights."""
        codes = [[0.0] * 16 if w.code is None else [float(v) for v in w.code.tolist()] for w in self.weights]
        nested = [None if w.nested_code is None else _shared_table(w.nested_code) for w in self.weights]
        if any(code != codes[0] for code in codes) or any(table is not nested[0] for table in nested):
            raise UnsupportedWeight("the weights have different codes")
        return codes[0], nested[0]

    def _prepare(self, rows: int) -> tuple[Kernel, int, int, int]:
        properties = torch.cuda.get_device_properties(self.device)
        index = torch.cuda.current_device() if self.device.index is None else self.device.index
        shape = self._shape or default_shape(self._number, self.features, rows)
        chosen = plan(
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
        kernel = chosen.source.kernel("gemv", _SIGNATURE, device=self.device)
        fit = kernel.blocks_per_multiprocessor(chosen.threads, chosen.shared)
        if shape.blocks:
            fit = min(fit, shape.blocks)
        most = properties.multi_processor_count * max(1, fit)
        return kernel, min(-(-self.tiles // chosen.tiles_at_once), most), chosen.threads, chosen.shared

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
        kernel(
            x,
            self.nested_code,
            *self._segments_of(out, residual),
            *self._code,
            self.tiles,
            self.features,
            x.stride(0),
            self.rows,
            grid=(grid,),
            block=(threads,),
            shared=shared,
            dependent=dependent,
        )
        return out

    def _segments_of(self, out: torch.Tensor, residual: torch.Tensor | None) -> list[int | float]:
        segments = self._segments.copy()
        out_address = out.data_ptr()
        residual_address = 0 if residual is None else residual.data_ptr()
        for i in range(0, len(SEGMENT) * _SEGMENTS, len(SEGMENT)):
            offset = segments[i + _OUT]
            segments[i + _OUT] = out_address + offset
            if residual_address:
                segments[i + _RESIDUAL] = residual_address + offset
        return segments

    def arguments(
        self, out: torch.Tensor, residual: torch.Tensor | None = None
    ) -> tuple[list[int | float], list[float]]:
        """The kernel's segments (``SEGMENT``, three times) and code (16 floats), as they are packed."""
        return self._segments_of(out, residual), self._code


def default_shape(number: int, features: int, rows: int) -> Shape:
    """The cut that was fastest on an H200; see the table in ``inference/kernels/__init__.py``."""
    if number >= 2:
        return Shape(warps=8, groups=1, depth=2, min_blocks=2, blocks=2, ahead=128)
    return Shape(warps=8, groups=2, depth=2 if number == 1 else 4, min_blocks=1, blocks=1, ahead=128)
