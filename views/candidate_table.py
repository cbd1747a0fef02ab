"""The candidates of a token as a table with bars, raw above sampled."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPoint, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QFontMetrics, QKeyEvent, QPainter
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QMenu,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from inference.events import Candidate
from views.legend import swatch_fill
from views.models.candidates import CandidateRole, CandidatesModel, Column, visible_token
from views.theme import BODY, CAPTION, GRID, Theme

_Index = QModelIndex | QPersistentModelIndex
_BIASES = (("Never draw it (−100 logits)", -100.0), ("Less likely (−2 logits)", -2.0))
_BOOSTS = (("More likely (+2 logits)", 2.0), ("Much more likely (+5 logits)", 5.0), ("No bias", 0.0))


class _CandidateDelegate(QStyledItemDelegate):
    """Paints cells: text in the monospaced font, probabilities as a number over a bar."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: _Index) -> None:
        painter.save()
        painter.setClipRect(option.rect)
        if option.state & QStyle.StateFlag.State_Selected:
            painter.fillRect(option.rect, self._theme.color("selection"))
        column = Column(index.column())
        if column in (Column.RAW, Column.SAMPLED):
            self._paint_bar(painter, QRectF(option.rect), index, column)
        else:
            self._paint_text(painter, QRectF(option.rect), index, column)
        painter.restore()

    def sizeHint(self, option: QStyleOptionViewItem, index: _Index) -> QSize:
        metrics = QFontMetrics(self._theme.mono(CAPTION))
        text = str(index.data())
        return QSize(metrics.horizontalAdvance(text) + 3 * GRID, 6 * GRID)

    def _paint_text(self, painter: QPainter, box: QRectF, index: _Index, column: Column) -> None:
        chosen = bool(index.data(CandidateRole.CHOSEN))
        font = self._theme.mono(BODY if column == Column.TOKEN else CAPTION)
        if chosen and column == Column.TOKEN:
            font.setBold(True)
        painter.setFont(font)
        tone = "text" if column == Column.TOKEN else "muted"
        painter.setPen(self._theme.color(tone))
        inner = box.adjusted(GRID, 0, -GRID, 0)
        side = Qt.AlignmentFlag.AlignLeft if column == Column.TOKEN else Qt.AlignmentFlag.AlignRight
        text = str(index.data())
        if chosen and column == Column.TOKEN:
            text = f"{text} ✓"
        fitted = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, int(inner.width()))
        painter.drawText(inner, side | Qt.AlignmentFlag.AlignVCenter, fitted)

    def _paint_bar(self, painter: QPainter, box: QRectF, index: _Index, column: Column) -> None:
        probability = index.data(CandidateRole.PROBABILITY)
        if probability is None:
            return
        fill = swatch_fill(self._theme, "raw" if column == Column.RAW else "sampled")[0]
        track = box.adjusted(GRID, box.height() - 7, -GRID, -3)
        painter.fillRect(track, self._theme.color("hover"))
        track.setWidth(track.width() * probability)
        painter.fillRect(track, fill)
        painter.setFont(self._theme.mono(CAPTION))
        painter.setPen(self._theme.color("text" if probability > 0 else "faint"))
        flags = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(box.adjusted(GRID, 0, -GRID, -5), flags, str(index.data()))


