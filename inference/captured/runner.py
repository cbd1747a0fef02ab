"""One decode step over fixed buffers, held in CUDA graphs: read a token, draw the next.

Two graphs alternate. *Reading* runs the model on the token buffer and leaves logits; *drawing* makes a token
of them, leaves it in the token buffer and its record in pinned memory. Both are enqueued together, so the
host looks at a token while the device already reads it; controls are read by the next drawing, which is
enqueued only after the host has shown the token, so a change acts on the very next one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from inference.captured.controls import ControlBuffers
from inference.captured.drawing import StepDrawing
from inference.captured.graphs import CaptureFailed, Graphs, Replay
from inference.captured.reading import PLAIN_FORM, Form, StepReading
from inference.captured.sampling import Record

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from inference.models.loaded_model import LoadedModel

#: Rows of a step: a token alone, or a token and what is guessed to follow.
GUESSED_ROWS = 5
#: How far a captured step's logits may be from the prefill's, by the norm of their difference.
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}
_HALF_TOLERANCE = 0.2


class StepRunner:
    """The step of one loaded model: its buffers and its graphs, kept from run to run.

    Attributes:
        reading: The forward pass.
        cache: The cache that the step works on; a prefill uses it like any other.
        logits: (vocabulary,), what the next token is drawn from.
        rows: (rows, vocabulary), the logits of a step of several rows.
        failure: Why the step can't be captured, once that is known.
    """

    def __init__(self, loaded: LoadedModel, *, captures: bool = True) -> None:
        self._device = loaded.device
        self._dtype = loaded.dtype
        self.graphs = Graphs(loaded.device, captures=captures)
        self.reading = StepReading(loaded)
        self.config: Any = self.reading.config
        self.cache = self.reading.cache
        self.buffers = self.cache.buffers
        self.failure = ""
        self.forget()

    def forget(self) -> None:
        """Drop all graphs and buffers, so that their memory is free."""
        self.graphs.settle()
        self._readers: dict[tuple[int, Form], Replay] = {}
        self._drawer: Replay | None = None
        self._generation = -1
        self._checked: set[tuple[int, Form]] = set()
        self.reading.form = PLAIN_FORM
        self.graphs.drop()
        self.buffers.free()
        self._drawing: StepDrawing | None = None

    def model_changed(self) -> None:
        """The model computes something else from now on: what was captured of it is not used again."""
        self.graphs.settle()
        self._readers.clear()
        self._checked.clear()

    def bytes(self) -> int:
        """Memory of the graphs, and of the buffers beside the cache's own."""
        if self._drawing is None:
            return 0
        return self.graphs.bytes + self.controls.bytes() + self.logits.nbytes + self.rows.nbytes

    @property
    def drawing(self) -> StepDrawing:
        """The draw; there is one from :meth:`start` on."""
        assert self._drawing is not None
        return self._drawing

    @property
    def controls(self) -> ControlBuffers:
        """What acts on the next draw."""
        return self.drawing.controls

    @property
    def record(self) -> Record:
        """Where the numbers of a draw are."""
        return self.drawing.record

    # -- before a run

    def reserve(self, positions: int) -> None:
        """Have room for so many positions."""
        self.buffers.reserve(min(positions, self.buffers.limit))

    @torch.inference_mode()
    def start(self, logits: Tensor, candidates: int) -> None:
        """Take over behind a prefill whose last logits (vocabulary,) are given."""
        if self._drawing is None:
            self.logits = torch.empty_like(logits)
            self.rows = logits.new_zeros(GUESSED_ROWS, len(logits))
            self.tokens = torch.zeros((1, GUESSED_ROWS), dtype=torch.long, device=self._device)
            self._drawing = StepDrawing(self.logits)
        self.logits.copy_(logits)
        if self.drawing.record_at_least(candidates):
            self._drawer = None

    @torch.inference_mode()
    def prepare(self, ids: Sequence[int], rows: int, logits: Tensor | None = None) -> None:
        """Capture what is not captured yet in the present form.

        Args:
            ids: What the cache holds.
            rows: Of the step.
            logits: (vocabulary,) behind the last of the ids, where they were computed under the factors that
                act now: the step's own are compared with them.

        Raises:
            CaptureFailed: It can't be captured, or gives something else; the cache is as it was.
            torch.OutOfMemoryError: The GPU has no room for it.
        """
        self._reserve(len(ids) + rows)
        which = (rows, self.reading.form)
        if which in self._readers:
            return
        # Captured at the start of the text and tried at its end: a place that went into the graph as a
        # number would show.
        self._capture_at_start(rows)
        if logits is None or which in self._checked or len(ids) < rows:
            return
        try:
            self._check(ids, rows, logits)
        except CaptureFailed:
            del self._readers[which]
            raise
        self._checked.add(which)

    def _check(self, ids: Sequence[int], rows: int, logits: Tensor) -> None:
        start = len(ids) - rows
        with self._kept(start, len(ids)), self._kept_logits():
            tokens = self.drawing.token if rows == 1 else self.tokens
            tokens.copy_(torch.tensor([ids[start:]]))
            self.buffers.position.fill_(start)
            self.drawing.own_bias.copy_(self.reading.row()[len(ids) - 1 : len(ids)])
            self._readers[rows, self.reading.form]()
            self._compare(self.logits if rows == 1 else self.rows[-1], logits)

    def _compare(self, got: Tensor, expected: Tensor) -> None:
        got, expected = got.double(), expected.double()
        got, expected = got - got.mean(), expected - expected.mean()
        error = float((got - expected).norm() / expected.norm().clamp_min(1e-9))
        if not error <= _TOLERANCE.get(self._dtype, _HALF_TOLERANCE):
            raise CaptureFailed(f"the captured step's logits differ from the model's by {error:.2g}")

    @contextmanager
    def _kept(self, start: int, stop: int) -> Iterator[None]:
        """What the cache holds there is the same after the block as before it."""
        pairs = [self.buffers.layer(index) for index in range(len(self.buffers.layers))]
        held = [[each[:, :, start:stop].clone() for each in pair] for pair in pairs]
        row = self.reading.row().clone()
        try:
            yield
        finally:
            for pair, copies in zip(pairs, held, strict=True):
                for each, copy in zip(pair, copies, strict=True):
                    each[:, :, start:stop] = copy
            self.reading.row().copy_(row)

    @contextmanager
    def _kept_logits(self) -> Iterator[None]:
        tensors = (self.logits, self.drawing.token, self.drawing.own_bias)
        held = [tensor.clone() for tensor in tensors]
        self.drawing.own_bias.zero_()
        try:
            yield
        finally:
            for tensor, copy in zip(tensors, held, strict=True):
                tensor.copy_(copy)

    def _reserve(self, positions: int) -> None:
        self.reserve(positions)
        if self._generation != self.buffers.generation:
            self.graphs.settle()
            self._readers.clear()
            self._generation = self.buffers.generation
            self.reading.buffers_moved()

    # -- in a run; all of it only enqueues

    @torch.inference_mode()
    def draw(self) -> None:
        """Draw a token from :attr:`logits`; its record is on its way to the host."""
        if self._drawer is None:
            self._drawer = self._captured_draw()
        self._drawer()

    def _captured_draw(self) -> Replay:
        """The draw in a graph; it asks the device for nothing, so where it has none it is called instead."""
        with self.drawing.kept():
            try:
                return self.graphs.capture(self.drawing)
            except CaptureFailed as error:
                _log.warning("The draw is not captured: %s", error)
                return self.drawing

    @torch.inference_mode()
    def put(self, token: int, own_bias: float) -> None:
        """A token that the host has drawn takes the place of the device's."""
        self.drawing.put(token, own_bias)

    @torch.inference_mode()
    def reread(self, token: int, position: int) -> None:
        """Run the model on a known token; what acts on its key is what :meth:`set_factors` left."""
        self.drawing.token.fill_(token)
        self.read(position)

    @torch.inference_mode()
    def read(self, position: int) -> None:
        """Run the model on the drawn token at a position; :attr:`logits` are those behind it."""
        if position >= self.buffers.bucket:
            self._grow(position + 1, 1)
        self.buffers.position.fill_(position)
        self._readers[1, self.reading.form]()

    @torch.inference_mode()
    def read_rows(self, ids: Sequence[int], position: int) -> None:
        """Run the model on several tokens (at most ``GUESSED_ROWS``); :attr:`rows` are the logits."""
        if position + GUESSED_ROWS > self.buffers.bucket:
            self._grow(position + GUESSED_ROWS, GUESSED_ROWS)
        padded = [*ids, *[ids[-1]] * (GUESSED_ROWS - len(ids))]
        source = torch.tensor([padded])
        self._source = source.pin_memory() if self.graphs.captures else source  # held until the next one
        self.tokens.copy_(self._source, non_blocking=True)
        self.buffers.position.fill_(position)
        self._readers[GUESSED_ROWS, self.reading.form]()

    @torch.inference_mode()
    def take_row(self, row: int) -> None:
        """The next token is drawn from a row of the last step of several."""
        self.logits.copy_(self.rows[row])

    def numbers(self) -> list[float]:
        """The record of the last draw; the device must be past it."""
        return self.drawing.numbers()

    @torch.inference_mode()
    def set_factors(self, factors: Sequence[float], form: Form, last: int) -> None:
        """Attention factors of the keys from the first on, 1 for all others.

        Args:
            factors: By position.
            form: How they act from now on; :meth:`prepare` has to follow where it is another one.
            last: The place that a step may read again.
        """
        own = self.reading.set_factors(factors, form, last, pinned=self.graphs.captures)
        self.drawing.own_bias.copy_(own, non_blocking=True)

    def _grow(self, positions: int, rows: int) -> None:
        """Move to a larger bucket in mid-run; the step was checked before and is only captured anew."""
        self._reserve(positions)
        for each in {1, rows}:
            self._capture_at_start(each)

    def _capture_at_start(self, rows: int) -> None:
        with self._kept(0, rows), self._kept_logits():
            self.buffers.position.fill_(0)
            self._readers[rows, self.reading.form] = self.graphs.capture(lambda: self._read(rows))

    def _read(self, rows: int) -> None:
        """What is captured."""
        tokens = self.drawing.token if rows == 1 else self.tokens
        logits = self.reading(tokens, self.drawing.own_bias)
        if rows == 1:
            self.logits.copy_(logits[-1])
        else:
            self.rows.copy_(logits)
