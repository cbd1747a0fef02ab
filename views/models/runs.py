"""The last runs and their figures."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import IntEnum
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt

from views.models.format import format_bytes, format_seconds

_Index = QModelIndex | QPersistentModelIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """Figures of one finished run; times in seconds, memory in bytes, energy in joules.

    ``reason`` is that of :class:`~inference.events.Finished`, or "cancelled", or "failed"; ``path``,
    ``path_reason``, ``guesses`` and ``accepted`` are those of ``Finished``, too.
    """

    run_id: int
    model: str
    reason: str
    when: datetime = field(default_factory=datetime.now)
    quantization: str = "none"
    device: str = ""
    prompt_tokens: int = 0
    reused_tokens: int = 0
    new_tokens: int = 0
    time_to_first_token: float | None = None
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    tokens_per_second: float = 0.0
    process_memory: int = 0
    gpu_allocated: int = 0
    energy_per_token: float | None = None
    path: str = ""
    path_reason: str = ""
    guesses: int = 0
    accepted: int = 0


class RunColumn(IntEnum):
    """Columns of :class:`RunsModel`."""

    WHEN = 0
    MODEL = 1
    PROMPT = 2
    REPLY = 3
    SPEED = 4
    FIRST = 5
    MEMORY = 6
    ENERGY = 7
    GUESSED = 8
    PATH = 9
    ENDED = 10


_HEADERS = (
    "When",
    "Model",
    "Prompt",
    "Reply",
    "Speed",
    "First token",
    "Memory",
    "Energy",
    "Guessed",
    "Decoding",
    "Ended by",
)
_TOOLTIPS = (
    "When the run ended",
    "Model and quantization",
    "Tokens of the prompt; in brackets, how many of them were still in the KV cache",
    "Tokens that were generated",
    "Generated tokens per second of decoding",
    "Time from the request to the first token",
    "Memory of the app, or of its tensors on the GPU, at the end of the run",
    "Energy of the GPU per generated token, by NVML",
    "Tokens that were guessed ahead and turned out right, of all that were guessed",
    "captured: one graph of the GPU a token; plain: step by step",
    "stop: the model ended it; length: the longest reply was reached",
)


class RunsModel(QAbstractTableModel):
    """The last ``limit`` runs, newest first."""

    def __init__(self, limit: int = 100, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._records: list[RunRecord] = []
        self._limit = limit

    @property
    def records(self) -> tuple[RunRecord, ...]:
        """All runs, newest first."""
        return tuple(self._records)

    def add(self, record: RunRecord) -> None:
        """Take a run that has ended."""
        self.beginInsertRows(QModelIndex(), 0, 0)
        self._records.insert(0, record)
        self.endInsertRows()
        if len(self._records) > self._limit:
            self.beginRemoveRows(QModelIndex(), self._limit, len(self._records) - 1)
            del self._records[self._limit :]
            self.endRemoveRows()

    def has(self, column: RunColumn) -> bool:
        """Whether any run has something in a column."""
        return any(_cell(record, column) for record in self._records)

    def as_csv(self) -> str:
        """All runs, oldest first, one column a field of :class:`RunRecord`, SI units."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        names = [item.name for item in fields(RunRecord)]
        writer.writerow(names)
        for record in reversed(self._records):
            values = (getattr(record, name) for name in names)
            writer.writerow(
                [v.isoformat(timespec="seconds") if isinstance(v, datetime) else v for v in values]
            )
        return text.getvalue()

    def rowCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own signature
        """Number of runs."""
        return 0 if parent.isValid() else len(self._records)

    def columnCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own signature
        """Number of columns; see :class:`RunColumn`."""
        return 0 if parent.isValid() else len(RunColumn)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Titles and what they mean."""
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return _HEADERS[section]
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.ToolTipRole:
            return _TOOLTIPS[section]
        return None

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Text with units."""
        if not index.isValid():
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return _cell(self._records[index.row()], RunColumn(index.column()))
        if role == Qt.ItemDataRole.ToolTipRole and index.column() == RunColumn.PATH:
            return self._records[index.row()].path_reason or None
        if (
            role == Qt.ItemDataRole.TextAlignmentRole
            and RunColumn.PROMPT <= index.column() <= RunColumn.GUESSED
        ):
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return None


def _cell(run: RunRecord, column: RunColumn) -> str:
    match column:
        case RunColumn.WHEN:
            return f"{run.when:%H:%M:%S}"
        case RunColumn.MODEL:
            return run.model if run.quantization == "none" else f"{run.model} {run.quantization.upper()}"
        case RunColumn.PROMPT:
            return (
                f"{run.prompt_tokens} ({run.reused_tokens})" if run.reused_tokens else str(run.prompt_tokens)
            )
        case RunColumn.REPLY:
            return f"{run.new_tokens}"
        case RunColumn.SPEED:
            return f"{run.tokens_per_second:.0f} tok/s" if run.new_tokens else ""
        case RunColumn.FIRST:
            return "" if run.time_to_first_token is None else format_seconds(run.time_to_first_token)
        case RunColumn.MEMORY:
            return format_bytes(run.gpu_allocated or run.process_memory)
        case RunColumn.ENERGY:
            return "" if run.energy_per_token is None else f"{run.energy_per_token:.2f} J/token"
        case RunColumn.GUESSED:
            return (
                f"{run.accepted} of {run.guesses} ({run.accepted / run.guesses:.0%})" if run.guesses else ""
            )
        case RunColumn.PATH:
            return f"{run.path}: {run.path_reason}" if run.path_reason else run.path
        case RunColumn.ENDED:
            return run.reason
