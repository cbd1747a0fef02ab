"""The raw text of the open conversation, as the chat template makes it."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal, Slot

from app.controllers.chat import ChatController
from app.controllers.showing import turns
from app.desk import Desk
from app.faults import FaultReporter
from app.history import History
from inference.events import Event, Failed, PromptRendered, RenderRequest
from inference.running import RunHandle, new_run_id
from views.models.model_choice import ModelChoiceModel


class RawController(QObject):
    """Answers the wish for a raw text."""

    #: The text, and how many tokens it is.
    rendered = Signal(str, int)
    told = Signal(str)

    def __init__(
        self,
        *,
        desk: Desk,
        history: History,
        chat: ChatController,
        models: ModelChoiceModel,
        faults: FaultReporter,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._desk = desk
        self._history = history
        self._chat = chat
        self._models = models
        self._faults = faults
        self._rendering: RunHandle | None = None

    @Slot()
    def render(self) -> None:
        """Show what the model reads of the open conversation; a raw one is shown as it stands."""
        number = self._chat.conversation
        path = self._history.path(number) if number is not None else ()
        self._desk.drop(self._rendering)
        if number is not None and self._history.conversation(number).kind == "raw":
            self.rendered.emit("".join(message.text for message in path), 0)
            return
        if self._models.loaded is None:
            self.told.emit("Choose a model first: the template is the model's.")
            return
        remote = self._models.loaded.info.remote
        if remote is not None and remote.kind != "llama.cpp":
            self.told.emit("The chat template is the server's: it puts the messages together itself.")
            return
        last = path[-1] if path else None
        reply = last.text if last is not None and last.role == "assistant" else ""
        messages = turns(self._chat.system_prompt, path[:-1] if reply else path)
        if messages:
            request = RenderRequest(run_id=new_run_id(), messages=messages, reply_text=reply)
            self._rendering = self._desk.submit(request, self._take)

    def _take(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, PromptRendered):
                self.rendered.emit(event.text, event.tokens)
            elif isinstance(event, Failed):
                self._faults.report_failed(event)
