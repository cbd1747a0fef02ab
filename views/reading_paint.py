"""What is painted around the text of a message: its heading, its bubble, and the marks in the margin."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QFontMetrics, QPainter

from views.models.transcript import Mark
from views.reading_column import HEADER, WAITING, Item
from views.theme import CAPTION, READING, Theme

_LEFT_MIDDLE = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
#: Room that the words of a mark need beside the text; with less, they are only in its tool tip.
_MARK_ROOM = 120


def paint_frame(painter: QPainter, theme: Theme, item: Item, column: QRectF, y: float) -> None:
    """Paint who speaks and, for the user, the bubble; ``y`` is the message's top in the viewport."""
    user = item.message.role == "user"
    painter.setFont(theme.font(CAPTION, bold=True))
    painter.setPen(theme.color("muted"))
    header = QRectF(column.left(), y, column.width(), HEADER - 4)
    painter.drawText(header, _LEFT_MIDDLE, "You" if user else item.message.author or "Model")
    if item.message.state == "streaming" and not item.message.text:
        painter.setFont(theme.font(READING))
        painter.setPen(theme.color("faint"))
        line = QRectF(column.left(), y + HEADER, column.width(), WAITING)
        words = "Reading the prompt …" if item.message.author else "Waiting for the model …"
        painter.drawText(line, _LEFT_MIDDLE, words)
    if user and item.pieces and item.replaced_height is None:
        last = item.pieces[-1]
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color("bubble"))
        height = last.top + last.height + item.inset / 2 + 2 - HEADER
        painter.drawRoundedRect(QRectF(column.left(), y + HEADER - 2, column.width(), height), 8, 8)


def paint_marks(
    painter: QPainter, theme: Theme, marks: Sequence[Mark], rect: QRectF, column: QRectF, width: float
) -> None:
    """Paint the marks of one line at ``rect``, left of the column, and their words on the right if the view
    is wide enough.
    """
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(theme.color("accent"))
    painter.drawRoundedRect(QRectF(rect.right() - 4, rect.top(), 3, rect.height()), 1.5, 1.5)
    room = width - column.right() - 16
    if room >= _MARK_ROOM:
        painter.setFont(theme.font(CAPTION))
        painter.setPen(theme.color("muted"))
        text = _fitted(margin_words(marks), painter.fontMetrics(), int(room))
        painter.drawText(QRectF(column.right() + 12, rect.top(), room, rect.height()), _LEFT_MIDDLE, text)


def margin_words(marks: Sequence[Mark]) -> list[str]:
    """What the marks of one line say, a control that moved on and on only once: from its first value to its
    last.
    """
    words: list[str] = []
    for mark in marks:
        name, old, new = _parts(mark.text)
        last = _parts(words[-1]) if words else None
        if last is not None and name and (last[0], last[2]) == (name, old):
            words[-1] = f"{name} {last[1]} → {new}"
        else:
            words.append(mark.text)
    return words


def _parts(text: str) -> tuple[str, str, str]:
    """Name, old and new value of "temperature 0.7 → 1.2"; no name where the text is of another form."""
    before, arrow, new = text.partition(" → ")
    name, _, old = before.rpartition(" ")
    return (name, old, new) if arrow else ("", "", "")


def _fitted(words: Sequence[str], metrics: QFontMetrics, room: int) -> str:
    """The words in ``room`` pixels; of a single change the name gives way before the values do."""
    text = "; ".join(words)
    name, old, new = _parts(text)
    if len(words) == 1 and name and metrics.horizontalAdvance(text) > room:
        values = f" {old} → {new}"
        left = room - metrics.horizontalAdvance(values)
        text = metrics.elidedText(name, Qt.TextElideMode.ElideRight, left) + values
    return metrics.elidedText(text, Qt.TextElideMode.ElideRight, room)
