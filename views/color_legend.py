"""What the tints of tokens mean: the scale with its ends, unit and underline weights."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QFontMetrics, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from views.models.tokens import FULL_SCALE, Measure
from views.paint import sequential_scale
from views.theme import CAPTION, GRID, Theme

#: Width of the strip where the legend is no wider than it needs to be, px.
_BAR = 96
#: Its width where there is little room, px.
_SHORT_BAR = 32
_STEPS = 24


def scale_ends(measure: Measure) -> tuple[str, str]:
    """Words at the quiet and the loud end of the scale."""
    if measure == "probability":
        return "100 %", "0 %"
    return "0", f"≥{FULL_SCALE[measure]:.0f} nats"


class ColorLegend(QWidget):
    """The sequential scale, left as expected, right unexpected.

    Args:
        theme: Colours and fonts.
        ground: What the tints lie on, a colour of the theme.
        wide: Take all the room there is.
    """

    def __init__(
        self,
        theme: Theme,
        parent: QWidget | None = None,
        *,
        ground: Literal["surface", "window"] = "surface",
        wide: bool = False,
    ) -> None:
        super().__init__(parent)
        self.setObjectName("colorLegend")
        self._theme, self._ground, self._wide = theme, ground, wide
        self._measure: Measure = "surprisal"
        if wide:
            self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
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
                "surprisal": "Minus the logarithm of the model's own probability of the token, in nats; "
                f"{FULL_SCALE['surprisal']:.0f} nats are a probability of 0.0003",
            }[measure]
        )
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        return self._size(_BAR)

    def minimumSizeHint(self) -> QSize:
        return self._size(_SHORT_BAR)

    def _size(self, bar: int) -> QSize:
        metrics = QFontMetrics(self._theme.font(CAPTION))
        words = sum(metrics.horizontalAdvance(end) for end in scale_ends(self._measure))
        return QSize(words + bar + 5 * GRID, 6 * GRID)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(self._theme.font(CAPTION))
        metrics = painter.fontMetrics()
        low, high = scale_ends(self._measure)
        left = metrics.horizontalAdvance(low) + 2 * GRID
        right = metrics.horizontalAdvance(high) + 2 * GRID
        room = float(self.width() - left - right)
        room = room if self._wide else min(room, float(_BAR))
        painter.setPen(self._theme.color("muted"))
        middle = Qt.AlignmentFlag.AlignVCenter
        painter.drawText(QRectF(0, 0, left, self.height()), middle, low)
        painter.drawText(QRectF(left + room + 2 * GRID, 0, right, self.height()), middle, high)
        self._paint_strip(painter, QRectF(left, self.height() / 2 - 6, room, 12))

    def _paint_strip(self, painter: QPainter, strip: QRectF) -> None:
        scale = sequential_scale(getattr(self._theme.colors, self._ground), self._theme.colors.text)
        step = strip.width() / _STEPS
        for number in range(_STEPS):
            tint = scale[round(number / (_STEPS - 1) * (len(scale) - 1))]
            rect = QRectF(strip.left() + number * step, strip.top(), step + 0.5, strip.height())
            painter.fillRect(rect, tint.background)
            if tint.weight:
                painter.setPen(QPen(tint.underline, tint.weight))
                y = rect.bottom() - tint.weight / 2
                painter.drawLine(QPointF(rect.left(), y), QPointF(rect.right(), y))
