"""Methods side by side: how faithful each was here, and how far they agree."""

from __future__ import annotations

import math

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QGridLayout, QSizePolicy, QVBoxLayout, QWidget

from views.models.explaining import ExplanationModel
from views.paint import cividis, mix
from views.panel_parts import Ink, heading, note
from views.theme import CAPTION, GRID, Theme

_HEIGHT = 120


class MethodComparison(QWidget):
    """A line a method (area under its deletion curve, agreement with the shown one) and the curves."""

    def __init__(self, model: ExplanationModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("methodComparison")
        self._model, self._theme = model, theme
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 2 * GRID, 0, 0)
        column.setSpacing(2 * GRID)
        column.addWidget(heading("Which method is faithful here?", theme))
        column.addWidget(
            note(
                "The strongest parts are removed first; the sooner the text becomes unlikely, the smaller "
                "the area under the curve, the better the method knew what carried it.",
                theme,
            )
        )
        self.curves = DeletionCurves(model, theme)
        column.addWidget(self.curves)
        self._table = QWidget()
        self._grid = QGridLayout(self._table)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(3 * GRID)
        self._grid.setVerticalSpacing(GRID)
        self._grid.setColumnStretch(1, 1)
        column.addWidget(self._table)
        model.compared_changed.connect(self._show)
        model.result_changed.connect(self._show)
        self._show()

    def lines(self) -> list[tuple[str, str, str, str]]:
        """Method, area, Spearman's and Kendall's correlation with the shown method, most faithful first."""
        compared = self._model.compared
        if compared is None:
            return []
        shown = compared.methods.index(self._model.shown) if self._model.shown in compared.methods else 0
        found = []
        for curve in sorted(compared.curves, key=lambda each: each.area):
            place = compared.methods.index(curve.method) if curve.method in compared.methods else None
            found.append(
                (
                    title(self._model, curve.method),
                    f"{curve.area:.3f}",
                    _correlation(compared.spearman, shown, place),
                    _correlation(compared.kendall, shown, place),
                )
            )
        return found

    def _show(self) -> None:
        self.setVisible(self._model.compared is not None)
        while (item := self._grid.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.deleteLater()
        compared = self._model.compared
        if compared is None:
            return
        for number, (text, tip) in enumerate(
            (
                ("", ""),
                ("Method", ""),
                ("Area", "Area under the deletion curve; smaller is more faithful."),
                ("ρ", "Spearman's rank correlation with the method that is shown."),
                ("τ", "Kendall's rank correlation with the method that is shown."),
            )
        ):
            label = Ink(text, self._theme, tone="muted", size=CAPTION)
            label.setToolTip(tip)
            self._grid.addWidget(label, 0, number)
        order = sorted(compared.curves, key=lambda each: each.area)
        for number, (curve, words) in enumerate(zip(order, self.lines(), strict=True), start=1):
            self._grid.addWidget(_Swatch(self.curves, curve.method), number, 0)
            name = Ink(words[0], self._theme, size=CAPTION, wrap=True)
            self._grid.addWidget(name, number, 1)
            for place, value in enumerate(words[1:], start=2):
                self._grid.addWidget(Ink(value, self._theme, size=CAPTION, mono=True), number, place)


class DeletionCurves(QWidget):
    """How likely the target stays while parts are removed, one line a method."""

    def __init__(self, model: ExplanationModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model, self._theme = model, theme
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Deletion curves")
        model.compared_changed.connect(self.update)
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        """A low plot."""
        return QSize(300, _HEIGHT)

    def color(self, method: str) -> QColor:
        """A method's colour; chance is grey."""
        compared = self._model.compared
        if compared is None or method not in compared.methods:
            return self._theme.color("faint")
        share = compared.methods.index(method) / max(1, len(compared.methods) - 1)
        base = cividis(0.3 + 0.7 * share if self._theme.dark else 0.75 * share)
        return mix(base, self._theme.color("text"), 0.1)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Axes, then a line for each method."""
        compared = self._model.compared
        if compared is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(self._theme.font(CAPTION))
        painter.setPen(self._theme.color("muted"))
        metrics = painter.fontMetrics()
        left = metrics.horizontalAdvance("100 %") + GRID
        plot = QRectF(left, 6, self.width() - left - 4, self.height() - metrics.height() - 10)
        flags = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for share, text in ((0.0, "100 %"), (1.0, "0 %")):
            y = plot.top() + share * plot.height()
            painter.drawText(QRectF(0, y - 8, left - GRID, 16), flags, text)
        low = QRectF(plot.left(), plot.bottom() + 4, plot.width(), metrics.height())
        painter.drawText(low, Qt.AlignmentFlag.AlignLeft, "nothing removed")
        painter.drawText(low, Qt.AlignmentFlag.AlignRight, "all")
        painter.setPen(self._theme.color("border"))
        painter.drawLine(plot.bottomLeft(), plot.bottomRight())
        painter.drawLine(plot.bottomLeft(), plot.topLeft())
        for curve in compared.curves:
            chance = curve.method not in compared.methods
            style = Qt.PenStyle.DashLine if chance else Qt.PenStyle.SolidLine
            width = 2.6 if curve.method == self._model.shown else 1.4
            painter.setPen(QPen(self.color(curve.method), width, style))
            painter.drawPolyline(_points(curve.removed, curve.logprobs, plot))


class _Swatch(QWidget):
    """A short line in a curve's colour."""

    def __init__(self, curves: DeletionCurves, method: str) -> None:
        super().__init__()
        self._curves, self._method = curves, method
        self.setFixedSize(4 * GRID, 3 * GRID)

    def paintEvent(self, event: QPaintEvent) -> None:
        """The line."""
        painter = QPainter(self)
        painter.fillRect(0, self.height() // 2 - 1, self.width(), 3, self._curves.color(self._method))


def title(model: ExplanationModel, method: str) -> str:
    """A method's title; the curve of shuffled orders is called by its name."""
    spec = model.spec(method)
    return spec.title if spec is not None else "Chance" if method == "random" else method


def _points(removed: tuple[float, ...], logprobs: tuple[float, ...], plot: QRectF) -> QPolygonF:
    return QPolygonF(
        [
            QPointF(
                plot.left() + share * plot.width(),
                plot.bottom() - math.exp(min(0.0, value - logprobs[0])) * plot.height(),
            )
            for share, value in zip(removed, logprobs, strict=True)
        ]
    )


def _correlation(table: tuple[tuple[float | None, ...], ...], shown: int, place: int | None) -> str:
    if place is None or place == shown:
        return "—"
    value = table[shown][place]
    return "—" if value is None else f"{value:+.2f}"
