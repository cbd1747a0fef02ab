"""Token healing in raw mode: the boundary is looked up while the text is edited, before a word is written."""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer, Slot

from app.controllers.generation import Generation
from app.desk import Desk
from inference.events import BoundaryRequest, Event, Failed, HealingBoundary
from inference.running import RunHandle, new_run_id
from views.models.healing import HealingModel
from views.models.model_choice import ModelChoiceModel
from views.models.settings import SettingsModel

#: The boundary is looked up this long after the last change.
_PAUSE_MS = 300


class HealingController(QObject):
    """Fills the :class:`HealingModel`; the setting is kept with the others."""

    def __init__(
        self,
        *,
        desk: Desk,
        generation: Generation,
        models: ModelChoiceModel,
        settings: SettingsModel,
        model: HealingModel,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._desk = desk
        self._generation = generation
        self._models = models
        self._settings = settings
        self._model = model
        self._text = ""
        self._run: RunHandle | None = None
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_PAUSE_MS)
        self._pause.timeout.connect(self._look)
        model.switched.connect(self._on_switched)
        models.loaded_changed.connect(self._soon)
        generation.busy_changed.connect(self._soon)

    @Slot(object)
    def note_text(self, text: str | None) -> None:
        """The raw text is now this one; None: it is not shown."""
        self._text = text or ""
        self._soon()

    def close(self) -> None:
        """Ask for nothing more."""
        self._pause.stop()

    @Slot(bool)
    def _on_switched(self, on: bool) -> None:
        self._settings.update(token_healing=on)
        self._soon()

    @Slot()
    def _soon(self, *_: object) -> None:
        self._desk.drop(self._run)
        self._run = None
        self._model.set_boundary(None, self._problem())
        if self._model.on and not self._model.problem:
            self._pause.start()
        else:
            self._pause.stop()

    def _problem(self) -> str:
        if self._models.loaded is None:
            return "Choose a model first: the tokens are the model's."
        return "" if self._text else "There is no text yet."

    @Slot()
    def _look(self) -> None:
        if not self._generation.running:
            request = BoundaryRequest(run_id=new_run_id(), prompt=self._text)
            self._run = self._desk.submit(request, self._take)

    def _take(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, HealingBoundary):
                self._model.set_boundary(event)
            elif isinstance(event, Failed):
                self._model.set_boundary(None, f"{event.message} {event.hint}".strip())
