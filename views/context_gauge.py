"""How full the context is."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from views.theme import CAPTION, Theme

#: Room of the word before the bar, px.
_WORD = 56


class ContextGauge(QWidget):
    """How full the context is: a bar and the numbers."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._used = self._total = 0
        self.setObjectName("contextGauge")
        self._short = False
        self.setFixedSize(200, 24)
        self.setAccessibleName("Context")
        theme.changed.connect(self.update)
        self.set_fill(0, 0)

    def set_fill(self, used: int, total: int) -> None:
        """Tokens in use, and how many there is room for (0: no model)."""
        if total and (used, total) == (self._used, self._total):
            return
        self._used, self._total = used, total
        if total:
            share = 100 * used / total
            words = f"{used:,} of {total:,} tokens of the context are in use ({share:.0f} %)"
        else:
            words = "The context is empty: no model is loaded"
        self.setToolTip(words)
        self.setAccessibleDescription(words)
        self.setVisible(total > 0)
        self.update()

    def set_short(self, short: bool) -> None:
        """Leave out the word before the bar."""
        if short != self._short:
            self._short = short
            self.setFixedSize(200 - (_WORD if short else 0), 24)
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        theme, middle = self._theme, self.height() / 2
        painter.setFont(theme.font(CAPTION))
        painter.setPen(theme.color("muted"))
        flags = Qt.AlignmentFlag.AlignVCenter
        if self._short:
            painter.translate(-_WORD, 0)
        else:
            painter.drawText(QRectF(0, 0, 52, self.height()), flags | Qt.AlignmentFlag.AlignLeft, "context")
        bar = QRectF(56, middle - 3, 64, 6)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color("pressed"))
        painter.drawRoundedRect(bar, 3, 3)
        share = min(1.0, self._used / self._total) if self._total else 0.0
        tone = "danger" if share >= 0.95 else "warning" if share >= 0.8 else "accent"
        painter.setBrush(theme.color(tone))
        if share > 0:
            painter.drawRoundedRect(QRectF(bar.left(), bar.top(), max(6.0, bar.width() * share), 6), 3, 3)
        painter.setFont(theme.mono(CAPTION))
        painter.setPen(theme.color("muted"))
        numbers = f"{short_count(self._used)}/{short_count(self._total)}"
        painter.drawText(QRectF(128, 0, 84, self.height()), flags | Qt.AlignmentFlag.AlignLeft, numbers)


def short_count(count: int) -> str:
    """A number of tokens: 812, 1.2k, 128k."""
    if count < 1000:
        return str(count)
    return f"{count / 1000:.1f}k" if count < 10_000 else f"{count / 1000:.0f}k"
