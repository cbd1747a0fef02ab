"""The legend of the diverging scale: the same for tinted text, heat map and ranking."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QFontMetrics, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from views.models.explaining import ExplanationModel
from views.models.explanation_scores import format_score
from views.paint import LEVELS, diverging_scale
from views.theme import CAPTION, GRID, Theme


class ScoreLegend(QWidget):
    """A strip from "opposes" to "supports" with the scores at its ends."""

    def __init__(self, model: ExplanationModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("scoreLegend")
        self._model, self._theme = model, theme
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        theme.changed.connect(self.update)
        model.result_changed.connect(self.update)
        model.scores_changed.connect(self._tell)
        model.result_changed.connect(self._tell)

    def sizeHint(self) -> QSize:
        """Words above the strip."""
        return QSize(240, QFontMetrics(self._theme.font(CAPTION)).height() + 3 * GRID)

    def ends(self) -> tuple[str, str, bool]:
        """Words for both ends, and whether there are negative scores at all."""
        result, post = self._model.result, self._model.post
        if result is None:
            return "", "", False
        unit = result.spec.unit + ("²" if post == "square" and result.spec.unit else "")
        scale = result.scale(post)
        signed = result.spec.signed and post == "none"
        high = f"supports {format_score(scale, unit)}"
        return (f"{format_score(-scale)} opposes" if signed else "0"), high, signed

    def _tell(self) -> None:
        low, high, _ = self.ends()
        self.setAccessibleName(f"Colour scale from {low} to {high}")
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Words, then the strip."""
        low, high, signed = self.ends()
        painter = QPainter(self)
        painter.setFont(self._theme.font(CAPTION))
        painter.setPen(self._theme.color("muted"))
        line = painter.fontMetrics().height()
        box = QRectF(0, 0, self.width(), line)
        painter.drawText(box, Qt.AlignmentFlag.AlignLeft, low)
        painter.drawText(box, Qt.AlignmentFlag.AlignRight, high)
        scale = diverging_scale(self._theme.colors.window, self._theme.colors.text)
        tints = scale if signed else scale[LEVELS - 1 :]
        step = self.width() / len(tints)
        for place, tint in enumerate(tints):
            painter.fillRect(QRectF(place * step, line + 2, step + 1, 2 * GRID), tint.background)
            if tint.weight:
                under = QRectF(place * step, line + 2 + 2 * GRID - tint.weight, step + 1, tint.weight)
                painter.fillRect(under, tint.underline)
