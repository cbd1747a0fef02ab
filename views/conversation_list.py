"""The side list of conversations."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPoint, Qt, QTimer, Signal
from PySide6.QtWidgets import (
    QLabel,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from views.conversation_rows import ConversationRows, SearchField
from views.keys import FieldKeys
from views.models.conversations import ConversationId, ConversationsModel
from views.theme import Theme
from views.undo_bar import UndoBar


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
        self.search = SearchField(self)
        self.search.setObjectName("conversationSearch")
        self.search.setProperty("kind", "search")
        self.search.setPlaceholderText("Search (Ctrl+K)")
        self.search.setAccessibleName("Search conversations")
        self.search.setClearButtonEnabled(True)
        self.search.textChanged.connect(self._filter)
        FieldKeys(self.search, own=("Esc",))
        self.view = ConversationRows(theme, self)
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
        if text:
            self.view.scrollToTop()
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
