"""Choosing, inspecting, loading and unloading models."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from PySide6.QtCore import QObject, Signal, Slot

from app.controllers.generation import Generation
from app.desk import Desk
from app.faults import FaultReporter
from inference.events import (
    ENDINGS,
    Event,
    Failed,
    InspectRequest,
    ListModelsRequest,
    LoadRequest,
    ModelEntry,
    ModelInspected,
    ModelLoaded,
    ModelsListed,
    ModelUnloaded,
    Progress,
    Secret,
    Server,
    UnloadRequest,
)
from inference.running import RunHandle, new_run_id
from views.models.faults import Fault
from views.models.format import format_bytes
from views.models.model_choice import LoadChoice, ModelChoiceModel
from views.models.settings import SettingsModel

_WEIGHTS = (".gguf", ".safetensors", ".bin", ".pt", ".pth")
#: So many folders of a dropped one are looked into.
_FOLDERS = 200


class ModelsController(QObject):
    """Keeps the model picker's model in step with the engine.

    Args:
        engine: Where models are loaded; behind a reply that is being written.
        librarian: Where they are listed and inspected; never behind a reply.
        model: What the picker shows.
        generation: Stopped before another model is loaded.
        settings: Folders to look into; remembers the last model.
        faults: Told of loads that failed.
        server_of: The server that a model is on, and its key, by the model's source.
    """

    #: A model is ready: the :class:`LoadChoice` that made it.
    ready = Signal(object)
    told = Signal(str)

    def __init__(
        self,
        *,
        engine: Desk,
        librarian: Desk,
        model: ModelChoiceModel,
        generation: Generation,
        settings: SettingsModel,
        faults: FaultReporter,
        server_of: Callable[[str], tuple[Server | None, Secret]] = lambda source: (None, Secret("")),
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._server_of = server_of
        self._engine = engine
        self._librarian = librarian
        self._model = model
        self._generation = generation
        self._settings = settings
        self._faults = faults
        self._inspecting: RunHandle | None = None
        self._listing: RunHandle | None = None
        self._loading: RunHandle | None = None
        self._choice: LoadChoice | None = None
        model.choice_changed.connect(self._inspect)

    # --- the list

    @Slot()
    def refresh(self) -> None:
        """Look for models again."""
        self._librarian.drop(self._listing)
        request = ListModelsRequest(run_id=new_run_id(), folders=self._settings.settings.model_folders)
        self._listing = self._librarian.submit(request, self._on_list_events)

    @Slot(list)
    def open_paths(self, paths: list[str]) -> list[str]:
        """Choose the model among dropped files and folders; returns those that are none."""
        others = []
        for path in paths:
            if is_model(Path(path)):
                self.choose(path)
            else:
                others.append(path)
        return others

    def choose(self, source: str) -> None:
        """Put a model into the list and choose it."""
        if self._model.row_of(source) < 0:
            path = Path(source)
            files = [path] if path.is_file() else path.glob("*")
            weights = [file for file in files if file.suffix.lower() in _WEIGHTS]
            size = sum(file.stat().st_size for file in weights)
            self._model.add_entry(ModelEntry(source=source, name=path.name, origin="folder", size=size))
        self._model.set_choice(LoadChoice(model=source))

    def _on_list_events(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, ModelsListed):
                known = {entry.source for entry in event.entries}
                kept = ("folder", "server")
                opened = (e for e in self._model.entries if e.origin in kept and e.source not in known)
                self._model.set_entries((*event.entries, *opened))
            elif isinstance(event, Failed):
                self._faults.report_failed(event)

    # --- what loading would take

    @Slot(object)
    def _inspect(self, choice: LoadChoice | None) -> None:
        self._librarian.drop(self._inspecting)
        self._inspecting = None
        if choice is not None:
            request = InspectRequest(
                run_id=new_run_id(),
                model=choice.model,
                quantization=choice.quantization,
                device=choice.device,
                context_length=choice.context_length,
                rope=choice.rope,
            )
            self._inspecting = self._librarian.submit(request, self._on_inspect_events)

    def _on_inspect_events(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, ModelInspected):
                self._model.set_inspection(event)
            elif isinstance(event, Failed):
                self._model.set_inspection_fault(as_fault(event))

    # --- loading

    @Slot(object)
    def load(self, choice: LoadChoice) -> None:
        """Load a model in place of the one that is loaded."""
        self._generation.stop()
        self._engine.drop(self._loading)
        server, key = self._server_of(choice.model)
        request = LoadRequest(
            run_id=new_run_id(),
            model=choice.model,
            quantization=choice.quantization,
            device=choice.device,
            context_length=choice.context_length,
            rope=choice.rope,
            server=server,
            key=key,
        )
        self._choice = choice
        self._loading = self._engine.submit(request, self._on_load_events)
        self._model.set_loading(
            Progress(run_id=request.run_id, stage="Starting the engine", done=0, total=0, unit="files")
        )

    @Slot(str)
    def load_source(self, source: str) -> None:
        """Load a model by its source, as the engine would choose to."""
        self.choose(source)
        self.load(LoadChoice(model=source))

    @Slot()
    def cancel_load(self) -> None:
        """Stop loading."""
        if self._loading is not None:
            self._loading.cancel()

    @Slot()
    def unload(self) -> None:
        """Free the model's memory."""
        self._generation.stop()
        self._engine.submit(UnloadRequest(run_id=new_run_id()), self._on_load_events)

    def _on_load_events(self, events: tuple[Event, ...]) -> None:
        progress = next((event for event in reversed(events) if isinstance(event, Progress)), None)
        if progress is not None and self._loading is not None:
            self._model.set_loading(progress)
        for event in events:
            self._note(event)
        if isinstance(events[-1], ENDINGS):
            self._loading = None
            self._model.set_loading(None)
            if isinstance(events[-1], Failed):
                self._faults.report_failed(events[-1])

    def _note(self, event: Event) -> None:
        if isinstance(event, ModelUnloaded):
            self._model.set_loaded(None)
            freed = f"unloaded; {format_bytes(event.freed)} are free again" if event.freed else "let go"
            self.told.emit(f"The model is {freed}.")
        elif isinstance(event, ModelLoaded):
            self._model.set_loaded(event)
            if self._choice is not None:
                self._settings.update(last_model=self._choice.model)
                self.ready.emit(self._choice)
            note = getattr(event, "note", "")
            self.told.emit(f"{event.info.name} is ready. {note}".rstrip())


def is_model(path: Path) -> bool:
    """Whether a dropped file or folder looks like a model; documents do not.

    A folder with neither a model nor documents counts as one, so that it is said what is missing in it.
    """
    from inference.documents.readers.formats import SUFFIXES  # with readers, which nobody needs at the start

    if not path.is_dir():
        return path.suffix.lower() in _WEIGHTS
    found = False
    for _, folders, files in islice(os.walk(path), _FOLDERS):
        if any(Path(name).suffix.lower() in _WEIGHTS for name in files) or "tokenizer.json" in files:
            return True
        found = found or any(Path(name).suffix.lower() in SUFFIXES for name in files)
        folders[:] = [name for name in folders if not name.startswith(".")]
    return not found


def holds_model(folder: str) -> bool:
    """Whether a model (or an adapter) lies in the folder itself, not somewhere below it."""
    names = {item.name for item in Path(folder).iterdir()}
    return "tokenizer.json" in names or any(Path(name).suffix.lower() in _WEIGHTS for name in names)


def as_fault(failed: Failed) -> Fault:
    """How a run broke off, to be shown beside what it was about."""
    return Fault(kind=failed.kind, message=failed.message, hint=failed.hint, details=failed.details)
