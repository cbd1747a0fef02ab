"""Loading the model that guesses ahead."""

from __future__ import annotations

from PySide6.QtCore import QObject, Slot

from app.controllers.models import as_fault
from app.desk import Desk
from inference.events import Cancelled, DraftLoaded, Event, Failed, LoadDraftRequest, ModelLoaded
from inference.running import RunHandle, new_run_id
from views.models.model_choice import ModelChoiceModel


class DraftsController(QObject):
    """Puts a draft model beside the loaded one; another main model lets go of it.

    Args:
        desk: Where the models are loaded.
        models: Tells of the main model, and is told of the draft.
    """

    def __init__(self, *, desk: Desk, models: ModelChoiceModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._desk, self._models = desk, models
        self._loading: RunHandle | None = None
        models.loaded_changed.connect(self._on_loaded)

    @Slot(str)
    def choose(self, source: str) -> None:
        """Let this model guess ahead from the next reply on; "": none."""
        self._desk.drop(self._loading)
        self._models.draft.set_loading(source)
        self._loading = self._desk.submit(LoadDraftRequest(run_id=new_run_id(), model=source), self._take)

    @Slot(object)
    def _on_loaded(self, loaded: ModelLoaded | None) -> None:
        self._desk.drop(self._loading)
        self._loading = None
        self._models.draft.clear()

    def _take(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, DraftLoaded):
                self._models.draft.set_loaded(event)
            elif isinstance(event, Failed):
                self._models.draft.set_fault(as_fault(event))
            elif isinstance(event, Cancelled):
                self._models.draft.clear()
