"""Speculative decoding: a small model of the same vocabulary guesses what the large one will say.

The draft model writes a few tokens greedily; the large model reads them in one pass, and each that equals the
token it then draws is accepted. As every token is drawn from the large model's own distribution, the text is
what it would be without a draft, greedy or sampled (a guess is a single token, so that accepting it exactly
when it is drawn is the rejection rule of Leviathan et al. 2023, arXiv:2211.17192, for a draft distribution
with all its mass on that token).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from inference.engine import Engine, Reading
from inference.errors import InvalidRequest
from inference.events import SamplingControls
from inference.generation.lookup import GUESSES, Guesser, can_take_back
from inference.generation.random_stream import RandomStream
from inference.generation.step_choice import steps_for
from inference.generation.steps import RunState, Steps
from inference.running import RunHandle

if TYPE_CHECKING:
    from inference.models.loaded_model import LoadedModel

_GREEDY = SamplingControls(temperature=0.0, top_p=1.0)


class Draft:
    """Guesses of a draft model for one run.

    Args:
        engine: Of the draft model.
        ids: The text so far.
        handle: Of the run, whose cancel is seen while the draft model reads the prompt.
    """

    def __init__(self, engine: Engine, ids: Sequence[int], handle: RunHandle) -> None:
        self._engine = engine
        self._known = list(ids)
        self._reading = Reading(engine, handle, engine.take_prefix())
        self._steps: Steps | None = None
        self._agreed = 0

    def weight_bytes(self) -> int:
        """What a step of the draft model reads."""
        return self._engine.loaded.weight_bytes()

    def add(self, token: int) -> None:
        """The text has grown by a token."""
        self._known.append(token)

    def guess(self, count: int = GUESSES) -> list[int]:
        """The tokens that the draft model would write next; fewer or none where its context ends.

        Raises:
            RunCancelled: The run was cancelled.
        """
        room = self._engine.loaded.context_length - len(self._known)
        if room < count or not can_take_back(self._reading.prefix.cache):
            return []
        steps = self._caught_up()
        guesses: list[int] = []
        while len(guesses) < count:
            if guesses:
                steps.read(guesses[-1])
            guesses.append(steps.draw(None).token)
        return guesses

    def _caught_up(self) -> Steps:
        """Steps behind exactly the text that is known."""
        if self._steps is not None:
            self._agreed = self._agreement()
            self._steps.follow(self._agreed, self._known[self._agreed :])
            return self._steps
        self._reading.reuse(self._known, scored=None)
        self._engine.reserve(len(self._known), self._engine.loaded.context_length)
        prefill = self._reading.prefill(self._known, scored=None)
        while True:
            try:
                next(prefill)
            except StopIteration as end:
                logits = end.value
                break
        state = RunState(
            reading=self._reading,
            controls=_GREEDY,
            read=tuple(self._known),
            written=[],
            stream=RandomStream(0),
            candidates=1,
            context_length=self._engine.loaded.context_length,
            lookup=None,
        )
        self._steps, _ = steps_for(self._engine, state, logits)
        return self._steps

    def _agreement(self) -> int:
        """How many leading tokens of the text the draft model has read; the last one is always read again,
        as its logits are wanted.
        """
        read, known, place = self._reading.prefix.ids, self._known, self._agreed
        while place < min(len(read), len(known) - 1) and read[place] == known[place]:
            place += 1
        return place

    def close(self) -> None:
        """The run is over: keep what was read for the next one."""
        if self._engine.owns(self._reading.prefix):
            if self._steps is not None:
                self._steps.close()
            self._engine.put_back(self._reading.prefix)


class FirstOf:
    """The guesses of the first that has any."""

    def __init__(self, guessers: Sequence[Guesser]) -> None:
        self._guessers = guessers

    def add(self, token: int) -> None:
        """The text has grown by a token."""
        for each in self._guessers:
            each.add(token)

    def guess(self, count: int = GUESSES) -> list[int]:
        """What comes next, as far as somebody knows."""
        return next((found for each in self._guessers if (found := each.guess(count))), [])


def check_draft(engine: Engine, draft: LoadedModel) -> None:
    """Refuse a draft model that speaks in other tokens.

    Raises:
        InvalidRequest: The vocabularies differ.
    """
    mine, its = engine.loaded.tokenizer.get_vocab(), draft.tokenizer.get_vocab()
    if mine != its:
        raise InvalidRequest(
            f"{draft.info.name} and {engine.loaded.info.name} have different vocabularies.",
            hint="Choose a draft model of the same family.",
        )
