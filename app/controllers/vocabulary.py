"""Tokens are looked up by their text, for the list of biases."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal, Slot

from app.desk import Desk
from inference.events import Event, Failed, FindTokensRequest, TokensFound
from inference.running import RunHandle, new_run_id
from views.models.model_choice import ModelChoiceModel


class VocabularyController(QObject):
    """Answers what is typed with the tokens that it may mean; only the newest text counts.

    Args:
        desk: Where the vocabulary of the loaded model is read, also while a reply is written.
        models: Whether one is loaded.
    """

    #: What was looked for, and the tokens (:class:`~inference.events.FoundToken`), the best first.
    found = Signal(str, object)

    def __init__(self, *, desk: Desk, models: ModelChoiceModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._desk, self._models = desk, models
        self._looking: RunHandle | None = None

    @Slot(str)
    def look_up(self, text: str) -> None:
        """Look for the tokens of this text."""
        self._desk.drop(self._looking)
        self._looking = None
        if not text or self._models.loaded is None:
            self.found.emit(text, ())
            return
        self._looking = self._desk.submit(FindTokensRequest(run_id=new_run_id(), text=text), self._take)

    def _take(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, TokensFound):
                self.found.emit(event.text, event.matches)
            elif isinstance(event, Failed):
                self.found.emit("", ())
