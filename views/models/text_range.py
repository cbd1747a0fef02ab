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

    ``steered`` marks have a dashed line, too: they are what the user set, not what was measured.
    """

    start: int
    end: int
    strength: float
    steered: bool = False
