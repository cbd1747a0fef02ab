"""How the decode loop takes its steps: draw a token from the logits, then read it for the next logits.

:class:`PlainSteps` calls the model as transformers defines it, one call a token; every architecture works.
:class:`inference.captured.steps.CapturedSteps` has the same methods over a step of fixed shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from inference.engine import Reading
from inference.events import SamplingControls
from inference.generation.lookup import Ahead, can_take_back
from inference.generation.pacing import Paced
from inference.generation.random_stream import RandomStream
from inference.sampling import Draw, History, Sampler


@dataclass(slots=True, kw_only=True)
class RunState:
    """What both kinds of steps work on; a run may change from one kind to the other between two tokens.

    Attributes:
        reading: The sequence so far, with its steering.
        controls: What acts now.
        read: Tokens of the prompt.
        written: Tokens of the reply; the loop appends to it.
        stream: The run's random numbers.
        candidates: How many alternatives are recorded.
        context_length: Positions there are.
        lookup: Guesses what comes next, if that is wanted.
        guessed: How many tokens were read as guesses.
    """

    reading: Reading
    controls: SamplingControls
    read: Sequence[int]
    written: list[int]
    stream: RandomStream
    candidates: int
    context_length: int
    lookup: Paced | None
    guessed: int = 0

    @property
    def guesses(self) -> bool:
        """Whether guesses may be tried: not where a key's factor depends on the draw before it, nor while
        they don't pay.
        """
        if self.lookup is None or self.lookup.resting:
            return False
        return self.controls.steering.entropy_threshold is None


class Steps(Protocol):
    """One token after the other."""

    @property
    def path(self) -> str:
        """ "plain" or "captured"."""

    @property
    def position(self) -> int:
        """How many tokens are known; the next one's place in the text."""

    @property
    def guess(self) -> int | None:
        """What was guessed for the next token and is read already."""

    def draw(self, allowed: Tensor | None) -> Draw:
        """Draw the next token.

        Args:
            allowed: (vocabulary,) booleans, the only tokens that may be chosen; None is all.

        Raises:
            InvalidLogits: As :meth:`inference.sampling.Sampler.draw`.
        """

    def read(self, token: int) -> None:
        """The token stays: read it."""

    def controls_changed(self) -> None:
        """Other controls act from the next draw on.

        Raises:
            InvalidRequest: A control is out of its range.
        """

    def steering_changed(self) -> None:
        """The last token is read again under other attention factors, so that the next draw feels them."""

    def follow(self, length: int, tokens: Sequence[int]) -> None:
        """Forget what was read after ``length`` tokens, and read these (at least one) instead."""

    def close(self) -> Tensor:
        """No more steps: leave the cache with what was read; returns the logits (vocabulary,) behind it."""


class PlainSteps:
    """One call of the model a token."""

    path = "plain"

    def __init__(self, state: RunState, logits: Tensor) -> None:
        self._state = state
        self._logits = logits
        self._history = History(state.read, state.written, len(logits), logits.device)
        self._ahead = Ahead()
        self.controls_changed()

    @property
    def position(self) -> int:
        return len(self._state.reading.prefix.ids) - len(self._ahead)

    @property
    def guess(self) -> int | None:
        return self._ahead.next

    def draw(self, allowed: Tensor | None) -> Draw:
        state = self._state
        draw = self._sampler.draw(self._logits, self._history, state.stream, state.candidates, allowed)
        self._history.add(draw.token)
        return draw

    def read(self, token: int) -> None:
        state = self._state
        reading, lookup = state.reading, state.lookup
        prefix = reading.prefix
        if lookup is not None:
            lookup.add(token)
        if lookup is None or not state.guesses or not can_take_back(prefix.cache):
            self._logits = reading.read((token,))[-1]
            return
        if (logits := self._ahead.take(token)) is not None:
            self._logits = logits
            return
        if wrong := self._ahead.clear():
            self._take_back(wrong)
        room = state.context_length - len(prefix.ids) - 1
        guesses = lookup.guess()[: max(0, room)]
        state.guessed += len(guesses)
        rows = reading.read((token, *guesses), keep=1 + len(guesses))
        self._ahead.fill(guesses, rows[1:])
        self._logits = rows[0]

    def controls_changed(self) -> None:
        self._sampler = Sampler(self._state.controls, len(self._logits), self._logits.device)

    def steering_changed(self) -> None:
        """Where the cache can't give the last token back, the change acts one token later."""
        reading = self._state.reading
        if not self._take_back(self._ahead.clear() + 1):
            reading.prefix.steering_changes()
            return
        reading.prefix.steering_changes()
        self._logits = reading.read(((*self._state.read, *self._state.written)[-1],))[-1]

    def follow(self, length: int, tokens: Sequence[int]) -> None:
        self._ahead.clear()
        self._state.reading.prefix.cut(length)
        self._logits = self._state.reading.read(tokens)[-1]

    def close(self) -> Tensor:
        if wrong := self._ahead.clear():
            self._take_back(wrong)
        return self._logits

    def _take_back(self, count: int) -> bool:
        """Take the last tokens out of the cache, but not what is known of them."""
        prefix = self._state.reading.prefix
        length = len(prefix.ids)
        return prefix.cut(length - count, known=length)
