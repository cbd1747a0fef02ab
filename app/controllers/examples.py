"""Empty panels teach: their button shows them at work on an example."""

from __future__ import annotations

import math

from PySide6.QtCore import QObject, Slot

from app.controllers.chat import ChatController
from app.controllers.generation import Generation
from app.view_models import ViewModels
from views.models.focus import TokenSpan

_QUESTION = "Write a fable about a fox and a crow."


class ExamplesController(QObject):
    """Writes an example reply where there is none yet, and looks at one of its tokens."""

    def __init__(
        self,
        *,
        chat: ChatController,
        generation: Generation,
        models: ViewModels,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._chat = chat
        self._models = models
        self._token_wanted = False
        generation.ended.connect(self._on_ended)

    @Slot()
    def show_reply(self) -> None:
        """Have an example question answered."""
        self._chat.send(_QUESTION)

    @Slot()
    def show_token(self) -> None:
        """Put the focus on the least certain token of the last reply, after writing one if need be."""
        if not self._focus_least_certain():
            self._token_wanted = True
            if self._models.transcript.streaming_id is None:
                self.show_reply()

    @Slot(object, object)
    def _on_ended(self, *_: object) -> None:
        if self._token_wanted:
            self._token_wanted = False
            self._focus_least_certain()

    def _focus_least_certain(self) -> bool:
        reply = self._models.transcript.last_reply
        if reply is None or reply.state == "streaming" or not len(reply.track):
            return False
        entropies = [
            -math.inf if token.special or token.entropy is None else token.entropy
            for token in reply.track.tokens
        ]
        place = max(range(len(entropies)), key=entropies.__getitem__)
        self._models.focus.set_focus(TokenSpan(reply.id, place, place + 1))
        return True
