"""What went wrong, newest first."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import IntEnum
from typing import Any

from PySide6.QtCore import QAbstractListModel, QModelIndex, QObject, QPersistentModelIndex, Qt, Signal

_Index = QModelIndex | QPersistentModelIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One failure in words a user can act on.

    ``kind`` is that of :class:`~inference.errors.InferenceError`; ``message`` says what happened, ``hint``
    what to do, ``details`` is for copying; ``times`` counts repetitions. ``action`` names a remedy that the
    bar offers as a button (see ``FaultsBar.action_requested``), ``action_label`` is its text.
    """

    kind: str
    message: str
    hint: str = ""
    details: str = ""
    when: datetime = field(default_factory=datetime.now)
    times: int = 1
    action: str = ""
    action_label: str = ""


class FaultRole(IntEnum):
    """Roles of :class:`FaultsModel`."""

    FAULT = Qt.ItemDataRole.UserRole + 1


class FaultsModel(QAbstractListModel):
    """Failures, newest first, at most ``limit``; the same failure again is counted, not repeated.

    Signals:
        added: The :class:`Fault` that was added or counted again.
        latest_changed: The :class:`Fault` that the bar shows, or None.
    """

    added = Signal(object)
    latest_changed = Signal(object)

    def __init__(self, limit: int = 200, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._faults: list[Fault] = []
        self._limit = limit
        self._latest: Fault | None = None

    @property
    def faults(self) -> tuple[Fault, ...]:
        """All failures, newest first."""
        return tuple(self._faults)

    @property
    def latest(self) -> Fault | None:
        """The failure that has not been dismissed yet."""
        return self._latest

    def add(self, fault: Fault) -> None:
        """Show a failure; one that equals the newest in kind and message is counted up."""
        newest = self._faults[0] if self._faults else None
        if newest is not None and (newest.kind, newest.message) == (fault.kind, fault.message):
            fault = replace(fault, times=newest.times + 1)
            self._faults[0] = fault
            self.dataChanged.emit(self.index(0), self.index(0))
        else:
            self.beginInsertRows(QModelIndex(), 0, 0)
            self._faults.insert(0, fault)
            self.endInsertRows()
            self._trim()
        self._set_latest(fault)
        self.added.emit(fault)

    def dismiss(self) -> None:
        """Close the bar; the list keeps the failure."""
        self._set_latest(None)

    def clear(self) -> None:
        """Forget all failures."""
        self.beginResetModel()
        self._faults.clear()
        self.endResetModel()
        self._set_latest(None)

    def rowCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own signature
        """Number of failures."""
        return 0 if parent.isValid() else len(self._faults)

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Text, tooltip, and under :attr:`FaultRole.FAULT` the whole :class:`Fault`."""
        if not index.isValid():
            return None
        fault = self._faults[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            times = f" ({fault.times} times)" if fault.times > 1 else ""
            return f"{fault.when:%H:%M:%S}  {fault.message}{times}"
        if role == Qt.ItemDataRole.ToolTipRole:
            return fault.hint
        return fault if role == FaultRole.FAULT else None

    def _trim(self) -> None:
        if len(self._faults) > self._limit:
            self.beginRemoveRows(QModelIndex(), self._limit, len(self._faults) - 1)
            del self._faults[self._limit :]
            self.endRemoveRows()

    def _set_latest(self, fault: Fault | None) -> None:
        if fault is not self._latest:
            self._latest = fault
            self.latest_changed.emit(fault)
