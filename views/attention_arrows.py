"""Arrows from one token of the text to those that a head looks at from there."""

from __future__ import annotations

import math

from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPainterPath, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import QAbstractScrollArea, QFrame, QSizePolicy, QWidget

from views.models.candidates import visible_token
from views.models.looking import AttentionModel
from views.paint import LEVELS, sequential_scale
from views.theme import CAPTION, Theme
from views.throttle import Throttle

_ROW, _HIGHEST = 26, 320
#: The strongest so many get an arrow, if they have at least this weight.
_ARROWS, _LEAST = 8, 0.02


class AttentionArrows(QAbstractScrollArea):
    """The text as tokens; the one under the pointer, else the one in focus, has arrows.

    Signals:
        hovered: Position of the token under the pointer; None.
        chosen: Position of the token that was clicked.
    """

    hovered = Signal(object)
    chosen = Signal(int)

    def __init__(self, model: AttentionModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("attentionArrows")
        self.setAccessibleName("What a token looks at")
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFont(theme.mono(CAPTION))
        self.viewport().setMouseTracking(True)
        self.viewport().setAutoFillBackground(False)
        self._model, self._theme = model, theme
        self._boxes: list[QRectF] = []
        self._under: int | None = None
        self._throttle = Throttle(self.lay_out, 60, self)
        model.changed.connect(self._throttle.call)
        model.focused_changed.connect(self._follow)
        theme.changed.connect(self.viewport().update)

    @property
    def position(self) -> int | None:
        """The token whose arrows are drawn."""
        return self._under if self._under is not None else self._model.focused

    def targets(self) -> list[tuple[int, float]]:
        """What it looks at: positions and weights, the strongest first."""
        weights = self._model.looks_from(self.position)
        strongest = sorted(enumerate(weights), key=lambda pair: -pair[1])[:_ARROWS]
        return [(place, weight) for place, weight in strongest if weight >= _LEAST]

    def box(self, position: int) -> QRectF:
        """Where a token is in the viewport."""
        return self._boxes[position].translated(0, -self.verticalScrollBar().value())

    def lay_out(self) -> None:
        """Put the tokens into lines."""
        self._boxes, x, y = [], 0.0, 0.0
        tokens = self._model.tokens if self._model.matrix is not None else ()
        wide = self.viewport().width()
        for number, token in enumerate(tokens):
            width = self.fontMetrics().horizontalAdvance(visible_token(token, number)) + 6
            if x and x + width > wide:
                x, y = 0.0, y + _ROW
            self._boxes.append(QRectF(x, y + 4, width, _ROW - 8))
            x += width + 2
        high = y + _ROW
        bar = self.verticalScrollBar()
        bar.setRange(0, max(0, int(high) - self.viewport().height()))
        bar.setPageStep(max(1, self.viewport().height()))
        bar.setSingleStep(_ROW)
        self.setFixedHeight(int(min(max(high, _ROW), _HIGHEST)))
        self.viewport().update()

    def sizeHint(self) -> QSize:
        """As high as the text, up to a limit."""
        return QSize(300, self.height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.lay_out()

    def _follow(self) -> None:
        """Show the token in focus."""
        position = self._model.focused
        if position is not None and position < len(self._boxes) and self._under is None:
            top, bar = int(self._boxes[position].top()), self.verticalScrollBar()
            if not bar.value() <= top < bar.value() + self.viewport().height() - _ROW:
                bar.setValue(top - self.viewport().height() // 2)
        self._tell()
        self.viewport().update()

    def _tell(self) -> None:
        tokens, position = self._model.tokens, self.position
        words = ", ".join(f"{tokens[place]!r} {weight:.2f}" for place, weight in self.targets())
        known = words and position is not None and position < len(tokens)
        self.setAccessibleDescription(f"{tokens[position]!r} looks at {words}" if known else "")  # type: ignore[index]

    def paintEvent(self, event: QPaintEvent) -> None:
        """Tokens tinted by how much they are looked at; then the arrows over them."""
        painter = QPainter(self.viewport())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(self.font())
        colors = self._theme.colors
        scale = sequential_scale(colors.window, colors.text)
        weights, position = self._model.looks_from(self.position), self.position
        for number, token in enumerate(self._model.tokens[: len(self._boxes)]):
            box = self.box(number)
            if box.bottom() < 0 or box.top() > self.viewport().height():
                continue
            weight = weights[number] if number < len(weights) else 0.0
            if weight > 0.001:
                tint = scale[min(LEVELS - 1, round(math.sqrt(weight) * (LEVELS - 1)))]
                painter.fillRect(box, tint.background)
            behind = position is not None and number > position
            painter.setPen(self._theme.color("faint" if behind else "text"))
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, visible_token(token, number))
        if position is not None and position < len(self._boxes):
            painter.setPen(QPen(self._theme.color("accent"), 2))
            painter.drawRoundedRect(self.box(position), 3, 3)
            for place, weight in self.targets():
                self._paint_arrow(painter, self.box(position), self.box(place), weight)

    def _paint_arrow(self, painter: QPainter, start: QRectF, end: QRectF, weight: float) -> None:
        """A curve whose width is the weight; to itself it is a loop above the box."""
        color = QColor(self._theme.color("accent"))
        color.setAlphaF(0.35 + 0.65 * min(1.0, weight))
        painter.setPen(QPen(color, 1 + 3 * weight))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        here, there = QPointF(start.center().x(), start.top()), QPointF(end.center().x(), end.top())
        lift = 10 + min(30.0, abs(here.x() - there.x()) / 8)
        if start == end:
            here, there = here - QPointF(6, 0), there + QPointF(6, 0)
        elif end.top() < start.top():
            there = QPointF(end.center().x(), end.bottom())
        bend = QPointF((here.x() + there.x()) / 2, min(here.y(), there.y()) - lift)
        if end.top() < start.top():
            bend = QPointF(here.x(), (here.y() + there.y()) / 2)
        path = QPainterPath(here)
        path.quadTo(bend, there)
        painter.drawPath(path)
        painter.setBrush(color)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.drawPath(_head(bend, there))

    # --- the mouse

    def position_at(self, point: QPoint) -> int | None:
        """The token at a point of the viewport."""
        place = QPointF(point) + QPointF(0, self.verticalScrollBar().value())
        return next((number for number, box in enumerate(self._boxes) if box.contains(place)), None)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._set_under(self.position_at(event.position().toPoint()))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        position = self.position_at(event.position().toPoint())
        if position is not None:
            self.chosen.emit(position)

    def viewportEvent(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Leave:
            self._set_under(None)
        return super().viewportEvent(event)

    def _set_under(self, position: int | None) -> None:
        if position != self._under:
            self._under = position
            self.hovered.emit(position)
            self._tell()
            self.viewport().update()


def _head(start: QPointF, end: QPointF) -> QPainterPath:
    """The point of an arrow that comes from ``start``."""
    angle = math.atan2(end.y() - start.y(), end.x() - start.x())
    path = QPainterPath(end)
    for turn in (2.7, -2.7):
        path.lineTo(end + QPointF(6 * math.cos(angle + turn), 6 * math.sin(angle + turn)))
    path.closeSubpath()
    return path
