"""What was written and not sent: each conversation has its own, and it outlives the app."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from PySide6.QtCore import QObject, Slot

from app.controllers.remembering import RememberingController
from app.history import Conversation


class Field(Protocol):
    """The part of ``views.composer.Composer`` that is needed here."""

    def text(self) -> str:
        """What is written."""

    def set_text(self, text: str) -> None:
        """Put another text in."""


class UnsentController(QObject):
    """Keeps the composer's text for the conversation that is open.

    Args:
        composer: Where it is written.
        remembering: Where it is kept between starts.
    """

    def __init__(
        self, *, composer: Field, remembering: RememberingController, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._composer, self._remembering = composer, remembering
        self._open: int | None = None

    @Slot()
    def note(self) -> None:
        """Something was written, or sent."""
        self._remembering.keep_unsent(self._open, self._composer.text())

    @Slot(object)
    def show(self, conversation: Conversation | None) -> None:
        """Another conversation is open: its own text takes the place of the last one's."""
        number = conversation.id if conversation is not None else None
        if number != self._open:
            self._open = number
            self._composer.set_text(self._remembering.unsent_of(number))

    def restore(self, exists: Callable[[int], bool]) -> None:
        """Put back what was not sent when the last session ended; what belonged to conversations that were
        deleted since goes with them.
        """
        for number, _ in self._remembering.remembered.unsent:
            if number and not exists(number):
                self._remembering.keep_unsent(number, "")
        if text := self._remembering.unsent_of(self._open):
            self._composer.set_text(text)
