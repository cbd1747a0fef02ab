"""Will it fit? The memory that a model needs against what is free, as one bar."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QBrush, QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from inference.events import MemoryEstimate
from views.models.format import format_bytes
from views.paint import mix
from views.theme import BODY, CAPTION, GRID, Theme

_BAR = 4 * GRID
_LINE = 5 * GRID


class FitBar(QWidget):
    """Weights, KV cache and overhead side by side; a line marks what is free, hatching what is too much."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._estimate: MemoryEstimate | None = None
        self.setObjectName("fitBar")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        theme.changed.connect(self.update)

    @property
    def verdict(self) -> str:
        """The bar in words; empty while there is no estimate."""
        estimate = self._estimate
        if estimate is None:
            return ""
        where = "on the GPU" if estimate.device.startswith("cuda") else "in memory"
        needs = f"needs {format_bytes(estimate.total)} of {format_bytes(estimate.free)} free {where}"
        if estimate.fits:
            return f"Fits: {needs}"
        return f"Does not fit: {needs}"

    def set_estimate(self, estimate: MemoryEstimate | None) -> None:
        """Show another estimate."""
        self._estimate = estimate
        self.setAccessibleName(self.verdict)
        self.setToolTip("" if estimate is None else "Estimated; what is measured is shown after loading.")
        self.update()

    def sizeHint(self) -> QSize:
        """Verdict, bar, legend."""
        return QSize(320, 2 * _LINE + _BAR)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Verdict above, bar, legend below."""
        estimate = self._estimate
        if estimate is None:
            return
        painter = QPainter(self)
        painter.setFont(self._theme.font(BODY, bold=True))
        painter.setPen(self._theme.color("success" if estimate.fits else "danger"))
        left = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        mark = "✓ " if estimate.fits else "✕ "
        painter.drawText(QRectF(0, 0, self.width(), _LINE), left, mark + self.verdict)
        parts = self._parts(estimate)
        scale = self.width() / max(estimate.total, estimate.free, 1)
        self._paint_bar(painter, estimate, parts, scale)
        self._paint_legend(painter, parts)

    def _parts(self, estimate: MemoryEstimate) -> list[tuple[str, int, QColor]]:
        accent, surface = self._theme.color("accent"), self._theme.color("surface")
        return [
            ("weights", estimate.weights, accent),
            ("KV cache", estimate.kv_cache, mix(surface, accent, 0.55)),
            ("overhead", estimate.overhead, mix(surface, accent, 0.28)),
        ]

    def _paint_bar(
        self,
        painter: QPainter,
        estimate: MemoryEstimate,
        parts: list[tuple[str, int, QColor]],
        scale: float,
    ) -> None:
        track = QRectF(0, _LINE, self.width(), _BAR)
        painter.fillRect(track, self._theme.color("hover"))
        x = 0.0
        for _, size, color in parts:
            painter.fillRect(QRectF(x, _LINE, size * scale, _BAR), color)
            x += size * scale
        free = min(estimate.free * scale, self.width() - 1.0)
        if not estimate.fits:
            over = QRectF(free, _LINE, x - free, _BAR)
            painter.fillRect(over, QBrush(self._theme.color("danger"), Qt.BrushStyle.BDiagPattern))
        painter.setPen(QPen(self._theme.color("text"), 2))
        painter.drawLine(round(free), _LINE - 2, round(free), _LINE + _BAR + 2)

    def _paint_legend(self, painter: QPainter, parts: list[tuple[str, int, QColor]]) -> None:
        painter.setFont(self._theme.font(CAPTION))
        x, y = 0.0, float(_LINE + _BAR)
        for name, size, color in parts:
            text = f"{name} {format_bytes(size)}"
            painter.fillRect(QRectF(x, y + 6, 10, 10), color)
            painter.setPen(self._theme.color("muted"))
            width = painter.fontMetrics().horizontalAdvance(text)
            box = QRectF(x + 14, y, width + 2, _LINE)
            painter.drawText(box, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, text)
            x += 14 + width + 2 * GRID
        box = QRectF(x, y, self.width() - x, _LINE)
        if box.width() >= painter.fontMetrics().horizontalAdvance("│ free"):
            painter.drawText(box, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, "│ free")
