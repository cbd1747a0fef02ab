"""The experts of a mixture: a grid of layers by tokens, the load of a layer, and experts switched off."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPoint, QRectF, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QHelpEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractScrollArea,
    QCheckBox,
    QComboBox,
    QFrame,
    QPushButton,
    QSizePolicy,
    QToolTip,
    QVBoxLayout,
    QWidget,
)

from views.models.candidates import visible_token
from views.models.experts import ExpertsMeasure, ExpertsModel
from views.paint import LEVELS, mix, sequential_scale
from views.panel_parts import EmptyPage, Ink, heading, note
from views.theme import CAPTION, GRID, Theme
from views.throttle import Throttle

_ROW, _COLUMN, _HEAD, _LABELS, _CHANGES = 20, 48, 20, 28, 14
_BAR = 72

_MEASURES: dict[ExpertsMeasure, str] = {
    "weight": "Share of the first expert",
    "entropy": "Entropy of the router",
    "expert": "Share of the chosen expert",
}


class ExpertsGrid(QAbstractScrollArea):
    """A row a layer, a column a token; in each cell the expert that has the largest share of it.

    Signals:
        cell_chosen: Layer and column that were clicked.
    """

    cell_chosen = Signal(int, int)

    def __init__(self, model: ExpertsModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("expertsView")
        self.setAccessibleName("Experts, layers by tokens")
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.viewport().setAutoFillBackground(False)
        self._model, self._theme = model, theme
        self._throttle = Throttle(self._refresh, 60, self)
        model.changed.connect(self._throttle.call)
        model.focused_changed.connect(self.viewport().update)
        theme.changed.connect(self.viewport().update)

    def sizeHint(self) -> QSize:
        """As high as all layers, up to a limit."""
        bar = self.horizontalScrollBar().sizeHint().height()
        return QSize(300, min(self._height() + bar + 2, 480))

    def minimumSizeHint(self) -> QSize:
        """Never squeezed."""
        return QSize(160, self.sizeHint().height())

    def _height(self) -> int:
        changes = _CHANGES if self._model.changes is not None else 0
        return _HEAD + changes + len(self._model.layers) * _ROW

    @property
    def _top(self) -> int:
        return _HEAD + (_CHANGES if self._model.changes is not None else 0)

    @property
    def _columns(self) -> int:
        return len(self._model.started.positions) if self._model.started is not None else 0

    def cell_at(self, point: QPoint) -> tuple[int, int] | None:
        """Layer and column at a point of the viewport."""
        row = (point.y() - self._top + self.verticalScrollBar().value()) // _ROW
        column = (point.x() - _LABELS + self.horizontalScrollBar().value()) // _COLUMN
        layers = self._model.layers
        inside = point.y() >= self._top and point.x() >= _LABELS
        return (layers[row], column) if inside and row < len(layers) and column < self._columns else None

    def cell_rect(self, row: int, column: int) -> QRectF:
        """Where a cell is, in the viewport; rows count from the top."""
        left = _LABELS + column * _COLUMN - self.horizontalScrollBar().value()
        return QRectF(left, self._top + row * _ROW - self.verticalScrollBar().value(), _COLUMN, _ROW)

    def _refresh(self) -> None:
        self._set_ranges()
        self.updateGeometry()
        self.viewport().update()

    def _set_ranges(self) -> None:
        wide, high = _LABELS + self._columns * _COLUMN, self._height()
        across, down = self.horizontalScrollBar(), self.verticalScrollBar()
        across.setRange(0, max(0, wide - self.viewport().width()))
        across.setPageStep(max(1, self.viewport().width() - _LABELS))
        across.setSingleStep(_COLUMN)
        down.setRange(0, max(0, high - self.viewport().height()))
        down.setPageStep(max(1, self.viewport().height() - self._top))
        down.setSingleStep(_ROW)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """More or fewer columns are seen."""
        super().resizeEvent(event)
        self._set_ranges()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Cells, then layers' numbers, the text, and how far each token's prediction has moved."""
        started = self._model.started
        if started is None:
            return
        painter = QPainter(self.viewport())
        painter.setFont(self._theme.mono(CAPTION))
        left = self.horizontalScrollBar().value()
        last = min(self._columns, (left + self.viewport().width() - _LABELS) // _COLUMN + 1)
        columns = range(left // _COLUMN, last)
        for row, layer in enumerate(self._model.layers):
            self._paint_row(painter, row, layer, columns)
        window = self._theme.color("window")
        painter.fillRect(0, 0, self.viewport().width(), self._top, window)
        for column in columns:
            box = self.cell_rect(0, column)
            box.moveTop(0)
            focused = started.positions[column] == self._model.focused
            painter.setPen(self._theme.color("accent" if focused else "text"))
            self._write(painter, box, visible_token(started.tokens[column], column))
            self._paint_change(painter, box, column)
        painter.fillRect(0, 0, _LABELS, self.viewport().height(), window)
        for row, layer in enumerate(self._model.layers):
            box = QRectF(0, self.cell_rect(row, 0).top(), _LABELS - GRID, _ROW)
            if box.top() >= self._top - 1:
                painter.setPen(self._theme.color("accent" if layer == self._model.layer else "muted"))
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
                continue
            tint = scale[round(share * (LEVELS - 1))]
            painter.fillRect(rect, tint.background)
            if tint.weight:
                line = QRectF(rect.left(), rect.bottom() - tint.weight, rect.width(), tint.weight)
                painter.fillRect(line, tint.underline)
            first = known.experts[column][0]
            painter.setPen(self._theme.color("text"))
            gone = (layer, first) in self._model.off
            self._write(painter, rect, f"×{first}" if gone else str(first))
            if layer == self._model.layer and self._model.expert in known.experts[column]:
                painter.setPen(QPen(self._theme.color("accent"), 1.4))
                painter.drawRect(rect)

    def _paint_change(self, painter: QPainter, head: QRectF, column: int) -> None:
        changes = self._model.changes
        if changes is None:
            return
        top = max(changes.divergences) or 1.0
        height = (_CHANGES - 3) * changes.divergences[column] / top
        bar = QRectF(head.left() + 2, _HEAD + _CHANGES - 2 - height, head.width() - 4, height)
        painter.fillRect(bar, self._theme.color("accent"))

    @staticmethod
    def _write(painter: QPainter, box: QRectF, text: str) -> None:
        shown = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, int(box.width()) - 4)
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, shown)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Choose the layer and the cell's first expert."""
        cell = self.cell_at(event.position().toPoint())
        if cell is not None:
            self.cell_chosen.emit(*cell)

    def viewportEvent(self, event: QEvent) -> bool:
        """The exact figures as a tool tip."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            cell = self.cell_at(event.pos())
            QToolTip.showText(event.globalPos(), self._model.words(*cell) if cell else "", self)
            return True
        return super().viewportEvent(event)


class ExpertsLoad(QWidget):
    """How often each expert of the chosen layer is called; the line is an even load.

    Signals:
        expert_chosen: Number of the expert that was clicked.
    """

    expert_chosen = Signal(int)

    def __init__(self, model: ExpertsModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("expertsLoad")
        self.setAccessibleName("Load of the layer's experts")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(_BAR + 4 * GRID)
        self._model, self._theme = model, theme
        model.changed.connect(self.update)
        theme.changed.connect(self.update)

    def expert_at(self, x: float) -> int | None:
        """The expert whose bar is at a place."""
        started = self._model.started
        if started is None or not 0 <= x < self.width():
            return None
        return int(x * started.experts / self.width())

    def paintEvent(self, event: QPaintEvent) -> None:
        """A bar an expert."""
        row, started = self._model.rows.get(self._model.layer), self._model.started
        if row is None or started is None:
            return
        painter = QPainter(self)
        painter.setFont(self._theme.mono(CAPTION))
        width, most = self.width() / started.experts, max(max(row.load), 1 / started.experts)
        for expert, load in enumerate(row.load):
            gone = (self._model.layer, expert) in self._model.off
            box = QRectF(expert * width + 1, 0, max(1.0, width - 2), _BAR)
            bar = QRectF(box.left(), _BAR * (1 - load / most), box.width(), _BAR * load / most)
            chosen = expert == self._model.expert
            color = self._theme.color("accent" if chosen else "muted")
            painter.fillRect(bar, mix(self._theme.color("window"), color, 0.3 if gone else 1.0))
            if width >= 16 or expert % 8 == 0:
                painter.setPen(self._theme.color("accent" if chosen else "text"))
                label = QRectF(box.left() - 12, _BAR, box.width() + 24, 4 * GRID)
                painter.drawText(label, Qt.AlignmentFlag.AlignCenter, f"×{expert}" if gone else str(expert))
        painter.setPen(QPen(self._theme.color("text"), 1, Qt.PenStyle.DashLine))
        even = _BAR * (1 - 1 / started.experts / most)
        painter.drawLine(0, round(even), self.width(), round(even))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Choose the expert."""
        expert = self.expert_at(event.position().x())
        if expert is not None:
            self.expert_chosen.emit(expert)

    def event(self, event: QEvent) -> bool:
        """The exact load as a tool tip."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            expert = self.expert_at(event.pos().x())
            words = self._model.load_words(self._model.layer, expert) if expert is not None else ""
            QToolTip.showText(event.globalPos(), words, self)
            return True
        return super().event(event)


class ExpertsPage(QWidget):
    """The experts' page of the Lens tab.

    Signals:
        look_requested: Read the conversation and tell its routing, without the experts that are off.
    """

    look_requested = Signal()

    def __init__(
        self, model: ExpertsModel, theme: Theme, state: QWidget, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("expertsPage")
        self._model, self._theme = model, theme
        self.grid, self.load = ExpertsGrid(model, theme), ExpertsLoad(model, theme)
        self._empty = EmptyPage(
            "Who does the work?",
            "In a mixture of experts a router sends each token to a few of many experts, in every layer. See "
            "which, how the load is spread, and what changes when an expert is switched off.",
            "Look at this conversation",
            "expertsNow",
            theme,
        )
        self._empty.layout().setContentsMargins(0, GRID, 0, GRID)  # type: ignore[union-attr]
        self._empty.clicked.connect(self.look_requested)
        self._missing = note("", theme)
        self._measure = QComboBox()
        self._measure.setObjectName("expertsMeasure")
        self._measure.setAccessibleName("Colour by")
        for name, title in _MEASURES.items():
            self._measure.addItem(title, name)
        self._measure.activated.connect(lambda _: model.set_measure(self._measure.currentData()))
        self._title = heading("", theme)
        self._switch = QPushButton()
        self._switch.setObjectName("switchExpert")
        self._switch.clicked.connect(self._toggle)
        self._again = QPushButton("All experts on")
        self._again.setObjectName("allExpertsOn")
        self._again.clicked.connect(self._restore)
        self._replies = QCheckBox("Leave those that are off out of replies, too")
        self._replies.setObjectName("expertsInReplies")
        self._replies.setToolTip("A reply that is being written feels it at its next token.")
        self._replies.toggled.connect(model.set_in_replies)
        self._summary = Ink("", theme, wrap=True)
        self._summary.setObjectName("expertsChange")
        self.grid.cell_chosen.connect(self._choose_cell)
        self.load.expert_chosen.connect(lambda expert: model.choose(model.layer, expert))
        self._shown = QWidget()
        inside = QVBoxLayout(self._shown)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.setSpacing(2 * GRID)
        hint = (
            "A number is the expert with the largest share of the token; the last layer is on top. Click a "
            "cell to choose its layer and expert; point at it for all shares."
        )
        for part in (
            heading("Colour: from nothing (pale) to all", theme),
            self._measure,
            self.grid,
            note(hint, theme),
            self._title,
            self.load,
            self._summary,
        ):
            inside.addWidget(part)
        buttons = QVBoxLayout()  # side by side they are too wide for the panel
        for button in (self._switch, self._again):
            buttons.addWidget(button, 0, Qt.AlignmentFlag.AlignLeft)
        inside.insertLayout(inside.count() - 1, buttons)
        inside.insertWidget(inside.count() - 1, self._replies)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2 * GRID)
        for page in (self._empty, self._missing, state, self._shown):
            column.addWidget(page)
        column.addStretch(1)
        model.changed.connect(self._show)
        model.state_changed.connect(self._show)
        self._show()

    def _choose_cell(self, layer: int, column: int) -> None:
        self._model.choose(layer, self._model.rows[layer].experts[column][0])

    def _toggle(self) -> None:
        model = self._model
        if model.expert is not None:
            model.switch(model.layer, model.expert, (model.layer, model.expert) in model.off)
            self.look_requested.emit()

    def _restore(self) -> None:
        for layer, expert in self._model.off:
            self._model.switch(layer, expert, True)
        self.look_requested.emit()

    def _show(self) -> None:
        model = self._model
        known, working = model.started is not None, model.state == "working"
        self._missing.setText(
            ""
            if model.available
            else "The loaded model is not a mixture of experts: each token goes through all of it."
        )
        self._missing.setVisible(not model.available)
        self._empty.setVisible(model.available and not known and not working)
        self._shown.setVisible(known)
        self._title.setText(f"Load of layer {model.layer} (dashed: even)")
        on = (model.layer, model.expert) not in model.off
        name = f"expert {model.expert} of layer {model.layer}"
        self._switch.setText(
            "Choose an expert to switch it off"
            if model.expert is None
            else f"Switch {name} {'off' if on else 'on'}"
        )
        self._switch.setEnabled(model.expert is not None and not working)
        self._summary.setText(model.summary())
        self._summary.setVisible(bool(model.summary()))
        self._again.setVisible(bool(model.off))
        self._replies.setVisible(bool(model.off))
        with QSignalBlocker(self._replies):
            self._replies.setChecked(model.in_replies)
        self._again.setEnabled(not working)
