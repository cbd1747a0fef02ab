"""Two replies to the same prompt under different settings, token by token."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from PySide6.QtCore import QObject, Signal

from inference.events import Token


@dataclass(slots=True, kw_only=True)
class Side:
    """One reply. ``elsewhere`` holds each token's raw log-probability under the other setting, once known;
    ``other`` names that setting.
    """

    title: str
    other: str = "under the other setting"
    tokens: list[Token] = field(default_factory=list)
    elsewhere: list[float | None] = field(default_factory=list)
    done: bool = False

    @property
    def text(self) -> str:
        """The reply so far."""
        return "".join(token.text for token in self.tokens)

    def shift(self, index: int) -> float | None:
        """How much likelier a token is here than under the other setting, in nats; None if not known."""
        other = self.elsewhere[index] if index < len(self.elsewhere) else None
        here = self.tokens[index].raw_logprob
        return None if here is None or other is None else here - other

    def words(self, index: int) -> str:
        """A token's probability here and under the other setting."""
        token = self.tokens[index]
        if token.raw_logprob is None:
            return f"{token.text!r}: not told"
        words = f"{token.text!r}: {math.exp(token.raw_logprob):.4f} here"
        other = self.elsewhere[index] if index < len(self.elsewhere) else None
        return words if other is None else f"{words}, {math.exp(other):.4f} {self.other}"

    @property
    def summary(self) -> str:
        """How likely the reply is here and under the other setting, in words; empty before that is known."""
        if not self.tokens or len(self.elsewhere) < len(self.tokens):
            return ""
        here = sum(token.raw_logprob for token in self.tokens if token.raw_logprob is not None)
        there = sum(value for value in self.elsewhere if value is not None)
        return f"log-probability {here:.2f} nats here, {there:.2f} {self.other}"


class SideBySideModel(QObject):
    """Without factors on the left, with them on the right."""

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.sides = (Side(title="Without"), Side(title="With"))
        self.problem = ""
        self.running = False

    def begin(self) -> None:
        """Two new replies are coming."""
        self.sides = (Side(title="Without"), Side(title="With"))
        self.problem, self.running = "", True
        self.changed.emit()

    def end(self, problem: str = "") -> None:
        """Nothing more comes."""
        self.running, self.problem = False, problem
        self.changed.emit()

    def differing(self) -> tuple[set[int], set[int]]:
        """The tokens of each side that have no counterpart on the other."""
        return differing(*([token.id for token in side.tokens] for side in self.sides))


def differing(left: Sequence[Hashable], right: Sequence[Hashable]) -> tuple[set[int], set[int]]:
    """Positions in two sequences that a longest common alignment leaves over."""
    gone, new = set(range(len(left))), set(range(len(right)))
    for block in SequenceMatcher(None, left, right, autojunk=False).get_matching_blocks():
        gone.difference_update(range(block.a, block.a + block.size))
        new.difference_update(range(block.b, block.b + block.size))
    return gone, new