class CandidateTable(QTableView):
    """The candidates of the token in focus; a click or Enter branches the reply there.

    Args:
        candidates: What is shown.
        theme: Colours and fonts.

    Signals:
        candidate_activated: The :class:`~inference.events.Candidate` clicked, or chosen with Enter.
        row_reached: Number of the row that the up and down keys reached.
        contrast_requested: The :class:`~inference.events.Candidate` that did not come: why not?
        bias_requested: (token id, text, bias in logits) from the context menu.
    """

    candidate_activated = Signal(object)
    row_reached = Signal(int)
    bias_requested = Signal(int, str, float)
    contrast_requested = Signal(object)

    def __init__(self, candidates: CandidatesModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._candidates = candidates
        self.setObjectName("candidateTable")
        self.setAccessibleName("Candidates for this token")
        self.setModel(candidates)
        self.setItemDelegate(_CandidateDelegate(theme, self))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setShowGrid(False)
        self.setTabKeyNavigation(False)
        self.setMouseTracking(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self._set_up_headers(QFontMetrics(theme.mono(CAPTION)))
        self.clicked.connect(self._clicked)
        self.customContextMenuRequested.connect(self._show_menu)
        self.selectionModel().currentRowChanged.connect(self._current_changed)
        theme.changed.connect(self.viewport().update)
        candidates.modelReset.connect(self._fit)
        self._fit()

    def sizeHint(self) -> QSize:
        """High enough for all candidates."""
        rows = self.model().rowCount()
        return QSize(300, self.horizontalHeader().height() + rows * 6 * GRID + 2)

    def minimumSizeHint(self) -> QSize:
        """Never squeezed: the panel scrolls."""
        return QSize(160, self.sizeHint().height())

    def choose_row(self, row: int | None) -> None:
        """Put the bar on a row without announcing it; None takes it away."""
        if row is None:
            self.clearSelection()
            self.setCurrentIndex(QModelIndex())
        elif row != self.currentIndex().row() and 0 <= row < self.model().rowCount():
            self.selectRow(row)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter branches; the rest is as in any table."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentIndex().isValid():
            self.candidate_activated.emit(self._candidates.candidate(self.currentIndex().row()))
            return
        super().keyPressEvent(event)

    def bias_menu(self, row: int) -> QMenu:
        """What can be done with a candidate besides branching."""
        candidate = self._candidates.candidate(row)
        menu = QMenu(self)
        branch = menu.addAction(f"Branch from here with {visible_token(candidate.text, candidate.id)}")
        branch.triggered.connect(lambda: self.candidate_activated.emit(candidate))
        place = self._candidates.place
        if place is not None and candidate.id != place.token.id:
            why = menu.addAction(f"Why not {visible_token(candidate.text, candidate.id)}?")
            why.triggered.connect(lambda: self.contrast_requested.emit(candidate))
        menu.addSeparator()
        for title, bias in (*_BIASES, *_BOOSTS):
            action = menu.addAction(title)
            action.triggered.connect(lambda _=False, bias=bias: self._ask_bias(candidate, bias))
        return menu

    def _set_up_headers(self, metrics: QFontMetrics) -> None:
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(6 * GRID)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionsClickable(False)
        header.setMinimumSectionSize(5 * GRID)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(Column.TOKEN, QHeaderView.ResizeMode.Stretch)
        widths = {Column.RANK: "≥20", Column.RAW: "<0.01 % ", Column.SAMPLED: "<0.01 % ", Column.ID: "000000"}
        for column, sample in widths.items():
            header.resizeSection(column, metrics.horizontalAdvance(sample) + 3 * GRID)

    def _fit(self) -> None:
        place = self._candidates.place
        self.setColumnHidden(Column.SAMPLED, place is not None and place.sampled_prob is None)
        self.setColumnHidden(Column.RAW, place is not None and place.origin == "server-sampled")
        self.updateGeometry()

    def _clicked(self, index: QModelIndex) -> None:
        self.candidate_activated.emit(self._candidates.candidate(index.row()))

    def _current_changed(self, current: QModelIndex) -> None:
        if current.isValid():
            self.row_reached.emit(current.row())

    def _show_menu(self, point: QPoint) -> None:
        index = self.indexAt(point)
        if index.isValid():
            menu = self.bias_menu(index.row())
            menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
            menu.popup(self.viewport().mapToGlobal(point))

    def _ask_bias(self, candidate: Candidate, bias: float) -> None:
        self.bias_requested.emit(candidate.id, candidate.text, bias)
