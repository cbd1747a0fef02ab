"""The decode loop's steps over a :class:`~inference.captured.runner.StepRunner`.

While the host looks at a token, the device already reads it. Only that reading is ahead of the host; it is
dropped, by not counting its position, where the reply ends with the token, and done again where attention
factors change. Sampling is never ahead, so controls act on the very next token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from inference.captured.controls import ControlBuffers, own_bias
from inference.captured.reading import PLAIN_FORM, Form
from inference.captured.runner import GUESSED_ROWS, StepRunner
from inference.generation.steps import RunState
from inference.passes.attention_masks import checked_layers, mask_layout
from inference.sampling import Draw, History, Sampler, check_controls


class CapturedSteps:
    """One replay a token.

    Args:
        runner: Its cache is that of the run.
        state: Of the run.
        logits: (vocabulary,) behind what the cache holds.

    Raises:
        CaptureFailed: The step can't be held in a graph; the cache is as it was.
        InvalidRequest: A control is out of its range.
    """

    path = "captured"

    def __init__(self, runner: StepRunner, state: RunState, logits: Tensor) -> None:
        check_controls(state.controls, len(logits))
        self._runner = runner
        self._state = state
        self._prefix = state.reading.prefix
        runner.start(logits, state.candidates)
        runner.reserve(len(self._prefix.ids) + GUESSED_ROWS)
        self._set_factors()
        self._prepare(logits)
        self._controls.set_history(state.read, state.written)
        self._controls.restart(state.stream)
        self._controls.set_controls(state.controls)
        self._guesses: list[int] = []
        self._row = 0
        self._ahead = False
        self._drawn = _event() if runner.graphs.device.type == "cuda" else None

    @property
    def _controls(self) -> ControlBuffers:
        return self._runner.controls

    @property
    def position(self) -> int:
        return len(self._prefix.ids)

    @property
    def guess(self) -> int | None:
        return self._guesses[0] if self._guesses else None

    def draw(self, allowed: Tensor | None) -> Draw:
        if allowed is not None:
            return self._draw_on_host(allowed)
        runner, state = self._runner, self._state
        runner.draw()
        if self._drawn is not None:
            self._drawn.record()
        if not state.guesses and self.position < state.context_length:
            runner.read(self.position)
            self._ahead = True
        if self._drawn is not None:
            self._drawn.synchronize()
        state.stream.next()
        return runner.record.read(runner.numbers(), state.candidates)

    def _draw_on_host(self, allowed: Tensor) -> Draw:
        """The first tokens of a healed reply: their choice is limited in a way that the step knows not."""
        state, logits = self._state, self._runner.logits
        history = History(state.read, state.written, len(logits), logits.device)
        sampler = Sampler(state.controls, len(logits), logits.device)
        draw = sampler.draw(logits, history, state.stream, state.candidates, allowed)
        options = state.controls.steering
        unsure = options.entropy_threshold is not None and draw.entropy > options.entropy_threshold
        self._runner.put(draw.token, own_bias(options) if unsure else 0.0)
        return draw

    def read(self, token: int) -> None:
        lookup = self._state.lookup
        if lookup is not None:
            lookup.add(token)
        if self._guesses and self._guesses[0] == token:
            del self._guesses[0]
            self._row += 1
            self._runner.take_row(self._row)
        elif not self._ahead:
            self._read_now(token)
        self._ahead = False
        self._extend(token)

    def _read_now(self, token: int) -> None:
        lookup, position = self._state.lookup, self.position
        room = min(self._state.context_length, self._runner.buffers.limit) - position
        self._guesses, self._row = [], 0
        if lookup is not None and self._state.guesses and room >= GUESSED_ROWS:
            self._guesses = lookup.guess(GUESSED_ROWS - 1)
        if self._guesses:
            self._state.guessed += len(self._guesses)
            self._runner.read_rows([token, *self._guesses], position)
            self._runner.take_row(0)
        else:
            self._runner.read(position)

    def _extend(self, token: int) -> None:
        self._prefix.marks += self._state.reading.marks(self.position, self.position + 1)
        self._prefix.ids.append(token)

    def controls_changed(self) -> None:
        check_controls(self._state.controls, self._controls.vocabulary)
        self._controls.set_controls(self._state.controls)
        self._controls.restart(self._state.stream)

    def steering_changed(self) -> None:
        prefix, last = self._prefix, self._prefix.ids[-1]
        length = len(prefix.ids)
        self._runner.buffers.settle(length)
        prefix.cut(length - 1, known=length)
        prefix.steering_changes()
        self._guesses = []
        self._set_factors()
        self._prepare(None)
        self._runner.reread(last, length - 1)
        self._extend(last)

    def follow(self, length: int, tokens: Sequence[int]) -> None:
        self._runner.buffers.settle(len(self._prefix.ids))
        self._prefix.cut(length)
        self._guesses, self._ahead = [], False
        for token in tokens:
            self._runner.reread(token, self.position)
            self._extend(token)

    def _set_factors(self) -> None:
        steering = self._state.reading.steering
        options = self._state.controls.steering
        form: Form = PLAIN_FORM
        if not steering.neutral or options.entropy_threshold is not None:
            form = (options.mode, checked_layers(options.layers, mask_layout(self._runner.config)))
        self._runner.set_factors(steering.factors, form, last=len(self._prefix.ids) - 1)

    def _prepare(self, logits: Tensor | None) -> None:
        for rows in (1,) if self._state.lookup is None else (1, GUESSED_ROWS):
            self._runner.prepare(self._prefix.ids, rows, logits)

    def close(self) -> Tensor:
        self._runner.buffers.settle(len(self._prefix.ids))
        return self._runner.logits.clone()


def _event() -> Any:
    """Waited for without turning in circles: the window needs the cores."""
    return torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
