"""The side list of conversations: grouped by day, filtered by a search."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from PySide6.QtCore import QAbstractListModel, QModelIndex, QObject, QPersistentModelIndex, Qt, Signal

ConversationId = str | int
_Index = QModelIndex | QPersistentModelIndex
_NO_INDEX = QModelIndex()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationEntry:
    """A row of the list; ``updated`` is local time."""

    id: ConversationId
    title: str
    updated: datetime
    snippet: str = ""
    interrupted: bool = False


def day_group(day: date, today: date) -> str:
    """The heading that a conversation of ``day`` stands under."""
    age = (today - day).days
    if age <= 0:
        return "Today"
    if age == 1:
        return "Yesterday"
    if age < 7:
        return "This week"
    if age < 31:
        return "This month"
    return f"{day:%B %Y}"


class ConversationsModel(QAbstractListModel):
    """Headings and conversations as one flat list, newest first.

    A heading's row has no :attr:`id_role` and cannot be selected. :meth:`set_filter` looks in titles and
    snippets; :meth:`set_matches` adds ids that a search in the messages' texts found.
    """

    id_role = int(Qt.ItemDataRole.UserRole)
    heading_role = id_role + 1
    snippet_role = id_role + 2
    busy_role = id_role + 3
    interrupted_role = id_role + 4

    #: The user gave a conversation another title: id, title. The list shows it at once.
    rename_requested = Signal(object, str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._entries: dict[ConversationId, ConversationEntry] = {}
        self._rows: list[ConversationEntry | str] = []
        self._filter = ""
        self._matches: frozenset[ConversationId] = frozenset()
        self._busy: ConversationId | None = None
        self._today: date | None = None

    # --- what controllers call

    def reset(self, entries: Iterable[ConversationEntry], *, today: date | None = None) -> None:
        """Show these conversations; ``today`` is for tests."""
        self._today = today
        self._entries = {entry.id: entry for entry in entries}
        self._rebuild()

    def put(self, entry: ConversationEntry) -> None:
        """Add a conversation, or bring the one with this id up to date."""
        known = self._entries.get(entry.id)
        self._entries[entry.id] = entry
        if known is not None and known.updated == entry.updated:
            self._tell(entry)
        else:
            self._rebuild()

    def remove(self, conversation_id: ConversationId) -> None:
        """Take a conversation off the list; nothing happens if it is not on it."""
        if self._entries.pop(conversation_id, None) is not None:
            self._rebuild()

    def rename(self, conversation_id: ConversationId, title: str) -> None:
        """Show another title."""
        entry = self._entries.get(conversation_id)
        if entry is not None:
            self.put(replace(entry, title=title))

    def set_busy(self, conversation_id: ConversationId | None) -> None:
        """Mark the conversation whose reply is being written."""
        old, self._busy = self._busy, conversation_id
        for changed in (old, conversation_id):
            entry = self._entries.get(changed) if changed is not None else None
            if entry is not None:
                self._tell(entry)

    def set_filter(self, text: str) -> None:
        """Show only conversations whose title or snippet holds ``text``, whatever its case."""
        self._filter = text.strip().casefold()
        if not self._filter:
            self._matches = frozenset()
        self._rebuild()

    def set_matches(self, ids: Iterable[ConversationId]) -> None:
        """Conversations that the search found by other means; shown as long as a filter is set."""
        self._matches = frozenset(ids)
        self._rebuild()

    # --- what views ask

    def entry(self, conversation_id: ConversationId) -> ConversationEntry | None:
        """The conversation with this id."""
        return self._entries.get(conversation_id)

    def row_of(self, conversation_id: ConversationId) -> int:
        """Row of the conversation, -1 if it is not shown."""
        for row, item in enumerate(self._rows):
            if not isinstance(item, str) and item.id == conversation_id:
                return row
        return -1

    @property
    def filtering(self) -> bool:
        """Whether a search hides some conversations."""
        return bool(self._filter)

    def rowCount(self, parent: _Index = _NO_INDEX) -> int:
        return 0 if parent.isValid() else len(self._rows)

    def data(self, index: _Index, role: int = int(Qt.ItemDataRole.DisplayRole)) -> Any:
        item = self._rows[index.row()]
        if isinstance(item, str):
            if role == self.heading_role:
                return True
            shown = (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole)
            return item if role in shown else None
        values = {
            int(Qt.ItemDataRole.DisplayRole): item.title or "New chat",
            int(Qt.ItemDataRole.EditRole): item.title,
            int(Qt.ItemDataRole.ToolTipRole): item.title,
            int(Qt.ItemDataRole.AccessibleTextRole): item.title or "New chat",
            self.id_role: item.id,
            self.heading_role: False,
            self.snippet_role: item.snippet,
            self.busy_role: item.id == self._busy,
            self.interrupted_role: item.interrupted,
        }
        return values.get(int(role))

    def setData(self, index: _Index, value: Any, role: int = int(Qt.ItemDataRole.EditRole)) -> bool:
        item = self._rows[index.row()]
        title = str(value).strip()
        if role != Qt.ItemDataRole.EditRole or isinstance(item, str) or not title:
            return False
        if title != item.title:
            self.rename(item.id, title)
            self.rename_requested.emit(item.id, title)
        return True

    def flags(self, index: _Index) -> Qt.ItemFlag:
        if not index.isValid() or isinstance(self._rows[index.row()], str):
            return Qt.ItemFlag.NoItemFlags  # else Home and the arrow keys stop at it
        return Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEditable

    def _shown(self, entry: ConversationEntry) -> bool:
        if not self._filter:
            return True
        found = self._filter in entry.title.casefold() or self._filter in entry.snippet.casefold()
        return found or entry.id in self._matches

    def _rebuild(self) -> None:
        today = self._today or datetime.now().date()
        self.beginResetModel()
        self._rows = []
        heading = ""
        for entry in sorted(self._entries.values(), key=lambda item: item.updated, reverse=True):
            if not self._shown(entry):
                continue
            group = day_group(entry.updated.date(), today)
            if group != heading:
                heading = group
                self._rows.append(group)
            self._rows.append(entry)
        self.endResetModel()

    def _tell(self, entry: ConversationEntry) -> None:
        row = self.row_of(entry.id)
        if row >= 0:
            self._rows[row] = entry
            self.dataChanged.emit(self.index(row), self.index(row))
