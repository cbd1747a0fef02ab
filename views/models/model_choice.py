"""Which models there are, which one is chosen, what loading it would take, and what is loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Literal

from PySide6.QtCore import QAbstractListModel, QModelIndex, QObject, QPersistentModelIndex, Qt, Signal

from inference.events import (
    Device,
    ModelEntry,
    ModelInspected,
    ModelLoaded,
    Progress,
    Quantization,
    RopeScaling,
    SingleTokens,
)
from views.models.draft import DraftModel
from views.models.faults import Fault
from views.models.format import format_bytes

_Index = QModelIndex | QPersistentModelIndex

DownloadState = Literal["running", "paused", "failed", "done"]

ORIGIN_LABELS = {
    "builtin": "Built in",
    "cache": "Hugging Face cache",
    "folder": "Folder",
    "server": "Server",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadChoice:
    """What the user is about to load; the fields are those of :class:`~inference.events.LoadRequest`."""

    model: str
    quantization: Quantization = "none"
    device: Device = "auto"
    context_length: int | None = None
    rope: RopeScaling | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A download by hub id; ``total`` 0 while it is not known; ``message`` says why it failed."""

    repo: str
    state: DownloadState = "running"
    done: int = 0
    total: int = 0
    unit: str = "bytes"
    message: str = ""


def where(entry: ModelEntry) -> str:
    """How large a model is, or, on a server, where that is."""
    if entry.origin == "server":
        return entry.source.partition("://")[2].partition("/")[0].partition("#")[0]
    return format_bytes(entry.size)


class EntryRole(IntEnum):
    """Roles of :class:`ModelChoiceModel`."""

    ENTRY = Qt.ItemDataRole.UserRole + 1
    ORIGIN = Qt.ItemDataRole.UserRole + 2


