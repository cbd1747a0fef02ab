"""The libraries, the open one's documents, and how they come in and go."""

from __future__ import annotations

from typing import cast

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QKeySequence, QResizeEvent, QShortcut
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QLineEdit,
    QMenu,
    QPushButton,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from inference.events import DocumentEntry
from views.document_intents import DocumentIntents
from views.drop_area import DropArea
from views.index_progress import IndexProgressBar
from views.library_parts import DeletedLibraryBar, EmbedderRow, embedder_words
from views.models.library import LibraryModel
from views.panel_parts import Ink, tool_button
from views.theme import CAPTION, GRID, Theme

_NAME = 6  # letters of a file's name that are seen before its pages are


class LibraryPanel(QWidget):
    """Left of the questions."""

    def __init__(
        self, model: LibraryModel, intents: DocumentIntents, theme: Theme, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("libraryPanel")
        self._model, self._intents = model, intents
        self.picker = QComboBox()
        self.picker.setObjectName("libraryPicker")
        self.picker.setAccessibleName("Library")
        self.picker.textActivated.connect(intents.library_chosen)
        self.add = tool_button(theme, "new", "New library", "newLibrary")
        self.add.clicked.connect(self._begin_naming)
        self.more = tool_button(theme, "more", "More about this library", "libraryMenu")
        self.more.setPopupMode(self.more.ToolButtonPopupMode.InstantPopup)
        self.more.setMenu(self._menu())
        self.name = QLineEdit()
        self.name.setObjectName("libraryName")
        self.name.setAccessibleName("Name of the new library")
        self.name.setPlaceholderText("Name, then Enter")
        self.name.returnPressed.connect(self._named)
        self.name.hide()
        self._renaming = False
        self.embedder = EmbedderRow(model, intents, theme)
        self.deleted = DeletedLibraryBar(model, intents, theme)
        top = QHBoxLayout()
        top.setSpacing(GRID)
        top.addWidget(self.picker, 1)
        top.addWidget(self.name, 1)
        top.addWidget(self.add)
        top.addWidget(self.more)
        self.drop = DropArea(intents, theme)
        self.progress = IndexProgressBar(model, intents, theme)
        self.table = _FileTable(model, intents)
        self.remove = QPushButton("Take out")
        self.remove.setObjectName("removeDocuments")
        self.remove.setToolTip("Take the selected documents out of the library (Delete); the files stay")
        self.remove.setProperty("kind", "quiet")
        self.remove.clicked.connect(self.table.remove_selected)
        self.count = Ink("", theme, tone="muted", size=CAPTION, wrap=True)
        self.count.setObjectName("libraryCount")
        self.password = _PasswordRow(intents, theme)
        bottom = QHBoxLayout()
        bottom.addWidget(self.count, 1)
        bottom.addWidget(self.remove)
        self._column = column = QVBoxLayout(self)
        column.setContentsMargins(3 * GRID, 3 * GRID, 3 * GRID, 2 * GRID)
        column.setSpacing(2 * GRID)
        column.addLayout(top)
        column.addWidget(self.embedder)
        column.addWidget(self.deleted)
        column.addWidget(self.drop)
        column.addWidget(self.progress)
        column.addWidget(self.table, 1)
        column.addStretch(0)
        column.addWidget(self.password)
        column.addLayout(bottom)
        model.changed.connect(self._show)
        for signal in (model.documents.modelReset, model.documents.rowsInserted, model.documents.dataChanged):
            signal.connect(self._show)
        self.table.selectionModel().selectionChanged.connect(self._show_selected)
        self._show()
        self._show_selected()

    def _show(self, *_: object) -> None:
        names = list(self._model.names)
        if [self.picker.itemText(row) for row in range(self.picker.count())] != names:
            self.picker.clear()
            self.picker.addItems(names)
        self.picker.setCurrentText(self._model.current)
        entries = self._model.documents.entries
        unreadable = sum(entry.state == "unreadable" for entry in entries)
        words = f"{len(entries):,} document{'' if len(entries) == 1 else 's'}"
        if passages := sum(entry.passages for entry in entries):
            words += f", {passages:,} passages"
        if unreadable:
            words += f", {unreadable:,} not read"
        self.count.setText(words if entries else "")
        self.count.setToolTip(f"Searched by meaning with {embedder_words(self._model.embedder)}")
        self.table.setVisible(bool(entries))
        self._column.setStretch(self._column.count() - 3, 0 if entries else 1)
        self._show_selected()

    def _show_selected(self, *_: object) -> None:
        selected = self.table.selected()
        self.remove.setVisible(bool(selected))
        entry = selected[0] if len(selected) == 1 else None
        self.password.ask_for(entry if entry is not None and entry.reason == "password" else None)

    def _menu(self) -> QMenu:
        menu = QMenu(self)
        menu.setObjectName("libraryMenuItems")
        for name, words, slot in (
            ("renameLibrary", "Rename…", self._begin_renaming),
            ("deleteLibrary", "Delete this library", self._intents.library_deleted.emit),
        ):
            action = menu.addAction(words)
            action.setObjectName(name)
            action.triggered.connect(lambda _=False, slot=slot: slot())
        return menu

    def _begin_naming(self) -> None:
        self._show_naming(self.name.isHidden(), renaming=False)

    def _begin_renaming(self) -> None:
        self._show_naming(True, renaming=True)
        self.name.setText(self._model.current)
        self.name.selectAll()

    def _show_naming(self, naming: bool, *, renaming: bool) -> None:
        self._renaming = renaming
        self.name.setAccessibleName("New name of the library" if renaming else "Name of the new library")
        self.name.setVisible(naming)
        self.picker.setVisible(not naming)
        self.embedder.setVisible(naming and not renaming)
        if naming:
            self.name.clear()
            self.name.setFocus()

    def _named(self) -> None:
        name = self.name.text().strip()
        renaming = self._renaming
        self._show_naming(False, renaming=False)
        if name:
            (self._intents.library_renamed if renaming else self._intents.library_made).emit(name)


class _FileTable(QTableView):
    """The documents; Delete takes the selected ones out."""

    def __init__(self, model: LibraryModel, intents: DocumentIntents) -> None:
        super().__init__()
        self.setObjectName("fileTable")
        self.setAccessibleName("Documents of the library")
        self._documents, self._intents = model.documents, intents
        self.setModel(model.documents)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setWordWrap(False)
        self.setShowGrid(False)
        self.setTabKeyNavigation(False)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(26)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(2 * GRID)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(2, QHeaderView.ResizeMode.Fixed)
        keys = QShortcut(QKeySequence(QKeySequence.StandardKey.Delete), self)
        keys.setContext(Qt.ShortcutContext.WidgetShortcut)
        keys.activated.connect(self.remove_selected)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in (QEvent.Type.StyleChange, QEvent.Type.FontChange):
            self._fit()

    def _fit(self) -> None:
        """Heads are never cut: pages make room for the names first, then the state's longest words do."""
        header, text = self.horizontalHeader(), self.fontMetrics()
        self.setColumnHidden(1, False)  # a hidden section has no size to ask for
        name, pages, state = (header.sectionSizeHint(section) for section in range(3))
        longest = max(state, text.horizontalAdvance("unknown format") + 5 * GRID)
        room = self.viewport().width()
        names = max(name, text.horizontalAdvance("m" * _NAME))
        self.setColumnHidden(1, room < names + pages + longest)
        header.resizeSection(1, pages)
        header.resizeSection(2, max(state, min(longest, room - name)))

    def selected(self) -> list[DocumentEntry]:
        """The selected documents."""
        role = self._documents.entry_role
        rows = self.selectionModel().selectedRows()
        return [cast("DocumentEntry", self._documents.data(index, role)) for index in rows]

    def remove_selected(self) -> None:
        """Ask for them to be taken out."""
        if files := [entry.file for entry in self.selected()]:
            self._intents.remove_requested.emit(files)


class _PasswordRow(QWidget):
    """Asks for the password of a protected document."""

    def __init__(self, intents: DocumentIntents, theme: Theme) -> None:
        super().__init__()
        self._intents = intents
        self._file = ""
        self.field = QLineEdit()
        self.field.setObjectName("documentPassword")
        self.field.setAccessibleName("Password of the document")
        self.field.setPlaceholderText("Password")
        self.field.setEchoMode(QLineEdit.EchoMode.Password)
        self.field.returnPressed.connect(self._give)
        button = QPushButton("Read it")
        button.setObjectName("givePassword")
        button.clicked.connect(self._give)
        self._words = Ink("", theme, tone="muted", size=CAPTION, wrap=True)
        row = QHBoxLayout()
        row.addWidget(self.field, 1)
        row.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(GRID)
        column.addWidget(self._words)
        column.addLayout(row)

    def ask_for(self, entry: DocumentEntry | None) -> None:
        """Ask for this document's password; None: ask for nothing."""
        self.setVisible(entry is not None)
        file = entry.file if entry is not None else ""
        if file != self._file:
            self._file = file
            self.field.clear()
        if entry is not None:
            self._words.setText(f"{entry.message} It is used to read the document, and not stored.")

    def _give(self) -> None:
        if self._file and self.field.text():
            self._intents.password_given.emit(self._file, self.field.text())
            self.field.clear()
