"""Characters of a message, as the mouse selects them."""

from __future__ import annotations

from dataclasses import dataclass

from views.models.focus import MessageId


@dataclass(frozen=True, slots=True)
class TextRange:
    """Characters ``start`` to ``end`` (exclusive) of the text of a message."""

    message_id: MessageId
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class TextTint:
    """How some characters of a message are marked: ``strength`` -1 to 1 on the diverging scale.

    ``steered`` marks are lines without a colour behind the text, so that both kinds can be seen at once.
    """

    start: int
    end: int
    strength: float
    steered: bool = False