class ModelChoiceModel(QAbstractListModel):
    """The list of models, and the state of choosing and loading one.

    Rows are :class:`~inference.events.ModelEntry`. The app writes, the picker shows.

    Signals:
        choice_changed: The :class:`LoadChoice`, or None; the app answers by inspecting it.
        inspection_changed: No argument; read :attr:`inspection` and :attr:`inspection_fault`.
        loaded_changed: The :class:`~inference.events.ModelLoaded`, or None after unloading.
        loading_changed: The :class:`~inference.events.Progress` of a load, or None when none goes on.
        downloads_changed: No argument; read :attr:`downloads`.
        path_changed: Why replies are not decoded the fast way (str); "" where nothing is amiss.

    Attributes:
        draft: The model that guesses ahead for the loaded one.
    """

    choice_changed = Signal(object)
    inspection_changed = Signal()
    loaded_changed = Signal(object)
    loading_changed = Signal(object)
    downloads_changed = Signal()
    path_changed = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._entries: tuple[ModelEntry, ...] = ()
        self._choice: LoadChoice | None = None
        self._inspection: ModelInspected | None = None
        self._fault: Fault | None = None
        self._loaded: ModelLoaded | None = None
        self._loading: Progress | None = None
        self._downloads: dict[str, Download] = {}
        self._path_reason = ""
        self._single_tokens = SingleTokens()
        self.draft = DraftModel(self)

    # --- the list ---------------------------------------------------------------------------------

    @property
    def entries(self) -> tuple[ModelEntry, ...]:
        """All models that were found."""
        return self._entries

    def set_entries(self, entries: tuple[ModelEntry, ...]) -> None:
        """Replace the list, in the order built-in, cache, folders."""
        order = {origin: place for place, origin in enumerate(ORIGIN_LABELS)}
        ordered = tuple(sorted(entries, key=lambda e: (order.get(e.origin, len(order)), e.name.lower())))
        if ordered != self._entries:
            self.beginResetModel()
            self._entries = ordered
            self.endResetModel()

    def add_entry(self, entry: ModelEntry) -> None:
        """Add a model that was opened or dropped; one with the same source is replaced."""
        self.set_entries((*(e for e in self._entries if e.source != entry.source), entry))

    def row_of(self, source: str) -> int:
        """Row of a model by its source; -1 where it is not in the list."""
        return next((row for row, entry in enumerate(self._entries) if entry.source == source), -1)

    def rowCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own signature
        """Number of models."""
        return 0 if parent.isValid() else len(self._entries)

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Name, tooltip, and the :class:`~inference.events.ModelEntry` itself."""
        if not index.isValid():
            return None
        entry = self._entries[index.row()]
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole):
            return entry.name
        if role in (Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleDescriptionRole):
            return entry.problem or f"{entry.source.removeprefix('openai:')}, {where(entry)}"
        if role == EntryRole.ENTRY:
            return entry
        if role == EntryRole.ORIGIN:
            return ORIGIN_LABELS.get(entry.origin, entry.origin)
        return None

    # --- the choice -------------------------------------------------------------------------------

    @property
    def choice(self) -> LoadChoice | None:
        """What would be loaded."""
        return self._choice

    def set_choice(self, choice: LoadChoice | None) -> None:
        """Choose a model and how to load it; what was known of another choice is dropped."""
        if choice == self._choice:
            return
        other_model = choice is None or self._choice is None or choice.model != self._choice.model
        self._choice = choice
        self._fault = None
        if other_model:
            self._inspection = None
        self.choice_changed.emit(choice)
        self.inspection_changed.emit()

    def change_choice(self, **changes: Any) -> None:
        """Change single fields of the choice; nothing happens while nothing is chosen."""
        if self._choice is not None:
            self.set_choice(replace(self._choice, **changes))

    @property
    def inspection(self) -> ModelInspected | None:
        """Description and estimate of the chosen model; may be that of the choice before while inspecting."""
        return self._inspection

    @property
    def inspection_fault(self) -> Fault | None:
        """Why the chosen model cannot be used."""
        return self._fault

    def set_inspection(self, inspection: ModelInspected) -> None:
        """Answer the current choice."""
        self._inspection, self._fault = inspection, None
        self.inspection_changed.emit()

    def set_inspection_fault(self, fault: Fault) -> None:
        """Say why the current choice cannot be used."""
        self._inspection, self._fault = None, fault
        self.inspection_changed.emit()

    # --- loading ----------------------------------------------------------------------------------

    @property
    def loaded(self) -> ModelLoaded | None:
        """The model that answers now."""
        return self._loaded

    def set_loaded(self, loaded: ModelLoaded | None) -> None:
        """Tell that a model is ready, or (None) that none is."""
        self._loaded = loaded
        self.set_path_reason("")
        self._single_tokens = SingleTokens() if loaded is None else loaded.single_tokens
        self.loaded_changed.emit(loaded)

    @property
    def path_reason(self) -> str:
        """Why the last reply was not decoded the fast way, in words."""
        return self._path_reason

    def set_path_reason(self, reason: str) -> None:
        """Tell why a reply was not decoded the fast way; "" where that was not to be expected."""
        if reason != self._path_reason:
            self._path_reason = reason
            self.path_changed.emit(reason)

    @property
    def single_tokens(self) -> SingleTokens:
        """How the loaded model reads one token after the other."""
        return self._single_tokens

    def set_single_tokens(self, single_tokens: SingleTokens) -> str:
        """Tell how tokens are read from now on; returns why that is slower than before, "" if it is not."""
        if single_tokens.by == "" or single_tokens == self._single_tokens:
            return ""
        before, self._single_tokens = self._single_tokens, single_tokens
        self.path_changed.emit(self._path_reason)
        slower = single_tokens.by == "transformers" and before.by not in ("", "transformers")
        return single_tokens.reason if slower else ""

    @property
    def loading(self) -> Progress | None:
        """How far a load is; None when none goes on."""
        return self._loading

    def set_loading(self, progress: Progress | None) -> None:
        """Tell how far a load is; None when it has ended in whatever way."""
        if progress is not self._loading:
            self._loading = progress
            self.loading_changed.emit(progress)

    # --- downloads --------------------------------------------------------------------------------

    @property
    def downloads(self) -> tuple[Download, ...]:
        """All downloads that were not removed, oldest first."""
        return tuple(self._downloads.values())

    def download(self, repo: str) -> Download | None:
        """The download of one hub id."""
        return self._downloads.get(repo)

    def set_download(self, download: Download) -> None:
        """Add or update a download."""
        if self._downloads.get(download.repo) != download:
            self._downloads[download.repo] = download
            self.downloads_changed.emit()

    def remove_download(self, repo: str) -> None:
        """Take a finished or cancelled download off the list."""
        if self._downloads.pop(repo, None) is not None:
            self.downloads_changed.emit()
