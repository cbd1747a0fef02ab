"""Adapters: opened, put on the loaded model or offered together with their base, switched, compared."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal, Slot

from app.controllers.chat import ChatController
from app.controllers.context import ReadContext, context_before, context_of_reply
from app.desk import Desk
from app.history import History
from inference.events import (
    AdapterInspected,
    AdaptersChanged,
    AdaptersCompared,
    AttachAdapterRequest,
    Cancelled,
    CompareAdaptersRequest,
    DetachAdapterRequest,
    Event,
    Failed,
    InspectAdapterRequest,
    ModelLoaded,
    SetAdaptersRequest,
)
from inference.running import RunHandle, new_run_id
from views.models.adapters import AdapterOffer, AdaptersModel
from views.models.model_choice import ModelChoiceModel
from views.models.settings import SettingsModel
from views.models.transcript import TranscriptModel

CONFIG = "adapter_config.json"


class AdaptersController(QObject):
    """Keeps the engine's adapters and what is shown of them in step.

    Args:
        desk: The engine's; requests wait there behind a reply that is being written. That reply feels a
            switch at once all the same, by its controls.
        librarian: Where adapters are inspected.
    """

    #: Load this model (its source): the base of an adapter that waits for it.
    base_wanted = Signal(str)
    #: The adapters section is to be seen.
    wanted = Signal()
    #: The comparison is to be seen.
    comparison_wanted = Signal()
    told = Signal(str)

    def __init__(
        self,
        *,
        desk: Desk,
        librarian: Desk,
        history: History,
        transcript: TranscriptModel,
        chat: ChatController,
        models: ModelChoiceModel,
        settings: SettingsModel,
        model: AdaptersModel,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._desk = desk
        self._librarian = librarian
        self._history = history
        self._transcript = transcript
        self._chat = chat
        self._models = models
        self._settings = settings
        self._model = model
        self._waiting = ""
        self._comparing: RunHandle | None = None
        models.loaded_changed.connect(self._on_model)
        model.scales_changed.connect(self._switch)

    @Slot(list)
    def open_paths(self, paths: list[str]) -> list[str]:
        """Open the adapters among dropped folders and files; returns those that are none."""
        others = []
        for path in paths:
            folder = adapter_folder(Path(path))
            if folder is not None:
                self.open(str(folder))
            else:
                others.append(path)
        return others

    def open(self, source: str) -> None:
        """Put an adapter on the loaded model if that is its base, or offer what can be done."""
        self._model.set_offer(None)
        self.wanted.emit()
        folders = self._settings.settings.model_folders
        request = InspectAdapterRequest(run_id=new_run_id(), adapter=source, folders=folders)
        self._librarian.submit(request, self._on_inspected)

    def _on_inspected(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, AdapterInspected):
                self._consider(event)
            elif isinstance(event, Failed):
                self._model.set_offer(None, f"{event.message} {event.hint}")

    def _consider(self, found: AdapterInspected) -> None:
        loaded, info = self._models.loaded, found.info
        if loaded is not None and _is_base(found, loaded):
            self._attach(info.source)
            return
        whose = f"{info.name} was trained on {info.base}" if info.base else f"{info.name} names no base model"
        where = "which is not loaded" if found.base_source else "which is not on this computer"
        words = f"{whose}, {where}." if info.base else f"{whose}."
        if not found.base_source and loaded is None:
            words += " Download it, or open its folder, and load it."
        self._model.set_offer(
            AdapterOffer(info=info, base_source=found.base_source, anyway=loaded is not None, words=words)
        )

    @Slot()
    def load_base(self) -> None:
        """Load the offered adapter's base model; it is put on when that is ready."""
        offer = self._model.offer
        if offer is not None and offer.base_source:
            self._waiting = offer.info.source
            self._model.set_offer(None)
            self.base_wanted.emit(offer.base_source)

    @Slot()
    def attach_anyway(self) -> None:
        """Put the offered adapter on the loaded model; it is refused if its sizes differ."""
        if self._model.offer is not None:
            self._attach(self._model.offer.info.source)

    @Slot(str)
    def detach(self, name: str) -> None:
        """Take an adapter off."""
        self._model.set_row(name, on=False)
        self._desk.submit(DetachAdapterRequest(run_id=new_run_id(), name=name), self._on_changed)

    @Slot()
    def compare(self) -> None:
        """Read the open conversation without and with the adapters that are on."""
        context = self._context()
        if context is None:
            self.told.emit("Ask something first.")
            return
        self.cancel()
        self._model.set_comparison("working")
        self.comparison_wanted.emit()
        request = CompareAdaptersRequest(
            run_id=new_run_id(),
            messages=context.turns,
            prompt=context.prompt,
            reply_ids=context.reply_ids,
            reply_text=context.reply_text,
            adapters=self._model.active,
        )
        self._comparing = self._desk.submit(request, self._on_compared)

    @Slot()
    def cancel(self) -> None:
        """Stop comparing."""
        if self._comparing is not None:
            self._comparing.cancel()

    def _attach(self, source: str) -> None:
        self._model.set_offer(None)
        self._desk.submit(AttachAdapterRequest(run_id=new_run_id(), adapter=source), self._on_changed)

    def _on_changed(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, AdaptersChanged):
                self._model.set_attached(event.attached, event.active)
                self._model.set_offer(None, event.note)
            elif isinstance(event, Failed):
                self._model.set_offer(None, f"{event.message} {event.hint}")

    def _on_compared(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, AdaptersCompared):
                self._model.set_comparison("result", event)
            elif isinstance(event, Failed):
                self._model.set_comparison("failed", failure=f"{event.message} {event.hint}")
            elif isinstance(event, Cancelled):
                self._model.set_comparison("failed", failure="Stopped.")

    @Slot()
    def _switch(self) -> None:
        if self._model.rows:
            request = SetAdaptersRequest(run_id=new_run_id(), adapters=self._model.active)
            self._desk.submit(request, lambda events: None)

    @Slot(object)
    def _on_model(self, loaded: ModelLoaded | None) -> None:
        self._model.set_attached((), ())
        self._model.set_comparison("empty")
        waiting, self._waiting = self._waiting, "" if loaded is not None else self._waiting
        if loaded is not None and waiting:
            self._attach(waiting)

    def _context(self) -> ReadContext | None:
        """The open conversation to the end of its last reply."""
        number = self._chat.conversation
        path = self._history.path(number) if number is not None else ()
        if not path:
            return None
        last = path[-1]
        if last.role != "assistant":
            return context_before(self._history, path)
        return context_of_reply(self._history, last.id, self._transcript.message(last.id))


def adapter_folder(path: Path) -> Path | None:
    """The folder of an adapter that a path means: the folder, or one of its files; None where it is none."""
    folder = path if path.is_dir() else path.parent
    if not (folder / CONFIG).is_file() or (folder / "config.json").is_file():
        return None
    return folder if path.is_dir() or path.name.startswith("adapter_") else None


def _is_base(found: AdapterInspected, loaded: ModelLoaded) -> bool:
    """Whether the loaded model is the one that an adapter was trained on, as far as names tell."""
    source = loaded.info.source
    if found.base_source and found.base_source == source:
        return True
    return bool(found.info.base) and Path(found.info.base).name.casefold() == Path(source).name.casefold()
