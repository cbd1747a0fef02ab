"""The side list of conversations."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPoint, QRect, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent, QPainter, QResizeEvent
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListView,
    QMenu,
    QPushButton,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from views.keys import FieldKeys
from views.models.conversations import ConversationId, ConversationsModel
from views.theme import BODY, CAPTION, Theme

_Index = QModelIndex | QPersistentModelIndex
#: How long a deletion can be undone.
UNDO_MS = 10_000


class ConversationList(QWidget):
    """New, search, open, rename in place, delete with undo, export."""

    new_requested = Signal()
    #: A conversation was chosen: id.
    opened = Signal(object)
    #: Take it off the list now; it can come back until :attr:`delete_settled`: id.
    delete_requested = Signal(object)
    #: Bring a deleted conversation back: id.
    undo_delete_requested = Signal(object)
    #: The deletion can no longer be undone: id.
    delete_settled = Signal(object)
    #: Write a conversation to a file: id, "markdown" or "json".
    export_requested = Signal(object, str)
    #: The search text changed (after a short pause).
    search_changed = Signal(str)

    def __init__(self, model: ConversationsModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("conversationPanel")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setMinimumWidth(200)
        self.model = model
        self._current: ConversationId | None = None
        new = QPushButton(" New chat", self)
        new.setObjectName("newChatButton")
        new.setToolTip("New chat (Ctrl+N)")
        theme.set_icon(new, "new")
        new.clicked.connect(self.new_requested)
        self.search = _Search(self)
        self.search.setObjectName("conversationSearch")
        self.search.setProperty("kind", "search")
        self.search.setPlaceholderText("Search (Ctrl+K)")
        self.search.setAccessibleName("Search conversations")
        self.search.setClearButtonEnabled(True)
        self.search.textChanged.connect(self._filter)
        FieldKeys(self.search, own=("Esc",))
        self.view = _View(theme, self)
        self.view.setModel(model)
        self.view.clicked.connect(self._open)
        self.view.activated.connect(self._open)
        self.view.delete_pressed.connect(self._delete_current)
        self.view.customContextMenuRequested.connect(self._menu)
        self._empty = QLabel(self)
        self._empty.setWordWrap(True)
        self._empty.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self._empty.setProperty("tone", "faint")
        self._empty.setContentsMargins(12, 24, 12, 0)
        self.undo = UndoBar(theme, self)
        self.undo.undone.connect(self.undo_delete_requested)
        self.undo.settled.connect(self.delete_settled)
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(200)
        self._pause.timeout.connect(self._search)
        #: What the Tab key walks, in order.
        self.tab_stops: list[QWidget] = [new, self.search, self.view]
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 8, 8, 8)
        column.setSpacing(8)
        column.addWidget(new)
        column.addWidget(self.search)
        column.addWidget(self._empty)
        column.addWidget(self.view, 1)
        column.addWidget(self.undo)
        model.modelReset.connect(self._restore)
        self._restore()

    def set_current(self, conversation_id: ConversationId | None) -> None:
        """Mark the conversation that is open."""
        self._current = conversation_id
        self._restore()

    def start_search(self) -> None:
        """Put the keyboard into the search field."""
        self.search.setFocus()
        self.search.selectAll()

    def rename(self, conversation_id: ConversationId) -> None:
        """Open a title for editing, in its row."""
        row = self.model.row_of(conversation_id)
        if row >= 0:
            index = self.model.index(row)
            self.view.setCurrentIndex(index)
            self.view.edit(index)

    def delete(self, conversation_id: ConversationId) -> None:
        """Ask for a conversation to go, and offer to undo it."""
        entry = self.model.entry(conversation_id)
        if entry is not None:
            self.delete_requested.emit(conversation_id)
            self.undo.offer(conversation_id, entry.title or "New chat")

    def _open(self, index: QModelIndex) -> None:
        conversation_id = index.data(self.model.id_role)
        if conversation_id is not None and conversation_id != self._current:
            self.opened.emit(conversation_id)

    def _delete_current(self) -> None:
        conversation_id = self.view.currentIndex().data(self.model.id_role)
        if conversation_id is not None:
            self.delete(conversation_id)

    def _menu(self, point: QPoint) -> None:
        conversation_id = self.view.indexAt(point).data(self.model.id_role)
        if conversation_id is None:
            return
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.addAction("Rename").triggered.connect(lambda: self.rename(conversation_id))
        markdown = menu.addAction("Export as Markdown…")
        markdown.triggered.connect(lambda: self.export_requested.emit(conversation_id, "markdown"))
        json = menu.addAction("Export as JSON…")
        json.triggered.connect(lambda: self.export_requested.emit(conversation_id, "json"))
        menu.addSeparator()
        menu.addAction("Delete").triggered.connect(lambda: self.delete(conversation_id))
        menu.popup(self.view.viewport().mapToGlobal(point))

    def _filter(self, text: str) -> None:
        self.model.set_filter(text)
        self._pause.start()

    def _search(self) -> None:
        self.search_changed.emit(self.search.text().strip())

    def _restore(self) -> None:
        row = self.model.row_of(self._current) if self._current is not None else -1
        if row >= 0:
            self.view.setCurrentIndex(self.model.index(row))
        else:
            self.view.clearSelection()
            self.view.setCurrentIndex(QModelIndex())
        empty = self.model.rowCount() == 0
        self._empty.setVisible(empty)
        self.view.setVisible(not empty)
        filtering = self.model.filtering
        self._empty.setText("Nothing found." if filtering else "Your conversations will appear here.")
        layout = self.layout()
        if isinstance(layout, QVBoxLayout):
            layout.setStretchFactor(self._empty, 1 if empty else 0)


class _Search(QLineEdit):
    """Esc empties it."""

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.clear()
        else:
            super().keyPressEvent(event)


class _View(QListView):
    delete_pressed = Signal()

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("conversationList")
        self.setAccessibleName("Conversations")
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setMouseTracking(True)
        self.setUniformItemSizes(False)
        self.setEditTriggers(QListView.EditTrigger.EditKeyPressed | QListView.EditTrigger.DoubleClicked)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self.setItemDelegate(_Delegate(theme, self))
        theme.changed.connect(self.viewport().update)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Delete:
            self.delete_pressed.emit()
        else:
            super().keyPressEvent(event)


class _Delegate(QStyledItemDelegate):
    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme

    def sizeHint(self, option: QStyleOptionViewItem, index: _Index) -> QSize:
        heading = index.data(ConversationsModel.heading_role)
        return QSize(120, (36 if index.row() else 24) if heading else 32)

    def createEditor(self, parent: QWidget, option: QStyleOptionViewItem, index: _Index) -> QWidget:
        editor = QLineEdit(parent)
        editor.setObjectName("renameField")
        editor.setAccessibleName("Title of the conversation")
        FieldKeys(editor, own=("Esc",))
        return editor

    def updateEditorGeometry(self, editor: QWidget, option: QStyleOptionViewItem, index: _Index) -> None:
        rect: QRect = option.rect
        editor.setGeometry(rect.adjusted(0, 1, 0, -1))

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: _Index) -> None:
        rect: QRect = option.rect
        state: QStyle.StateFlag = option.state
        theme = self._theme
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if index.data(ConversationsModel.heading_role):
            painter.setFont(theme.font(CAPTION))
            painter.setPen(theme.color("faint"))
            flags = Qt.AlignmentFlag.AlignBottom | Qt.AlignmentFlag.AlignLeft
            painter.drawText(rect.adjusted(8, 0, -8, -6), flags, index.data())
        else:
            selected = bool(state & QStyle.StateFlag.State_Selected)
            if selected or state & QStyle.StateFlag.State_MouseOver:
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(theme.color("pressed" if selected else "hover"))
                painter.drawRoundedRect(rect.adjusted(0, 1, 0, -1), 6, 6)
            if state & QStyle.StateFlag.State_HasFocus and option.widget.hasFocus():
                painter.setPen(theme.color("accent"))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.drawRoundedRect(rect.adjusted(1, 2, -1, -2), 6, 6)
            self._paint_title(painter, rect, index, selected)
        painter.restore()

    def _paint_title(self, painter: QPainter, rect: QRect, index: _Index, selected: bool) -> None:
        theme = self._theme
        busy = index.data(ConversationsModel.busy_role)
        interrupted = index.data(ConversationsModel.interrupted_role)
        room = rect.adjusted(8, 0, -24 if busy or interrupted else -8, 0)
        painter.setFont(theme.font(BODY, bold=selected))
        painter.setPen(theme.color("text"))
        title = painter.fontMetrics().elidedText(index.data(), Qt.TextElideMode.ElideRight, room.width())
        painter.drawText(room, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, title)
        if busy or interrupted:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.color("accent" if busy else "warning"))
            painter.drawEllipse(QPoint(rect.right() - 12, rect.center().y() + 1), 3, 3)


class UndoBar(QFrame):
    """Offers to bring back what was deleted, for a while."""

    undone = Signal(object)
    settled = Signal(object)

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("undoBar")
        self._theme = theme
        self._id: ConversationId | None = None
        self._title = ""
        self._label = QLabel(self)
        self._label.setMinimumWidth(40)
        button = QToolButton(self)
        button.setObjectName("undoDelete")
        button.setText("Undo")
        button.setAccessibleName("Bring the conversation back")
        button.clicked.connect(self._undo)
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 4, 4, 4)
        row.addWidget(self._label, 1)
        row.addWidget(button)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(UNDO_MS)
        self._timer.timeout.connect(self.settle)
        self.hide()

    def offer(self, conversation_id: ConversationId, title: str) -> None:
        """Show the bar for this conversation; an earlier one is settled."""
        self.settle()
        self._id = conversation_id
        self._label.setToolTip(title)
        self._title = title
        self.show()
        self._fit()
        self._timer.start()

    def settle(self) -> None:
        """The deletion stands."""
        gone = self._take()
        if gone is not None:
            self.settled.emit(gone)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        words = f"Deleted “{self._title}”"
        metrics = self._label.fontMetrics()
        self._label.setText(metrics.elidedText(words, Qt.TextElideMode.ElideRight, self._label.width()))

    def _undo(self) -> None:
        back = self._take()
        if back is not None:
            self.undone.emit(back)

    def _take(self) -> ConversationId | None:
        taken, self._id = self._id, None
        self._timer.stop()
        self.hide()
        return taken
