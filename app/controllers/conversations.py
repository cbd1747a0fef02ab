"""The side list: new, open, rename, delete with undo, search, export."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from PySide6.QtCore import QObject, Signal, Slot

from app.controllers.chat import ChatController
from app.controllers.generation import Generation
from app.exporting import to_json_text, to_markdown
from app.faults import FaultReporter
from app.history import Conversation, History
from app.settings import write_whole
from views.models.conversations import ConversationEntry, ConversationsModel


class ConversationsController(QObject):
    """Keeps the list of conversations and the history in step."""

    told = Signal(str)

    def __init__(
        self,
        *,
        history: History,
        model: ConversationsModel,
        chat: ChatController,
        generation: Generation,
        faults: FaultReporter,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._history = history
        self._model = model
        self._chat = chat
        self._generation = generation
        self._faults = faults
        model.rename_requested.connect(self.rename)
        chat.touched.connect(self.refresh)
        chat.opened.connect(self._on_opened)
        generation.busy_changed.connect(model.set_busy)

    @Slot()
    def load(self) -> None:
        """Fill the list; conversations with an interrupted reply are marked."""
        interrupted = {message.conversation for message in self._history.unfinished()}
        self._model.reset(_entry(item, item.id in interrupted) for item in self._history.conversations())

    @Slot(int)
    def refresh(self, conversation: int) -> None:
        """Bring one row up to date."""
        interrupted = any(
            message.conversation == conversation and message.id not in self._generation.running
            for message in self._history.unfinished()
        )
        self._model.put(_entry(self._history.conversation(conversation), interrupted))

    @Slot(object, str)
    def rename(self, conversation: int, title: str) -> None:
        """Give a conversation another title."""
        self._history.rename(conversation, title)

    @Slot(object)
    def delete(self, conversation: int) -> None:
        """Take a conversation off the list; :meth:`undo_delete` brings it back."""
        if conversation == self._chat.conversation:
            self._chat.new_chat()
        self._generation.stop([message.id for message in self._history.tree(conversation)])
        self._history.delete(conversation)
        self._model.remove(conversation)

    @Slot(object)
    def undo_delete(self, conversation: int) -> None:
        """Bring a deleted conversation back."""
        self._history.restore(conversation)
        self.refresh(conversation)

    @Slot(str)
    def search(self, words: str) -> None:
        """Look into the messages of all conversations."""
        self._model.set_matches({found.conversation for found in self._history.search(words)})

    def export(self, conversation: int, kind: str, path: Path) -> bool:
        """Write a conversation to a file; ``kind`` is "markdown" or "json" (with all that is known of its
        tokens).
        """
        self._generation.save()
        if kind == "markdown":
            text = to_markdown(self._history, conversation)
        else:
            text = to_json_text(self._history, conversation, with_tokens=True)
        try:
            write_whole(path, text)
        except OSError as error:
            self._faults.report(
                kind="export-failed",
                message=f"{path.name} could not be written.",
                hint="Choose another folder, or free some space on the disk.",
                details=f"{path}\n{error}",
            )
            return False
        self.told.emit(f"Saved as {path.name}.")
        return True

    @Slot(object)
    def _on_opened(self, conversation: Conversation | None) -> None:
        if conversation is not None:
            self.refresh(conversation.id)


def _entry(conversation: Conversation, interrupted: bool) -> ConversationEntry:
    return ConversationEntry(
        id=conversation.id,
        title=conversation.title,
        updated=datetime.fromtimestamp(conversation.updated),
        interrupted=interrupted,
    )
