"""The logit lens as a grid: a row a layer, a column a position, the token that the model would say there."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPoint, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QHelpEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import QAbstractScrollArea, QFrame, QSizePolicy, QToolTip, QWidget

from views.models.candidates import visible_token
from views.models.looking import LensModel
from views.paint import LEVELS, mix, sequential_scale
from views.theme import CAPTION, GRID, Theme
from views.throttle import Throttle

_ROW, _COLUMN, _HEAD, _LABELS = 20, 60, 20, 28


class LensGrid(QAbstractScrollArea):
    """Paints only the cells that are seen; the head (the text itself) and the layers' numbers stay.

    The column in which the focused token is decided is framed.

    Signals:
        hovered: Position of the token that is decided below the pointer; None.
        chosen: Position of the token that is decided where was clicked.
    """

    hovered = Signal(object)
    chosen = Signal(int)

    def __init__(self, model: LensModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("lensView")
        self.setAccessibleName("Logit lens, layers by positions")
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.viewport().setMouseTracking(True)
        self.viewport().setAutoFillBackground(False)
        self._model, self._theme = model, theme
        self._hovered: tuple[int, int] | None = None
        self._width = 0
        self._throttle = Throttle(self._refresh, 60, self)
        model.changed.connect(self._throttle.call)
        model.focused_changed.connect(self._follow)
        theme.changed.connect(self.viewport().update)

    def sizeHint(self) -> QSize:
        """As high as all layers, up to a limit."""
        rows = len(self._model.layers)
        bar = self.horizontalScrollBar().sizeHint().height()
        return QSize(300, min(_HEAD + rows * _ROW + bar + 2, 560))

    def minimumSizeHint(self) -> QSize:
        """Never squeezed."""
        return QSize(160, self.sizeHint().height())

    @property
    def _columns(self) -> int:
        return len(self._model.started.positions) if self._model.started is not None else 0

    def cell_at(self, point: QPoint) -> tuple[int, int] | None:
        """Layer and column at a point of the viewport."""
        row = (point.y() - _HEAD + self.verticalScrollBar().value()) // _ROW
        column = (point.x() - _LABELS + self.horizontalScrollBar().value()) // _COLUMN
        layers = self._model.layers
        inside = point.y() >= _HEAD and point.x() >= _LABELS and row < len(layers) and column < self._columns
        return (layers[row], column) if inside else None

    def cell_rect(self, row: int, column: int) -> QRectF:
        """Where a cell is, in the viewport; rows count from the top."""
        left = _LABELS + column * _COLUMN - self.horizontalScrollBar().value()
        return QRectF(left, _HEAD + row * _ROW - self.verticalScrollBar().value(), _COLUMN, _ROW)

    def _follow(self) -> None:
        """Bring the column of the focused token into view, unless the pointer is here."""
        column, bar = self._model.deciding, self.horizontalScrollBar()
        if column is not None and self._hovered is None:
            left, room = column * _COLUMN, self.viewport().width() - _LABELS
            if not bar.value() <= left <= bar.value() + room - 2 * _COLUMN:
                bar.setValue(left - (room - _COLUMN) // 2)
        self.viewport().update()

    def _refresh(self) -> None:
        self._set_ranges()
        self.updateGeometry()
        self.viewport().update()

    def _set_ranges(self) -> None:
        wide = _LABELS + self._columns * _COLUMN
        bar = self.horizontalScrollBar()
        bar.setRange(0, max(0, wide - self.viewport().width()))
        bar.setPageStep(max(1, self.viewport().width() - _LABELS))
        bar.setSingleStep(_COLUMN)
        if wide != self._width:
            self._width = wide
            bar.setValue(bar.maximum())
        high = _HEAD + len(self._model.layers) * _ROW
        self.verticalScrollBar().setRange(0, max(0, high - self.viewport().height()))
        self.verticalScrollBar().setPageStep(max(1, self.viewport().height() - _HEAD))
        self.verticalScrollBar().setSingleStep(_ROW)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """More or fewer columns are seen."""
        super().resizeEvent(event)
        self._set_ranges()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Cells, then layers' numbers and the text over them."""
        started = self._model.started
        if started is None:
            return
        painter = QPainter(self.viewport())
        painter.setFont(self._theme.mono(CAPTION))
        left = self.horizontalScrollBar().value()
        first = left // _COLUMN
        last = min(self._columns, (left + self.viewport().width() - _LABELS) // _COLUMN + 1)
        for row, layer in enumerate(self._model.layers):
            self._paint_row(painter, row, layer, range(first, last))
        deciding = self._model.deciding
        if deciding is not None:
            frame = self.cell_rect(0, deciding).united(self.cell_rect(len(self._model.layers) - 1, deciding))
            painter.setPen(QPen(self._theme.color("accent"), 2))
            painter.drawRect(frame.adjusted(1, 1, -1, -1))
        window = self._theme.color("window")
        painter.fillRect(0, 0, self.viewport().width(), _HEAD, window)
        painter.setPen(self._theme.color("text"))
        own = self._model.column(self._model.focused)
        for column in range(first, last):
            box = self.cell_rect(0, column)
            box.moveTop(0)
            painter.setPen(self._theme.color("accent" if column == own else "text"))
            self._write(painter, box, visible_token(started.tokens[column], column))
        painter.fillRect(0, 0, _LABELS, self.viewport().height(), window)
        painter.setPen(self._theme.color("muted"))
        for row, layer in enumerate(self._model.layers):
            box = QRectF(0, self.cell_rect(row, 0).top(), _LABELS - GRID, _ROW)
            if box.top() >= _HEAD - 1:
                painter.drawText(box, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, str(layer))

    def _paint_row(self, painter: QPainter, row: int, layer: int, columns: range) -> None:
        known = self._model.rows.get(layer)
        colors = self._theme.colors
        scale = sequential_scale(colors.window, colors.text)
        blank = mix(self._theme.color("window"), self._theme.color("text"), 0.05)
        for column in columns:
            rect = self.cell_rect(row, column).adjusted(0.5, 0.5, -0.5, -0.5)
            share = self._model.share(layer, column)
            if known is None or share is None:
                painter.fillRect(rect, blank)
            else:
                tint = scale[round(share * (LEVELS - 1))]
                painter.fillRect(rect, tint.background)
                if tint.weight:
                    line = QRectF(rect.left(), rect.bottom() - tint.weight, rect.width(), tint.weight)
                    painter.fillRect(line, tint.underline)
            if known is not None:
                painter.setPen(self._theme.color("text"))
                self._write(painter, rect, visible_token(known.top_texts[column], known.top_ids[column]))
            if self._hovered == (layer, column):
                painter.setPen(QPen(self._theme.color("accent"), 1.6))
                painter.drawRect(rect)

    def _write(self, painter: QPainter, box: QRectF, text: str) -> None:
        inner = box.adjusted(3, 0, -3, 0)
        fitted = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, int(inner.width()))
        painter.drawText(inner, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, fitted)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Frame the cell below the pointer."""
        cell = self.cell_at(event.position().toPoint())
        if cell != self._hovered:
            self._hovered = cell
            self.hovered.emit(self._decided(cell))
            self.viewport().update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Put the focus on the token that is decided there."""
        position = self._decided(self.cell_at(event.position().toPoint()))
        if position is not None:
            self.chosen.emit(position)

    def _decided(self, cell: tuple[int, int] | None) -> int | None:
        started = self._model.started
        return None if cell is None or started is None else started.positions[cell[1]] + 1

    def viewportEvent(self, event: QEvent) -> bool:
        """All exact figures of a cell as a tool tip."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            cell = self.cell_at(event.pos())
            QToolTip.showText(event.globalPos(), self._model.words(*cell) if cell else "", self)
            return True
        if event.type() == QEvent.Type.Leave:
            self._hovered = None
            self.hovered.emit(None)
            self.viewport().update()
        return super().viewportEvent(event)
