"""Two versions of a prompt, what the model says to each, and which words carried it."""

from __future__ import annotations

import re
from typing import Literal

from PySide6.QtCore import QObject, Signal

from views.models.explaining import ExplanationModel
from views.models.side_by_side import Side, differing
from views.models.text_range import TextRange

PromptKind = Literal["chat", "raw"]

_WORD = re.compile(r"\w+|[^\w\s]")
_NAMES = ("A", "B")


class TwoPromptsModel(QObject):
    """Texts and results; ``sides[i]`` is the reply to ``texts[i]``, ``explanations[i]`` its explanation.

    Signals:
        texts_changed: A version was edited, or is read another way.
        changed: Replies, probabilities or the state are others.
    """

    texts_changed = Signal()
    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.texts: tuple[str, str] = ("", "")
        self.kind: PromptKind = "chat"
        self.explain = True
        self.sides = _sides()
        self.explanations = (ExplanationModel(self), ExplanationModel(self))
        #: The texts that the results belong to; None before the first run.
        self.asked: tuple[str, str] | None = None
        self.running = False
        self.stage, self.problem = "", ""

    def set_text(self, number: int, text: str) -> None:
        """Edit a version."""
        if text != self.texts[number]:
            self.texts = (text, self.texts[1]) if number == 0 else (self.texts[0], text)
            self.texts_changed.emit()

    def set_kind(self, kind: PromptKind) -> None:
        """Read the versions as messages of a chat, or as raw texts to be continued."""
        if kind != self.kind:
            self.kind = kind
            self.texts_changed.emit()

    @property
    def ready(self) -> bool:
        """Whether there are two versions to run."""
        return all(text.strip() for text in self.texts) and not self.running

    def begin(self) -> None:
        """Both are about to be answered."""
        self.sides, self.asked = _sides(), self.texts
        for explanation in self.explanations:
            explanation.clear()
        self.running, self.problem = True, ""
        self.set_stage("")

    def set_stage(self, stage: str) -> None:
        """Say what goes on."""
        self.stage = stage
        self.changed.emit()

    def end(self, problem: str = "") -> None:
        """Nothing more comes; what was computed stays."""
        self.running, self.stage, self.problem = False, "", problem
        self.changed.emit()

    def differing_words(self) -> tuple[list[TextRange], list[TextRange]]:
        """Words of each version that the other one does not have at that place."""
        found = [list(_WORD.finditer(text)) for text in self.texts]
        gone = differing(*([match.group() for match in words] for words in found))
        return (_ranges(0, found[0], gone[0]), _ranges(1, found[1], gone[1]))

    def differing_tokens(self) -> tuple[set[int], set[int]]:
        """Tokens of each reply that have no counterpart in the other; none before both are written."""
        if not all(side.done for side in self.sides):
            return set(), set()
        return differing(*([token.id for token in side.tokens] for side in self.sides))


def _sides() -> tuple[Side, Side]:
    first, second = (
        Side(title=f"Reply to {name}", other=f"under {other}")
        for name, other in zip(_NAMES, reversed(_NAMES), strict=True)
    )
    return first, second


def _ranges(number: int, words: list[re.Match[str]], gone: set[int]) -> list[TextRange]:
    """Neighbouring words are one range."""
    ranges: list[TextRange] = []
    for index in sorted(gone):
        start, end = words[index].span()
        if ranges and index - 1 in gone:
            ranges[-1] = TextRange(number, ranges[-1].start, end)
        else:
            ranges.append(TextRange(number, start, end))
    return ranges
