"""Tokens with two probabilities each, as bars one below the other: without and with."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PySide6.QtCore import QRect, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from inference.events import ComparedCandidate
from views.legend import Swatch, swatch_fill
from views.models.candidates import visible_token
from views.theme import CAPTION, GRID, Theme

_ROW = 34
_BAR = 9


class PairBars(QWidget):
    """Rows of :class:`~inference.events.ComparedCandidate`; both bars have the same scale, from 0 to 1."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("pairBars")
        self.setAccessibleName("Candidates without and with the adapters")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._theme = theme
        self._rows: Sequence[ComparedCandidate] = ()
        self._chosen: int | None = None
        theme.changed.connect(self.update)

    def show_rows(self, rows: Sequence[ComparedCandidate], chosen: int | None) -> None:
        """Show these; ``chosen`` is the id of the token that stands in the text."""
        self._rows, self._chosen = rows, chosen
        self.setAccessibleDescription("; ".join(self.words(row) for row in rows[:10]))
        self.setFixedHeight(max(1, len(rows) * _ROW))
        self.update()

    @staticmethod
    def words(row: ComparedCandidate) -> str:
        """A token and both of its probabilities."""
        return (
            f"{visible_token(row.text, row.id)}: {_percent(row.base)} without, {_percent(row.adapted)} with"
        )

    def sizeHint(self) -> QSize:
        """Two bars a token."""
        return QSize(300, max(1, len(self._rows) * _ROW))

    def paintEvent(self, event: QPaintEvent) -> None:
        """The rows that are seen."""
        painter = QPainter(self)
        painter.setFont(self._theme.mono(CAPTION))
        first = max(0, event.rect().top() // _ROW)
        for place in range(first, min(len(self._rows), event.rect().bottom() // _ROW + 1)):
            self._paint_row(painter, place * _ROW, self._rows[place])

    def _paint_row(self, painter: QPainter, top: int, row: ComparedCandidate) -> None:
        metrics, middle = painter.fontMetrics(), Qt.AlignmentFlag.AlignVCenter
        name, number = self.width() * 2 // 5, metrics.horizontalAdvance("100.0 % ")
        mark = " ✓" if row.id == self._chosen else ""
        text = metrics.elidedText(
            visible_token(row.text, row.id) + mark, Qt.TextElideMode.ElideRight, name - GRID
        )
        painter.setPen(self._theme.color("text"))
        painter.drawText(QRect(0, top, name, _ROW), middle | Qt.AlignmentFlag.AlignLeft, text)
        room = self.width() - name - number
        pairs: tuple[tuple[float | None, Swatch], ...] = ((row.base, "raw"), (row.adapted, "sampled"))
        for line, (value, tone) in enumerate(pairs):
            y = top + _ROW // 2 + (line - 1) * (_BAR + 4) + 2
            share = 0.0 if value is None else math.exp(value)
            painter.fillRect(QRectF(name, y, room, _BAR), self._theme.color("hover"))
            painter.fillRect(QRectF(name, y, max(1.0, share * room), _BAR), swatch_fill(self._theme, tone)[0])
            painter.setPen(self._theme.color("text" if line else "muted"))
            box = QRect(name + room, y - 3, number, _BAR + 6)
            painter.drawText(box, middle | Qt.AlignmentFlag.AlignRight, _percent(value))


def _percent(logprob: float | None) -> str:
    """A probability with three figures; a dash where it was not among the recorded ones."""
    return "–" if logprob is None else f"{math.exp(logprob):.1%}".replace("%", " %")
