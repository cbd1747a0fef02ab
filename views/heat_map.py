"""Segments by target tokens as coloured cells; only what is seen is painted."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPoint, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QFontMetrics, QHelpEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import QAbstractScrollArea, QFrame, QSizePolicy, QToolTip, QWidget

from views.models.explaining import ExplanationModel
from views.models.explanation_scores import format_score, one_line, relative, short
from views.paint import LEVELS, diverging_scale, mix
from views.theme import CAPTION, GRID, Theme
from views.throttle import Throttle

_ROW = 18
_NARROWEST, _WIDEST = 14, 64
_HEAD = 64
_LABELS = 104
_HIGHEST = 300


class HeatMap(QAbstractScrollArea):
    """One row a segment, one column for each token of the target.

    The head and the labels stay while the cells scroll. Hovering a cell points at its segment and its
    token; a click chooses the segment, a click on the head the token that text and ranking show.
    ``whole``: never scrolls up and down, for pictures.
    """

    def __init__(
        self, model: ExplanationModel, theme: Theme, *, whole: bool = False, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("explanationHeatmap")
        self.setAccessibleName("Heat map of segments by target tokens")
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.viewport().setMouseTracking(True)
        self.viewport().setAutoFillBackground(False)
        self._model, self._theme, self._whole = model, theme, whole
        self._throttle = Throttle(self.viewport().update, 100, self)
        model.result_changed.connect(self.refresh)
        model.scores_changed.connect(self._throttle.call)
        model.pointed_changed.connect(self._point)
        theme.changed.connect(self.viewport().update)
        self.refresh()

    @property
    def _rows(self) -> int:
        return len(self._model.result.segments) if self._model.result is not None else 0

    @property
    def _columns(self) -> int:
        return len(self._model.result.targets) if self._model.result is not None else 0

    @property
    def _head(self) -> int:
        return _HEAD if self._columns > 1 else 0

    def sizeHint(self) -> QSize:
        """As high as all rows, up to a limit."""
        bar = self.horizontalScrollBar().sizeHint().height() if self.horizontalScrollBar().maximum() else 0
        height = self._head + self._rows * _ROW + bar + 2
        return QSize(300, height if self._whole else min(height, _HIGHEST))

    def minimumSizeHint(self) -> QSize:
        """Never squeezed."""
        return QSize(160, self.sizeHint().height())

    def refresh(self) -> None:
        """Another result is shown."""
        self._set_ranges()
        self.updateGeometry()
        self.viewport().update()

    def cell_width(self) -> float:
        """Width of a column in px."""
        room = self.viewport().width() - _LABELS
        return min(max(room / max(1, self._columns), _NARROWEST), _WIDEST if self._columns > 1 else room)

    def cell_rect(self, segment: int, row: int) -> QRectF:
        """Where a cell is, in the viewport."""
        width = self.cell_width()
        left = _LABELS + row * width - self.horizontalScrollBar().value()
        top = self._head + segment * _ROW - self.verticalScrollBar().value()
        return QRectF(left, top, width, _ROW)

    def cell_at(self, point: QPoint) -> tuple[int | None, int | None]:
        """Segment and row (of the scores) at a point of the viewport; None in the head or beside."""
        segment: int | None = None
        row: int | None = None
        if point.y() >= self._head:
            segment = (point.y() - self._head + self.verticalScrollBar().value()) // _ROW
        if point.x() >= _LABELS:
            row = int((point.x() - _LABELS + self.horizontalScrollBar().value()) / self.cell_width())
        return (
            segment if segment is not None and segment < self._rows else None,
            row if row is not None and row < self._columns else None,
        )

    def words(self, segment: int | None, row: int | None) -> str:
        """A cell's exact value in a sentence."""
        result = self._model.result
        if result is None:
            return ""
        if segment is None:
            return "" if row is None else self._target_words(row)
        text = one_line(short(result.segments[segment].text))
        value = result.value(segment, row if len(result.rows) > 1 else None, self._model.post)
        toward = f" → {one_line(result.targets[row].text)}" if row is not None and self._columns > 1 else ""
        note = " (preview)" if segment in result.preview else ""
        return f"{text}{toward}: {format_score(value, result.spec.unit)}{note}"

    def _target_words(self, row: int) -> str:
        result = self._model.result
        assert result is not None
        target = result.targets[row]
        return f"{one_line(target.text)}: log-probability {target.logprob:.3f} nats as things are"

    def _set_ranges(self) -> None:
        view = self.viewport()
        high = self._head + self._rows * _ROW - view.height()
        self.verticalScrollBar().setRange(0, max(0, high))
        self.verticalScrollBar().setPageStep(max(1, view.height() - self._head))
        self.verticalScrollBar().setSingleStep(_ROW)
        wide = round(_LABELS + self._columns * self.cell_width()) - view.width()
        self.horizontalScrollBar().setRange(0, max(0, wide))
        self.horizontalScrollBar().setPageStep(max(1, view.width() - _LABELS))
        self.horizontalScrollBar().setSingleStep(_NARROWEST)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Columns share the new width."""
        super().resizeEvent(event)
        self._set_ranges()

    # --- painting

    def paintEvent(self, event: QPaintEvent) -> None:
        """Cells, then labels and head over them."""
        if self._model.result is None:
            return
        painter = QPainter(self.viewport())
        first = self.verticalScrollBar().value() // _ROW
        last = min(self._rows, first + (self.viewport().height() - self._head) // _ROW + 2)
        self._paint_cells(painter, range(first, last))
        self._paint_labels(painter, range(first, last))
        if self._head:
            self._paint_head(painter)

    def _paint_cells(self, painter: QPainter, rows: range) -> None:
        result, post = self._model.result, self._model.post
        assert result is not None
        colors, scale = self._theme.colors, result.scale(post)
        tints = diverging_scale(colors.window, colors.text)
        blank = mix(self._theme.color("window"), self._theme.color("text"), 0.06)
        width, left = self.cell_width(), self.horizontalScrollBar().value()
        first = max(0, int(left / width))
        last = min(self._columns, int((left + self.viewport().width() - _LABELS) / width) + 1)
        for segment in rows:
            for row in range(first, last):
                value = result.cell(row, segment, post)
                rect = self.cell_rect(segment, row).adjusted(0.5, 0.5, -0.5, -0.5)
                if value is None:
                    painter.fillRect(rect, blank)
                    continue
                tint = tints[round(relative(value, scale) * (LEVELS - 1)) + LEVELS - 1]
                painter.fillRect(rect, tint.background)
                if tint.weight:
                    line = QRectF(rect.left(), rect.bottom() - tint.weight, rect.width(), tint.weight)
                    painter.fillRect(line, tint.underline)
        self._paint_pointed(painter)

    def _paint_pointed(self, painter: QPainter) -> None:
        segment, row = self._model.segment, self._model.pointed_row
        painter.setPen(QPen(self._theme.color("accent"), 1.6))
        if segment is not None and segment < self._rows:
            line = self.cell_rect(segment, 0)
            line.setRight(self.cell_rect(segment, self._columns - 1).right())
            painter.drawRect(line)
        if row is not None and row < self._columns and self._columns > 1:
            column = self.cell_rect(0, row)
            column.setBottom(self.cell_rect(self._rows - 1, row).bottom())
            painter.drawRect(column)

    def _paint_labels(self, painter: QPainter, rows: range) -> None:
        result = self._model.result
        assert result is not None
        painter.fillRect(0, 0, _LABELS, self.viewport().height(), self._theme.color("window"))
        painter.setFont(self._theme.mono(CAPTION))
        metrics = painter.fontMetrics()
        for segment in rows:
            pointed = segment == self._model.segment
            painter.setPen(self._theme.color("text" if pointed else "muted"))
            box = QRect(0, round(self.cell_rect(segment, 0).top()), _LABELS - GRID, _ROW)
            text = one_line(result.segments[segment].text)
            fitted = metrics.elidedText(text, Qt.TextElideMode.ElideRight, box.width())
            painter.drawText(box, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, fitted)

    def _paint_head(self, painter: QPainter) -> None:
        result = self._model.result
        assert result is not None
        painter.fillRect(0, 0, self.viewport().width(), self._head, self._theme.color("window"))
        painter.setFont(self._theme.mono(CAPTION))
        metrics = QFontMetrics(painter.font())
        for row, target in enumerate(result.targets):
            box = self.cell_rect(0, row)
            if box.right() < _LABELS or box.left() > self.viewport().width():
                continue
            chosen = row == self._model.pointed_row
            painter.setPen(self._theme.color("text" if chosen else "muted"))
            painter.save()
            painter.setClipRect(_LABELS, 0, self.viewport().width(), self._head)
            painter.translate(box.center().x() + metrics.ascent() / 2 - 1, self._head - GRID)
            painter.rotate(-90)
            fitted = metrics.elidedText(
                one_line(target.text), Qt.TextElideMode.ElideRight, self._head - 2 * GRID
            )
            painter.drawText(0, 0, fitted)
            painter.restore()

    def _point(self) -> None:
        segment = self._model.segment
        if segment is not None and segment < self._rows and not self.underMouse():
            rect = self.cell_rect(segment, 0)
            bar = self.verticalScrollBar()
            if rect.top() < self._head:
                bar.setValue(segment * _ROW)
            elif rect.bottom() > self.viewport().height():
                bar.setValue((segment + 1) * _ROW - self.viewport().height() + self._head)
        self.viewport().update()

    # --- the mouse

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Point at the cell below the pointer."""
        self._model.hover(*self.cell_at(event.position().toPoint()))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Choose a segment, or a token of the target in the head."""
        if event.button() != Qt.MouseButton.LeftButton:
            return
        segment, row = self.cell_at(event.position().toPoint())
        if segment is not None:
            self._model.choose(segment)
        elif self._columns > 1:
            self._model.choose_row(None if row == self._model.row else row)

    def viewportEvent(self, event: QEvent) -> bool:
        """The exact value as a tool tip; nothing is pointed at from elsewhere."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            QToolTip.showText(event.globalPos(), self.words(*self.cell_at(event.pos())), self)
            return True
        if event.type() == QEvent.Type.Leave:
            self._model.hover(None)
        return super().viewportEvent(event)
