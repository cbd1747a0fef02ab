"""Libraries of documents: which there are, the files of the open one, and how far reading them is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt, Signal

from inference.events import DocumentEntry, IndexProgress

#: "closed": none is open yet; "paused" can be resumed; "stopping": a pause or a cancel is on its way.
LibraryState = Literal["closed", "opening", "idle", "indexing", "stopping", "paused"]
_Index = QModelIndex | QPersistentModelIndex
_NO_INDEX = QModelIndex()
_COLUMNS = ("Document", "Pages", "State")
_SHORT = {
    "password": "password?",
    "damaged": "damaged",
    "empty": "empty",
    "no-text": "no text in it",
    "unsupported": "unknown format",
    "too-large": "too large",
    "missing": "not there",
    "forbidden": "may not be read",
    "timeout": "took too long",
    "memory": "took too much memory",
    "crashed": "could not be read",
}


def state_words(entry: DocumentEntry) -> str:
    """What the table says of a document's state, in two or three words."""
    if entry.state == "unreadable":
        return _SHORT.get(entry.reason, "could not be read")
    if entry.state == "waiting":
        return "waiting"
    return "ready, with remarks" if entry.problems else "ready"


class DocumentsModel(QAbstractTableModel):
    """The files of a library, one a row: name, pages, state; the tool tip says everything."""

    entry_role = int(Qt.ItemDataRole.UserRole)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._entries: list[DocumentEntry] = []
        self._rows: dict[str, int] = {}

    @property
    def entries(self) -> tuple[DocumentEntry, ...]:
        """All of them, in the order of the rows."""
        return tuple(self._entries)

    def reset(self, entries: Iterable[DocumentEntry]) -> None:
        """Show these documents, by name; nothing is told where nothing has changed."""
        ordered = sorted(entries, key=lambda entry: (Path(entry.file).name.casefold(), entry.file))
        if ordered == self._entries:
            return
        self.beginResetModel()
        self._entries = ordered
        self._rows = {entry.file: row for row, entry in enumerate(ordered)}
        self.endResetModel()

    def put(self, entry: DocumentEntry) -> None:
        """Add a document at the end, or bring the one of this file up to date."""
        row = self._rows.get(entry.file)
        if row is not None:
            self._entries[row] = entry
            self.dataChanged.emit(self.index(row, 0), self.index(row, len(_COLUMNS) - 1))
            return
        row = len(self._entries)
        self.beginInsertRows(_NO_INDEX, row, row)
        self._entries.append(entry)
        self._rows[entry.file] = row
        self.endInsertRows()

    def rowCount(self, parent: _Index = _NO_INDEX) -> int:
        return 0 if parent.isValid() else len(self._entries)

    def columnCount(self, parent: _Index = _NO_INDEX) -> int:
        return 0 if parent.isValid() else len(_COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> Any:
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return _COLUMNS[section]
        return None

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        entry = self._entries[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            pages = f"{entry.pages:,}" if entry.pages else ""
            return (Path(entry.file).name, pages, state_words(entry))[index.column()]
        if role == Qt.ItemDataRole.ToolTipRole:
            return _everything(entry)
        return entry if role == self.entry_role else None


class LibraryModel(QObject):
    """The open library among all that there are.

    Signals:
        changed: Another library, state, or count of passages.
        progressed: How far reading is: an :class:`~inference.events.IndexProgress`, or None.

    Attributes:
        embedder: What the open library is searched by meaning with: "builtin", or a folder.
        next_embedder: The same of the next library that is made.
        outdated: How many documents an earlier version of the app read; they are read again.
        deleted: Name of the library that was deleted last and can be brought back; empty: none.
    """

    changed = Signal()
    progressed = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.documents = DocumentsModel(self)
        self.names: tuple[str, ...] = ()
        self.current = ""
        self.state: LibraryState = "closed"
        self.passages = self.outdated = 0
        self.embedder = self.next_embedder = "builtin"
        self.deleted = ""
        self.progress: IndexProgress | None = None

    def set_names(self, names: Iterable[str], current: str) -> None:
        """Show which libraries there are and which is open."""
        self.names, self.current = tuple(names), current
        self.changed.emit()

    def set_state(self, state: LibraryState) -> None:
        """Say what is being done with the library."""
        if state != self.state:
            self.state = state
            self.changed.emit()

    def set_passages(self, passages: int) -> None:
        """Say how many passages can be searched."""
        if passages != self.passages:
            self.passages = passages
            self.changed.emit()

    def set_outdated(self, outdated: int) -> None:
        """Say how many documents an earlier version of the app read."""
        if outdated != self.outdated:
            self.outdated = outdated
            self.changed.emit()

    def set_embedder(self, embedder: str) -> None:
        """Say what the open library is searched by meaning with."""
        if embedder != self.embedder:
            self.embedder = embedder
            self.changed.emit()

    def set_next_embedder(self, embedder: str) -> None:
        """Choose what the next library is searched by meaning with."""
        if embedder != self.next_embedder:
            self.next_embedder = embedder
            self.changed.emit()

    def set_deleted(self, name: str) -> None:
        """Say which library can be brought back."""
        if name != self.deleted:
            self.deleted = name
            self.changed.emit()

    def set_progress(self, progress: IndexProgress | None) -> None:
        """Show how far reading is; None: nothing is being read."""
        self.progress = progress
        self.progressed.emit(progress)

    @property
    def searchable(self) -> bool:
        """Whether there is anything to ask."""
        return any(entry.state == "indexed" for entry in self.documents.entries)


def _everything(entry: DocumentEntry) -> str:
    lines = [entry.title] if entry.title else []
    lines.append(entry.file)
    if entry.message:
        lines.append(entry.message)
    elif entry.passages:
        lines.append(f"{entry.passages:,} passages can be searched.")
    return "\n".join((*lines, *(f"Remark: {problem}" for problem in entry.problems)))
