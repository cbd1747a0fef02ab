"""What the tints of the token view mean: the scale with its ends, unit and underline weights."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QFontMetrics, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from views.models.tokens import FULL_SCALE, Measure
from views.paint import sequential_scale
from views.theme import CAPTION, Theme

_BAR = 96


def scale_ends(measure: Measure) -> tuple[str, str]:
    """Words at the quiet and the loud end of the scale."""
    if measure == "probability":
        return "1", "0"
    return "0", f"≥{FULL_SCALE[measure]:.0f} nats"


class ColorLegend(QWidget):
    """The sequential scale, left as expected, right unexpected."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("colorLegend")
        self._theme = theme
        self._measure: Measure = "surprisal"
        theme.changed.connect(self.update)
        self.set_measure("surprisal")

    def set_measure(self, measure: Measure) -> None:
        """Explain this measure."""
        self._measure = measure
        low, high = scale_ends(measure)
        self.setAccessibleName(f"Colour scale of {measure}, from {low} to {high}")
        self.setToolTip(
            {
                "probability": "The model's own probability of the token, before all controls",
                "entropy": "How undecided the model was before the token, in nats",
                "surprisal": "Minus the logarithm of the model's own probability of the token, in nats",
            }[measure]
        )
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        metrics = QFontMetrics(self._theme.font(CAPTION))
        low, high = scale_ends(self._measure)
        return QSize(metrics.horizontalAdvance(low) + metrics.horizontalAdvance(high) + _BAR + 20, 24)

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(self._theme.font(CAPTION))
        metrics = painter.fontMetrics()
        low, high = scale_ends(self._measure)
        left = metrics.horizontalAdvance(low) + 8
        painter.setPen(self._theme.color("muted"))
        middle = Qt.AlignmentFlag.AlignVCenter
        painter.drawText(QRectF(0, 0, left, self.height()), middle, low)
        painter.drawText(QRectF(left + _BAR + 8, 0, self.width(), self.height()), middle, high)
        colors = self._theme.colors
        scale = sequential_scale(colors.surface, colors.text)
        top, steps = self.height() / 2 - 6, 24
        step = _BAR / steps
        for number in range(steps):
            tint = scale[round(number / (steps - 1) * (len(scale) - 1))]
            rect = QRectF(left + number * step, top, step + 0.5, 12)
            painter.fillRect(rect, tint.background)
            if tint.weight:
                painter.setPen(QPen(tint.underline, tint.weight))
                y = rect.bottom() - tint.weight / 2
                painter.drawLine(QPointF(rect.left(), y), QPointF(rect.right(), y))
