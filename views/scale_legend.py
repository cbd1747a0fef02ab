"""The legend of a colour scale: a strip with the values at its ends."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QFontMetrics, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from views.models.tokens import Measure
from views.paint import LEVELS, sequential_scale
from views.theme import CAPTION, GRID, Theme

_ENDS: dict[Measure, tuple[str, str]] = {
    "probability": ("100 %", "0 %"),
    "entropy": ("0", "6 nats or more"),
    "surprisal": ("0 (expected)", "8 nats or more (p ≤ 0.0003)"),
}


class ScaleLegend(QWidget):
    """The sequential scale as plots paint it, from "as expected" to "unexpected"."""

    def __init__(self, measure: Measure, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._measure, self._theme = measure, theme
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        low, high = _ENDS[measure]
        self.setAccessibleName(f"Colour scale of {measure}, from {low} to {high}")
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        """One line."""
        return QSize(240, QFontMetrics(self._theme.font(CAPTION)).height() + 2)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Strip between its two ends."""
        painter = QPainter(self)
        painter.setFont(self._theme.font(CAPTION))
        painter.setPen(self._theme.color("muted"))
        low, high = _ENDS[self._measure]
        metrics = painter.fontMetrics()
        box = QRectF(self.rect())
        painter.drawText(box, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, low)
        painter.drawText(box, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, high)
        left = metrics.horizontalAdvance(low) + 2 * GRID
        room = box.width() - left - metrics.horizontalAdvance(high) - 2 * GRID
        if room <= 0:
            return
        scale = sequential_scale(self._theme.colors.window, self._theme.colors.text)
        step = room / LEVELS
        for level, tint in enumerate(scale):
            strip = QRectF(left + level * step, box.center().y() - GRID, step + 1, 2 * GRID)
            painter.fillRect(strip, tint.underline)
