"""Questions to a library and their answers, while they are written and after."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from PySide6.QtCore import QObject, Signal

from inference.events import Answer, Message, Source, Token
from views.models.faults import Fault

#: "waiting": for the engine; "searching": for passages; "writing": tokens come.
TurnState = Literal["waiting", "searching", "writing", "done", "stopped", "failed"]
#: Tokens drawn with less than this probability are marked.
UNSURE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsure:
    """Characters ``start`` to ``end`` of an answer that the model was not sure of."""

    start: int
    end: int
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceInfluence:
    """What a sentence of a source did for an answer, in nats; ``share``: of the strongest one, -1 to 1."""

    text: str
    nats: float
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Influence:
    """What a source did for an answer: the sum over its sentences, in nats, and each of them as they stand.

    ``rank``: the place that the search gave the source. ``weak``: hardly anything, by itself or beside what
    the other sources did.
    """

    nats: float
    sentences: tuple[SentenceInfluence, ...]
    rank: int
    weak: bool

    @property
    def strongest(self) -> SentenceInfluence | None:
        """The sentence that did most for the answer."""
        return max(self.sentences, key=lambda one: one.nats, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A question and what came of it.

    Attributes:
        question: As it was asked.
        standalone: As it was searched for, where that is another wording.
        text: The answer as far as it is written.
        unsure: Its tokens of low probability.
        sources: What the model reads, numbered.
        left_out: What was found and did not go in.
        tokens: What the sources take of ``token_budget``.
        messages: The chat that the model read.
        answer: The whole answer with its marks, once it is there.
        influences: What each source did for the answer, by its number, in nats.
        fault: Why it failed.
    """

    question: str
    state: TurnState = "waiting"
    standalone: str = ""
    text: str = ""
    unsure: tuple[Unsure, ...] = ()
    sources: tuple[Source, ...] = ()
    left_out: tuple[Source, ...] = ()
    tokens: int = 0
    token_budget: int = 0
    messages: tuple[Message, ...] = ()
    answer: Answer | None = None
    influences: tuple[tuple[int, Influence], ...] = ()
    fault: Fault | None = None

    @property
    def running(self) -> bool:
        """Whether something is still to come."""
        return self.state in ("waiting", "searching", "writing")

    def with_token(self, token: Token) -> Turn:
        """The turn with one more token."""
        unsure = self.unsure
        chance = token.sampled_prob
        if chance is None and token.raw_logprob is not None:
            chance = math.exp(token.raw_logprob)
        if token.text.strip() and chance is not None and chance < UNSURE and not token.special:
            place = Unsure(start=len(self.text), end=len(self.text) + len(token.text), probability=chance)
            unsure = (*unsure, place)
        return replace(self, state="writing", text=self.text + token.text, unsure=unsure)


class AnswersModel(QObject):
    """The turns of one thread of questions.

    Signals:
        changed: Something else is to be shown.
    """

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._turns: tuple[Turn, ...] = ()
        self.explaining = ""

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Oldest first."""
        return self._turns

    @property
    def last(self) -> Turn | None:
        """The newest."""
        return self._turns[-1] if self._turns else None

    @property
    def running(self) -> bool:
        """Whether an answer is being made."""
        return self.last is not None and self.last.running

    def begin(self, question: str) -> None:
        """A question was asked."""
        self._turns = (*self._turns, Turn(question=question))
        self.changed.emit()

    def put(self, turn: Turn) -> None:
        """Bring the newest turn up to date."""
        self._turns = (*self._turns[:-1], turn)
        self.changed.emit()

    def update(self, **changes: Any) -> None:
        """Change single fields of the newest turn."""
        if self._turns:
            self.put(replace(self._turns[-1], **changes))

    @property
    def explainable(self) -> bool:
        """Whether it can be asked what carried the last answer."""
        last = self.last
        return bool(last and last.state == "done" and last.messages and last.answer and last.answer.found)

    def set_explaining(self, words: str) -> None:
        """Say how far an explanation is; empty: none is made."""
        if words != self.explaining:
            self.explaining = words
            self.changed.emit()

    def clear(self) -> None:
        """Begin another thread."""
        self._turns = ()
        self.changed.emit()
