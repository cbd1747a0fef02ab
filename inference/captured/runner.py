"""One decode step over fixed buffers, held in CUDA graphs: read a token, draw the next.

Two graphs alternate. *Reading* runs the model on the token buffer and leaves logits; *drawing* makes a token
of them, leaves it in the token buffer and its record in pinned memory. Both are enqueued together, so the
host looks at a token while the device already reads it; controls are read by the next drawing, which is
enqueued only after the host has shown the token, so a change acts on the very next one.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicSlidingWindowLayer

from inference.captured.buffers import StepCache, scaled_updates
from inference.captured.controls import STEP, ControlBuffers
from inference.captured.draw_kernel import COUNT, draw_kernel
from inference.captured.graphs import CaptureFailed, Graphs, Replay
from inference.captured.sampling import Record, sample
from inference.errors import NotAvailable
from inference.events import SteeringMode
from inference.passes.attention_masks import Masks, mask_layout, masks_in_layers, visible_keys
from inference.passes.kv_cache import BufferedLayer, new_cache
from inference.steering import log_bias

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from inference.models.loaded_model import LoadedModel

#: How attention factors act: the mode, and the layers (None: all). Each form is another graph.
Form = tuple[SteeringMode, tuple[int, int] | None]
PLAIN_FORM: Form = ("log-additive", None)
#: Rows of a step: a token alone, or a token and what is guessed to follow.
GUESSED_ROWS = 5
#: How far a captured step's logits may be from the prefill's, by the norm of their difference.
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}
_HALF_TOLERANCE = 0.2
#: Layers of a cache whose keys a step can keep: those of a window are kept all and masked.
_ATTENDING = (BufferedLayer, DynamicSlidingWindowLayer)


def why_not(loaded: LoadedModel) -> str:
    """Why a model's step can't have fixed shapes; empty if it can, as far as its configuration tells."""
    parameters = inspect.signature(loaded.model.forward).parameters
    if "past_key_values" not in parameters or "attention_mask" not in parameters:
        return "its architecture keeps no keys and values"
    places = {str(place) for place in (getattr(loaded.model, "hf_device_map", None) or {}).values()}
    if len(places) > 1:
        return "it is spread over several devices"
    layers = new_cache(loaded.model.config).layers
    if not layers or not all(type(layer) in _ATTENDING for layer in layers):
        return "some of its layers keep a state instead of keys and values"
    try:
        layout = mask_layout(loaded.model.config)
    except NotAvailable:
        return "its architecture has no attention"
    return "it makes its attention masks itself" if layout.own_masks else ""


class StepRunner:
    """The step of one loaded model: its buffers and its graphs, kept from run to run.

    Attributes:
        cache: The cache that the step works on; a prefill uses it like any other.
        token: (1, 1) int64, what is read next.
        logits: (vocabulary,), what the next token is drawn from.
        rows: (rows, vocabulary), the logits of a step of several rows.
        failure: Why the step can't be captured, once that is known.
    """

    def __init__(self, loaded: LoadedModel, *, captures: bool = True) -> None:
        self._model: Any = loaded.model
        self.config: Any = loaded.model.config
        self._device = loaded.device
        self._dtype = loaded.dtype
        self._layout = mask_layout(loaded.model.config)
        parameters = inspect.signature(self._model.forward).parameters
        self._keeps = "logits_to_keep" in parameters
        self._positions = "position_ids" in parameters
        self.graphs = Graphs(loaded.device, captures=captures)
        layers = len(new_cache(self._model.config).layers)
        self.cache = StepCache(layers, loaded.context_length, loaded.device)
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
        self.form = PLAIN_FORM
        self._columns: Tensor | None = None
        self.graphs.drop()
        self.buffers.free()
        self.controls: ControlBuffers | None = None
        self.record = Record(0)

    def model_changed(self) -> None:
        """The model computes something else from now on: what was captured of it is not used again."""
        self.graphs.settle()
        self._readers.clear()
        self._checked.clear()

    def bytes(self) -> int:
        """Memory of the graphs, and of the buffers beside the cache's own."""
        if self.controls is None:
            return 0
        return self.graphs.bytes + self.controls.bytes() + self.logits.nbytes + self.rows.nbytes

    # -- before a run

    def reserve(self, positions: int) -> None:
        """Have room for so many positions."""
        self.buffers.reserve(min(positions, self.buffers.limit))

    @torch.inference_mode()
    def start(self, logits: Tensor, candidates: int) -> None:
        """Take over behind a prefill whose last logits (vocabulary,) are given."""
        if self.controls is None:
            self.controls = ControlBuffers(len(logits), self._device)
            self.logits = torch.empty_like(logits)
            self.rows = logits.new_zeros(GUESSED_ROWS, len(logits))
            self.token = torch.zeros((1, 1), dtype=torch.long, device=self._device)
            self.tokens = torch.zeros((1, GUESSED_ROWS), dtype=torch.long, device=self._device)
            self._own_bias = torch.zeros(1, device=self._device)
            self._one = torch.ones(1, device=self._device)
            self._draw_kernel = draw_kernel(len(logits), logits.dtype, self._device)
        self.logits.copy_(logits)
        count = min(len(logits), max(COUNT, 1 << (max(1, candidates) - 1).bit_length()))
        if count != self.record.count:
            self.record = Record(count)
            self._drawer = None
            self._numbers = torch.empty(
                self.record.size, dtype=torch.float64, pin_memory=self._device.type == "cuda"
            )

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
        which = (rows, self.form)
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
            tokens = self.token if rows == 1 else self.tokens
            tokens.copy_(torch.tensor([ids[start:]]))
            self.buffers.position.fill_(start)
            self._own_bias.copy_(self._row()[len(ids) - 1 : len(ids)])
            self._readers[rows, self.form]()
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
        row = self._row().clone()
        try:
            yield
        finally:
            for pair, copies in zip(pairs, held, strict=True):
                for each, copy in zip(pair, copies, strict=True):
                    each[:, :, start:stop] = copy
            self._row().copy_(row)

    @contextmanager
    def _kept_logits(self) -> Iterator[None]:
        logits, token, own = self.logits.clone(), self.token.clone(), self._own_bias.clone()
        self._own_bias.zero_()
        try:
            yield
        finally:
            self.logits.copy_(logits)
            self.token.copy_(token)
            self._own_bias.copy_(own)

    def _reserve(self, positions: int) -> None:
        self.reserve(positions)
        if self._generation != self.buffers.generation:
            self.graphs.settle()
            self._readers.clear()
            self._generation = self.buffers.generation
            self._columns = torch.arange(self.buffers.bucket, device=self._device)

    # -- in a run; all of it only enqueues

    @torch.inference_mode()
    def draw(self) -> None:
        """Draw a token from :attr:`logits` into :attr:`token`; its record is on its way to the host."""
        if self._drawer is None:
            self._drawer = self._captured_draw()
        self._drawer()

    def _captured_draw(self) -> Replay:
        """The draw in a graph; it asks the device for nothing, so where it has none it is called instead."""
        with self._kept_draw():
            try:
                return self.graphs.capture(self._draw)
            except CaptureFailed as error:
                _log.warning("The draw is not captured: %s", error)
                return self._draw

    @torch.inference_mode()
    def put(self, token: int, own_bias: float) -> None:
        """A token that the host has drawn takes the place of the device's."""
        self.token.fill_(token)
        self._took(self.token[0])
        self._own_bias.fill_(own_bias)

    @torch.inference_mode()
    def reread(self, token: int, position: int) -> None:
        """Run the model on a known token; its own key's bias is that of :meth:`set_key_bias`."""
        self.token.fill_(token)
        self.read(position)

    @torch.inference_mode()
    def read(self, position: int) -> None:
        """Run the model on :attr:`token` at a position; :attr:`logits` are those behind it."""
        if position >= self.buffers.bucket:
            self._grow(position + 1, 1)
        self.buffers.position.fill_(position)
        self._readers[1, self.form]()

    @torch.inference_mode()
    def read_rows(self, ids: Sequence[int], position: int) -> None:
        """Run the model on several tokens (at most ``GUESSED_ROWS``); :attr:`rows` are the logits."""
        if position + GUESSED_ROWS > self.buffers.bucket:
            self._grow(position + GUESSED_ROWS, GUESSED_ROWS)
        padded = [*ids, *[ids[-1]] * (GUESSED_ROWS - len(ids))]
        source = torch.tensor([padded])
        self.tokens.copy_(source.pin_memory() if self.graphs.captures else source, non_blocking=True)
        self.buffers.position.fill_(position)
        self._readers[GUESSED_ROWS, self.form]()

    @torch.inference_mode()
    def take_row(self, row: int) -> None:
        """The next token is drawn from a row of the last step of several."""
        self.logits.copy_(self.rows[row])

    def numbers(self) -> list[float]:
        """The record of the last draw; the device must be past it."""
        values: list[float] = self._numbers.tolist()
        return values

    @torch.inference_mode()
    def set_factors(self, factors: Sequence[float], form: Form, last: int) -> None:
        """Attention factors of the keys from the first on, 1 for all others.

        Args:
            factors: By position.
            form: How they act from now on; :meth:`prepare` has to follow where it is another one.
            last: The place that a step may read again.
        """
        self.form = form
        values = (
            [log_bias(each) for each in factors] if form[0] == "log-additive" else [f - 1.0 for f in factors]
        )
        row = torch.zeros(self.buffers.bucket)
        row[: len(values)] = torch.tensor(values, dtype=torch.float32)
        own = row[last : last + 1].clone()
        if self.graphs.captures:
            row, own = row.pin_memory(), own.pin_memory()
        self.buffers.key_bias.zero_()
        self._row().copy_(row, non_blocking=True)
        self._own_bias.copy_(own, non_blocking=True)

    def _row(self) -> Tensor:
        """(bucket,) what acts on each key: a bias, or by how much its scores are scaled beyond 1."""
        return self.buffers.key_bias if self.form[0] == "log-additive" else self.buffers.key_scale

    def _grow(self, positions: int, rows: int) -> None:
        """Move to a larger bucket in mid-run; the step was checked before and is only captured anew."""
        self._reserve(positions)
        for each in {1, rows}:
            self._capture_at_start(each)

    def _capture_at_start(self, rows: int) -> None:
        with self._kept(0, rows), self._kept_logits():
            self.buffers.position.fill_(0)
            self._readers[rows, self.form] = self.graphs.capture(lambda: self._read(rows))

    @contextmanager
    def _kept_draw(self) -> Iterator[None]:
        """Captured by being done; what that changes is put back."""
        controls = self.controls
        assert controls is not None
        tensors = (controls.whole, controls.seen, controls.counts, self.token, self._own_bias)
        held = [tensor.clone() for tensor in tensors]
        try:
            yield
        finally:
            for tensor, copy in zip(tensors, held, strict=True):
                tensor.copy_(copy)

    # -- what is captured

    def _read(self, rows: int) -> None:
        buffers = self.buffers
        with buffers.step(rows) as places:
            if rows == 1:
                self._row().index_copy_(0, buffers.position, self._own_bias)
            arguments: dict[str, Any] = {"input_ids": self.token if rows == 1 else self.tokens}
            if self._keeps:
                arguments["logits_to_keep"] = rows
            if self._positions:
                arguments["position_ids"] = places[None]
            mask = self._mask(places, buffers.key_bias)
            with self._steered(mask, places):
                output = self._model(
                    attention_mask=mask, past_key_values=self.cache, use_cache=True, **arguments
                )
            if rows == 1:
                self.logits.copy_(output.logits[0, -1])
            else:
                self.rows.copy_(output.logits[0, -rows:])

    @contextmanager
    def _steered(self, mask: Masks, places: Tensor) -> Iterator[None]:
        """Within the block the forward pass feels the factors in the present form."""
        mode, layers = self.form
        if mode == "multiplicative":
            with scaled_updates(self.cache, 1.0 + self.buffers.key_scale, layers):
                yield
        elif layers is not None:
            neutral = self._mask(places, torch.zeros_like(self.buffers.key_bias))
            self.buffers.uniform = False
            try:
                with masks_in_layers(self._model, mask, neutral, layers):
                    yield
            finally:
                self.buffers.uniform = True
        else:
            yield

    def _mask(self, places: Tensor, bias: Tensor) -> Masks:
        """(1, 1, rows, bucket): what a layer may see, with the keys' biases; one for each kind of layer."""
        assert self._columns is not None
        queries, keys = places[:, None], self._columns[None]
        bias, hidden = bias.to(self._dtype), torch.finfo(self._dtype).min
        masks = {
            kind: torch.where(
                visible_keys(self._layout, kind, window, queries=queries, keys=keys), bias, hidden
            )[None, None]
            for kind, window in self._layout.windows
        }
        single = masks.get(None)
        return single if single is not None else {str(kind): mask for kind, mask in masks.items()}

    def _draw(self) -> None:
        assert self.controls is not None
        if self._draw_kernel is not None and self.record.count == COUNT:
            record = self._draw_kernel.draw(self.logits, self.controls, self.token, self._own_bias)
            self._numbers.copy_(record, non_blocking=True)
            return
        token, record, bias = sample(self.logits, self.controls, self.record.count)
        self._numbers.copy_(record, non_blocking=True)
        self.token[0].copy_(token)
        self._own_bias.copy_(bias)
        self._took(token)

    def _took(self, token: Tensor) -> None:
        assert self.controls is not None
        self.controls.seen.index_fill_(0, token, True)
        self.controls.counts.index_add_(0, token, self._one)
        self.controls.whole[STEP:].add_(1)
