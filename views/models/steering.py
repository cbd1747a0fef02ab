"""Which spans of the conversation the model listens to more, or less."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from PySide6.QtCore import QObject, Signal

from inference.events import RelatedToken
from views.models.focus import MessageId
from views.models.text_range import TextRange, TextTint

#: Stands for the system prompt, which is no message of the transcript.
SYSTEM: Final = "system"
#: Stands for the raw text: the one in the editor, or the prompt of a raw conversation.
RAW: Final = "raw"
#: The largest factor that a slider gives.
STRONGEST: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SteeredSpan:
    """Characters ``start`` to ``end`` of a message, ``text``, and the factor on the attention to them."""

    message_id: MessageId
    start: int
    end: int
    text: str
    factor: float


class SteeringModel(QObject):
    """The spans of the open conversation, in the order in which they were added; and what is selected.

    Signals:
        changed: Spans came, went, or their factor changed.
        selection_changed: Another text is selected.
        related_changed: Other words that follow the spans are known.
        layers_changed: How many layers the loaded model has (0: there is none).
    """

    changed = Signal()
    selection_changed = Signal()
    related_changed = Signal()
    layers_changed = Signal(int)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._spans: tuple[SteeredSpan, ...] = ()
        self.selected: TextRange | None = None
        self.selected_text = ""
        self.related: tuple[RelatedToken, ...] = ()

    def set_related(self, related: tuple[RelatedToken, ...]) -> None:
        """Which other tokens follow the spans because they mean about the same."""
        if related != self.related:
            self.related = related
            self.related_changed.emit()

    @property
    def spans(self) -> tuple[SteeredSpan, ...]:
        """All spans."""
        return self._spans

    def set_selected(self, selected: TextRange | None, text: str = "") -> None:
        """Text was selected that could be steered."""
        if selected != self.selected:
            self.selected, self.selected_text = selected, text
            self.selection_changed.emit()

    def add_selected(self, factor: float) -> None:
        """Steer what is selected; a span at the same place gets the new factor."""
        if self.selected is None:
            return
        place = self.selected
        span = SteeredSpan(
            message_id=place.message_id,
            start=place.start,
            end=place.end,
            text=self.selected_text,
            factor=factor,
        )
        others = tuple(each for each in self._spans if _place(each) != _place(span))
        self.set_spans((*others, span))

    def set_factor(self, number: int, factor: float) -> None:
        """Change the factor of a span: 0 takes the attention to it away, 1 changes nothing."""
        spans = list(self._spans)
        spans[number] = replace(spans[number], factor=min(max(factor, 0.0), STRONGEST))
        self.set_spans(tuple(spans))

    def remove(self, number: int) -> None:
        """Let a span go."""
        self.set_spans(self._spans[:number] + self._spans[number + 1 :])

    def set_spans(self, spans: tuple[SteeredSpan, ...]) -> None:
        """Replace all spans."""
        if spans != self._spans:
            self._spans = spans
            self.changed.emit()

    def tints(self) -> dict[MessageId, list[TextTint]]:
        """How the spans are marked in the text, by message."""
        found: dict[MessageId, list[TextTint]] = {}
        for span in self._spans:
            if span.factor != 1.0:
                tint = TextTint(span.start, span.end, strength(span.factor), steered=True)
                found.setdefault(span.message_id, []).append(tint)
        return found


def strength(factor: float) -> float:
    """A factor on the diverging scale: -1 for 0, 0 for 1, 1 for ten and more."""
    return slider_of(min(factor, STRONGEST)) / 100 - 1.0


def slider_of(factor: float) -> int:
    """Place of a factor on a slider of 0 to 200: 0..1 on the left half, 1..10 as a logarithm on the right."""
    if factor <= 1.0:
        return round(100 * max(factor, 0.0))
    return round(100 + 100 * math.log10(min(factor, STRONGEST)))


def factor_of(place: int) -> float:
    """The factor at a place of the slider; see :func:`slider_of`."""
    return place / 100 if place <= 100 else round(10 ** ((place - 100) / 100), 2)


def _place(span: SteeredSpan) -> tuple[MessageId, int, int]:
    return span.message_id, span.start, span.end
