"""The probability of everything that is not in the table of candidates, as one bar."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from views.legend import swatch_fill
from views.models.candidates import format_probability
from views.theme import CAPTION, GRID, Theme


class RestBar(QWidget):
    """A line "all others" with its share, in the pattern that the plots use for other tokens."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme, self.share = theme, 0.0
        self.setObjectName("restBar")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        theme.changed.connect(self.update)

    def set_share(self, share: float) -> None:
        """Show a probability."""
        self.share = min(max(share, 0.0), 1.0)
        self.setAccessibleName(f"All other tokens: {format_probability(self.share)}")
        self.update()

    def sizeHint(self) -> QSize:
        """As high as a row of the table."""
        return QSize(160, 6 * GRID)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Words at the left, a bar as long as the share, the number over it."""
        painter = QPainter(self)
        painter.setFont(self._theme.mono(CAPTION))
        metrics = painter.fontMetrics()
        words = "all others"
        left = metrics.horizontalAdvance(words) + 3 * GRID
        bar = QRectF(left, GRID, max(0, self.width() - left), self.height() - 2 * GRID)
        ground, pattern, ink = swatch_fill(self._theme, "others")
        filled = QRectF(bar.left(), bar.top(), bar.width() * self.share, bar.height())
        painter.fillRect(filled, ground)
        if pattern is not None:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(ink)
            brush = painter.brush()
            brush.setStyle(pattern)
            painter.fillRect(filled, brush)
        painter.setPen(self._theme.color("muted"))
        middle = Qt.AlignmentFlag.AlignVCenter
        painter.drawText(
            QRectF(GRID, 0, left, self.height()), int(middle | Qt.AlignmentFlag.AlignLeft), words
        )
        painter.setPen(self._theme.color("text"))
        painter.drawText(bar, int(middle | Qt.AlignmentFlag.AlignRight), format_probability(self.share))
