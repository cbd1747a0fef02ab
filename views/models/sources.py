"""Passages that were found: hits of a search, or the sources of an answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from PySide6.QtCore import QAbstractListModel, QModelIndex, QObject, QPersistentModelIndex, Qt, Signal

from inference.events import Source
from views.models.answers import Influence, SentenceInfluence

#: A hit of a search; read by the model for its answer; a sentence of what was read; left out of the prompt.
SourceKind = Literal["hit", "read", "sentence", "left-out"]
_Index = QModelIndex | QPersistentModelIndex
_NO_INDEX = QModelIndex()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRow:
    """A passage and what became of it."""

    source: Source
    kind: SourceKind
    influence: Influence | None = None
    sentence: SentenceInfluence | None = None


def place_words(source: Source) -> str:
    """Where a passage stands: ``handbook.pdf, page 3``; the printed page number where it differs."""
    words = f"{Path(source.file).name}, {source.unit} {source.page}"
    printed = source.label and source.label != str(source.page)
    return f"{words} ({source.label})" if printed else words


class SourcesModel(QAbstractListModel):
    """Passages, best first; ``title`` says what the list is.

    Signals:
        titled: Another title.
    """

    row_role = int(Qt.ItemDataRole.UserRole)
    titled = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._rows: tuple[SourceRow, ...] = ()
        self.title = ""

    @property
    def rows(self) -> tuple[SourceRow, ...]:
        """All rows."""
        return self._rows

    def show_rows(self, title: str, rows: Iterable[SourceRow]) -> None:
        """Show other passages."""
        self.beginResetModel()
        self._rows = tuple(rows)
        self.endResetModel()
        self.title = title
        self.titled.emit(title)

    def row_of(self, number: int) -> int:
        """Row of the source that the model knows by this number; -1: none."""
        return next((at for at, row in enumerate(self._rows) if row.source.number == number > 0), -1)

    def rowCount(self, parent: _Index = _NO_INDEX) -> int:
        return 0 if parent.isValid() else len(self._rows)

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        row = self._rows[index.row()]
        if role == self.row_role:
            return row
        if row.sentence is not None and role != self.row_role:
            return _sentence_words(row.sentence, role)
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            words = f"{place_words(row.source)}: {row.source.marked or row.source.text}"
            flag = row.source.cited and row.influence is not None and row.influence.weak
            return f"Cited without influence. {words}" if flag else words
        if role == Qt.ItemDataRole.ToolTipRole:
            return _why_here(row.source) + _what_it_did(row.influence)
        return None


def _why_here(source: Source) -> str:
    """How the passage was found, in numbers."""
    parts = [f"Fused score {source.score:.3f}"]
    if source.vector_rank:
        parts.append(f"by meaning: rank {source.vector_rank}, cosine {source.similarity:.2f}")
    if source.word_rank:
        parts.append(f"by words: rank {source.word_rank}, BM25 {source.word_score:.1f}")
    return "\n".join((source.file, "; ".join(parts)))


def _what_it_did(influence: Influence | None) -> str:
    if influence is None:
        return ""
    words = f"\nInfluence on the answer: {influence.nats:+.2f} nats, the sum over its sentences"
    best = influence.strongest
    return words if best is None else f"{words}; the strongest ({best.nats:+.2f}): {best.text}"


def _sentence_words(sentence: SentenceInfluence, role: int) -> str | None:
    words = f"{sentence.text}: {sentence.nats:+.2f} nats"
    if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
        return words
    return words if role == Qt.ItemDataRole.ToolTipRole else None
