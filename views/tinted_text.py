"""The exact text that the model read, each segment tinted by its score."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QHelpEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
    QTextCharFormat,
    QTextLayout,
    QTextLine,
    QTextOption,
)
from PySide6.QtWidgets import QAbstractScrollArea, QFrame, QSizePolicy, QToolTip, QWidget

from views.models.explaining import ExplanationModel
from views.models.explanation_scores import ExplanationScores, format_score, one_line, relative, short
from views.paint import diverging
from views.theme import BODY, GRID, Theme
from views.throttle import Throttle

_LINE = 1.5
_HIGHEST = 240


class TintedText(QAbstractScrollArea):
    """Hovering a segment points at it, a click chooses it; ``whole``: never scrolls, for pictures."""

    def __init__(
        self, model: ExplanationModel, theme: Theme, *, whole: bool = False, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("explanationText")
        self.setAccessibleName("What the model read, tinted by score")
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.viewport().setMouseTracking(True)
        self.viewport().setAutoFillBackground(False)
        self._model, self._theme, self._whole = model, theme, whole
        self._layout: QTextLayout | None = None
        self._laid_out: ExplanationScores | None = None
        self._height = 0.0
        #: For each character of the context, its place in UTF-16, which Qt counts in; empty: the same.
        self._units: list[int] = []
        self._rects: list[tuple[int, QRectF]] = []
        self._throttle = Throttle(self.viewport().update, 100, self)
        model.result_changed.connect(self.refresh)
        model.scores_changed.connect(self._throttle.call)
        model.pointed_changed.connect(self._point)
        theme.changed.connect(self.refresh)
        self.refresh()

    def sizeHint(self) -> QSize:
        """As high as the text, up to a limit."""
        height = max(self._height, 24.0)
        return QSize(300, int(height if self._whole else min(height, _HIGHEST)) + 2)

    def minimumSizeHint(self) -> QSize:
        """Never squeezed."""
        return QSize(120, self.sizeHint().height())

    def refresh(self) -> None:
        """Lay the text out anew."""
        result = self._model.result
        self._layout, self._rects, self._units = None, [], []
        self._laid_out = result
        if result is not None:
            if any(ord(char) > 0xFFFF for char in result.context):
                self._units = _utf16_places(result.context)
            self._lay_out(result.context)
        self.updateGeometry()
        self.viewport().update()

    def segment_at(self, point: QPoint) -> int | None:
        """The segment at a point of the viewport."""
        at = QPointF(point) + QPointF(0, self.verticalScrollBar().value())
        return next((segment for segment, rect in self._rects if rect.contains(at)), None)

    def rects_of(self, segment: int) -> list[QRectF]:
        """Where a segment stands in the viewport, one rectangle a line."""
        up = -float(self.verticalScrollBar().value())
        return [rect.translated(0, up) for number, rect in self._rects if number == segment]

    def _lay_out(self, text: str) -> None:
        # A line separator for each line break keeps all offsets and makes Qt break there.
        layout = QTextLayout(text.replace("\n", "\u2028"), self._theme.font(BODY))
        option = QTextOption()
        option.setWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        layout.setTextOption(option)
        layout.setCacheEnabled(True)
        # Formats go first: setting them throws the lines away.
        self._fade_the_rest(layout, len(text))
        width = max(80, self.viewport().width())
        layout.beginLayout()
        top = 0.0
        while (line := layout.createLine()).isValid():
            line.setLineWidth(width)
            line.setPosition(QPointF(0, top + 2))
            top += line.height() * _LINE
        layout.endLayout()
        self._layout, self._height = layout, top
        self._rects = self._segment_rects(layout)
        bar = self.verticalScrollBar()
        bar.setRange(0, max(0, int(top) - self.viewport().height()))
        bar.setPageStep(self.viewport().height())
        bar.setSingleStep(20)

    def _segment_rects(self, layout: QTextLayout) -> list[tuple[int, QRectF]]:
        result = self._model.result
        assert result is not None
        lines = [layout.lineAt(number) for number in range(layout.lineCount())]
        starts = [line.textStart() for line in lines]
        found = []
        for number, segment in enumerate(result.segments):
            start, end = self._unit(segment.start), self._unit(segment.end)
            place = max(0, bisect_right(starts, start) - 1)
            while place < len(lines) and starts[place] < end:
                line = lines[place]
                left = _x_of(line, max(start, starts[place]))
                right = _x_of(line, min(end, starts[place] + line.textLength()))
                if right > left:
                    rect = QRectF(left, line.y() - 1, right - left, line.height() * _LINE - 3)
                    found.append((number, rect))
                place += 1
        return found

    def _fade_the_rest(self, layout: QTextLayout, length: int) -> None:
        """What belongs to no segment (marks of the template) is there, but faint."""
        result = self._model.result
        assert result is not None
        faint = QTextCharFormat()
        faint.setForeground(self._theme.color("faint"))
        ranges, at = [], 0
        spans = sorted((segment.start, segment.end) for segment in result.segments)
        for start, end in [*spans, (length, length)]:
            if start > at:
                span = QTextLayout.FormatRange()
                span.start, span.length = self._unit(at), self._unit(start) - self._unit(at)
                span.format = faint
                ranges.append(span)
            at = max(at, end)
        layout.setFormats(ranges)

    def _unit(self, offset: int) -> int:
        return self._units[offset] if self._units else offset

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Lines break elsewhere."""
        super().resizeEvent(event)
        result = self._model.result
        if result is not None and event.size().width() != event.oldSize().width():
            self._lay_out(result.context)
            self.updateGeometry()
        else:
            bar = self.verticalScrollBar()
            bar.setRange(0, max(0, int(self._height) - self.viewport().height()))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Tints and underlines, then the text, then what is pointed at."""
        result = self._model.result
        if result is None or self._layout is None or result is not self._laid_out:
            return
        painter = QPainter(self.viewport())
        up = self.verticalScrollBar().value()
        painter.translate(0, -up)
        shown = QRectF(event.rect()).translated(0, up)
        post, row = self._model.post, self._model.row
        scale, values = result.scale(post), result.values(row, post)
        colors = self._theme.colors
        for segment, rect in self._rects:
            if values[segment] is None or not rect.intersects(shown):
                continue
            tint = diverging(relative(values[segment], scale), colors.window, colors.text)
            painter.fillRect(rect, tint.background)
            if tint.weight:
                line = QRectF(rect.left(), rect.bottom() - tint.weight, rect.width(), tint.weight)
                painter.fillRect(line, tint.underline)
        painter.setPen(QColor(colors.text))
        self._layout.draw(painter, QPointF(0, 0), [], shown)
        self._paint_pointed(painter)

    def _paint_pointed(self, painter: QPainter) -> None:
        pointed = self._model.segment
        painter.setPen(QPen(self._theme.color("accent"), 1.6))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for segment, rect in self._rects:
            if segment == pointed:
                painter.drawRoundedRect(rect.adjusted(0.5, 0, -0.5, 0), 2, 2)

    def _point(self) -> None:
        if not self.underMouse():
            rects = [rect for segment, rect in self._rects if segment == self._model.segment]
            bar = self.verticalScrollBar()
            if rects and not bar.value() <= rects[0].top() <= bar.value() + self.viewport().height() - 20:
                bar.setValue(int(rects[0].top() - 2 * GRID))
        self.viewport().update()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Point at the segment below the pointer."""
        self._model.hover(self.segment_at(event.position().toPoint()))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Choose the segment, or nothing."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._model.choose(self.segment_at(event.position().toPoint()))

    def viewportEvent(self, event: QEvent) -> bool:
        """The exact value as a tool tip; nothing is pointed at from elsewhere."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            QToolTip.showText(event.globalPos(), self.words(self.segment_at(event.pos())), self)
            return True
        if event.type() == QEvent.Type.Leave:
            self._model.hover(None)
        return super().viewportEvent(event)

    def words(self, segment: int | None) -> str:
        """A segment's text and exact score."""
        result = self._model.result
        if result is None or segment is None:
            return ""
        value = result.value(segment, self._model.row, self._model.post)
        note = " (preview)" if segment in result.preview else ""
        text = one_line(short(result.segments[segment].text))
        return f"{text}: {format_score(value, result.spec.unit)}{note}"


def _x_of(line: QTextLine, position: int) -> float:
    """Where a character begins (some versions of the binding also return the position)."""
    found: Any = line.cursorToX(position)
    return float(found[0] if isinstance(found, tuple) else found)


def _utf16_places(text: str) -> list[int]:
    places, at = [], 0
    for char in text:
        places.append(at)
        at += 2 if ord(char) > 0xFFFF else 1
    return [*places, at]
