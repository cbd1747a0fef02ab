"""The chat template of the loaded model: shown, replaced, and kept for the model."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, Slot

from app.desk import Desk
from inference.events import ChatTemplate, ChatTemplateRequest, Event, Failed, ModelLoaded
from inference.running import new_run_id
from views.models.chat_template import ChatTemplateModel
from views.models.model_choice import ModelChoiceModel


class TemplateController(QObject):
    """Puts a model's kept template in place when it is loaded, and keeps what the user writes.

    Args:
        desk: The engine's; requests wait there for each other, so that the template acts in the next reply.
        models: Which model is loaded.
        model: What is shown.
        kept: The template that is kept for a model's source; "" for none.
        keep: Keeps one for a source; "" forgets it.
    """

    def __init__(
        self,
        *,
        desk: Desk,
        models: ModelChoiceModel,
        model: ChatTemplateModel,
        kept: Callable[[str], str],
        keep: Callable[[str, str], None],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._desk = desk
        self._models = models
        self._model = model
        self._kept = kept
        self._keep = keep
        models.loaded_changed.connect(self._on_model)

    @Slot(str)
    def use(self, template: str) -> None:
        """Use this template from the next message on."""
        self._ask(template)

    @Slot()
    def restore(self) -> None:
        """Use the model's own template again."""
        self._ask("")

    @Slot(bool)
    def think(self, on: bool) -> None:
        """Ask the model to think before its next answers, or not to; until it is unloaded."""
        self._desk.submit(ChatTemplateRequest(run_id=new_run_id(), thinking=on), self._take_thinking)

    def _take_thinking(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, ChatTemplate):
                self._model.show(event)

    @Slot(object)
    def _on_model(self, loaded: ModelLoaded | None) -> None:
        self._model.show(None)
        if loaded is not None:
            self._ask(self._kept(loaded.info.source) or None)

    def _ask(self, template: str | None) -> None:
        if self._models.loaded is None:
            return
        source = self._models.loaded.info.source

        def take(events: tuple[Event, ...]) -> None:
            if self._models.loaded is None or self._models.loaded.info.source != source:
                return
            for event in events:
                if isinstance(event, ChatTemplate):
                    self._model.show(event)
                    if template is not None:
                        self._keep(source, event.template if event.edited else "")
                elif isinstance(event, Failed):
                    self._model.refuse(event.message)

        self._desk.submit(ChatTemplateRequest(run_id=new_run_id(), template=template), take)
