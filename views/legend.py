"""What the colours and patterns of a plot mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import QPoint, QRect, QSize, Qt
from PySide6.QtGui import QBrush, QColor, QFontMetrics, QPainter, QPaintEvent, QPolygon, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from views.paint import mix
from views.theme import CAPTION, GRID, Theme

Swatch = Literal["accent", "candidate", "others", "removed", "raw", "sampled", "corner"]
_SWATCH = 3 * GRID


@dataclass(frozen=True, slots=True)
class LegendItem:
    """A swatch and what it stands for."""

    text: str
    swatch: Swatch


def swatch_fill(theme: Theme, swatch: Swatch) -> tuple[QColor, Qt.BrushStyle | None, QColor]:
    """Background, pattern (or None) and pattern colour of a swatch; plots paint with the same."""
    surface, text = theme.color("window"), theme.color("text")
    match swatch:
        case "accent" | "sampled" | "corner":
            return theme.color("accent"), None, text
        case "candidate" | "raw":
            return mix(surface, text, 0.34), None, text
        case "others":
            return mix(surface, text, 0.06), Qt.BrushStyle.Dense7Pattern, theme.color("faint")
        case "removed":
            return mix(surface, text, 0.12), Qt.BrushStyle.BDiagPattern, text


class Legend(QWidget):
    """Swatches with words, in as many lines as the width asks for."""

    def __init__(self, items: tuple[LegendItem, ...], theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._items, self._theme = items, theme
        self._placed: dict[int, list[QRect]] = {}
        self.setAccessibleName("Legend: " + ", ".join(item.text for item in items))
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        theme.changed.connect(self._restyle)

    def sizeHint(self) -> QSize:
        """One line if there is room."""
        return QSize(240, self.heightForWidth(self.width()))

    def hasHeightForWidth(self) -> bool:
        """Narrow legends are higher."""
        return True

    def heightForWidth(self, width: int) -> int:
        """Height of all lines."""
        return max((box.bottom() + 1 for box in self._boxes(width)), default=0)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Take the height that the new width needs."""
        super().resizeEvent(event)
        self.setFixedHeight(self.heightForWidth(self.width()))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint each item."""
        painter = QPainter(self)
        painter.setFont(self._theme.font(CAPTION))
        for item, box in zip(self._items, self._boxes(self.width()), strict=True):
            fill, pattern, ink = swatch_fill(self._theme, item.swatch)
            patch = QRect(box.left(), box.center().y() - _SWATCH // 2 + 1, _SWATCH, _SWATCH)
            if item.swatch == "corner":
                corner = [patch.topLeft(), patch.topLeft() + QPoint(6, 0), patch.topLeft() + QPoint(0, 6)]
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(fill)
                painter.drawPolygon(QPolygon(corner))
            else:
                painter.fillRect(patch, fill)
            if pattern is not None:
                painter.fillRect(patch, QBrush(ink, pattern))
            painter.setPen(self._theme.color("muted"))
            painter.drawText(box.adjusted(_SWATCH + GRID, 0, 0, 0), Qt.AlignmentFlag.AlignVCenter, item.text)

    def _restyle(self) -> None:
        self._placed.clear()
        self.updateGeometry()
        self.update()

    def _boxes(self, width: int) -> list[QRect]:
        if width not in self._placed:
            self._placed[width] = self._place(width)
        return self._placed[width]

    def _place(self, width: int) -> list[QRect]:
        metrics = QFontMetrics(self._theme.font(CAPTION))
        boxes, x, y = [], 0, 0
        line = metrics.height() + 2
        for item in self._items:
            wide = _SWATCH + GRID + metrics.horizontalAdvance(item.text) + 2
            if x and x + wide > width:
                x, y = 0, y + line
            boxes.append(QRect(x, y, wide, line))
            x += wide + 3 * GRID
        return boxes
