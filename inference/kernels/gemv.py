"""Products of one to eight activation rows with stored weights, at the speed of memory (cuda/gemv.cu).

    product = Product((q, k, v), dtype=torch.bfloat16)  # StoredWeight each; compiles nothing yet
    out = product(x)                                    # (rows, features) -> (rows, sum of the weights' rows)

Several weights in one launch are read as they lie (nothing is concatenated); ``paired=True`` takes gate and
up and gives silu(gate) * up. ``weights.multiply_twin`` is the same in plain torch.
"""

from __future__ import annotations

import functools

import torch

from inference.kernels.compiler import Kernel, Source
from inference.kernels.gemv_plan import MAX_ROWS, TILE, TYPES, Shape, default_shape, piece, plan
from inference.kernels.weights import StoredWeight, UnsupportedWeight

__all__ = ["MAX_ROWS", "SEGMENT", "Product", "shared_base"]

_SEGMENTS = 3
SEGMENT = "PPPPPPiifi"
"""Layout of a segment of the kernel's arguments: see cuda/stored.cuh."""
_SIGNATURE = "PP" + SEGMENT * _SEGMENTS + "16f" + "iiii"
_RESIDUAL, _OUT = 4, 5
_NEVER = 0x7FFFFFFF


def _format_number(weight: StoredWeight) -> int:
    if weight.format == "four_bit":
        return 2 if weight.nested is None else 3
    return 1 if weight.format == "int8" else 0


@functools.cache
def shared_base(index: int) -> int:
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
        if self.dtype not in TYPES:
            raise UnsupportedWeight(f"activations are {str(self.dtype).removeprefix('torch.')}")
        if self._number == 0 and any(w.data.dtype != self.dtype for w in self.weights):
            raise UnsupportedWeight("weights and activations have different types")
        if first.features % (piece(self._number) // (2 if self._number >= 2 else 4)):
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
            shared_base=shared_base(index),
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
