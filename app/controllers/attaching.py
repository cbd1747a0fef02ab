"""Documents attached to the chat: read into a library of their own, searched with each message."""

from __future__ import annotations

import os
from pathlib import Path

from PySide6.QtCore import QObject, Signal, Slot

from app.desk import Desk
from app.faults import FaultReporter
from inference.documents import prompting
from inference.events import (
    ENDINGS,
    DocumentEntry,
    DocumentIndexed,
    Event,
    Failed,
    Hits,
    IndexRequest,
    LibraryOpened,
    SearchRequest,
    Source,
)
from inference.running import new_run_id
from views.models.attachments import Attachment, AttachmentsModel
from views.models.library import state_words

_PASSAGES = 4  # that go along with a message
_WORTH_READING = 0.8  # of the best one's score


class AttachingController(QObject):
    """A message with documents becomes one with numbered sources, as the model will read it.

    Args:
        desk: Where they are read and searched, so that neither waits for a library.
        folder: Of the library that holds what is attached.
        model: What is shown.
        faults: Told of what went wrong.
    """

    #: Send this text.
    send_wanted = Signal(str)
    told = Signal(str)

    def __init__(
        self,
        *,
        desk: Desk,
        folder: Path,
        model: AttachmentsModel,
        faults: FaultReporter,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._desk = desk
        self._folder, self._model, self._faults = folder, model, faults
        self._held: str | None = None
        self._asked = ""

    @Slot(list)
    def add(self, paths: list[str]) -> None:
        """Attach documents."""
        files = [os.path.abspath(path) for path in paths]
        self._model.put(Attachment(file=file) for file in files)
        self._index(add=tuple(files))

    @Slot(str)
    def remove(self, file: str) -> None:
        """Take a document away; nothing of it is kept."""
        self._model.remove(file)
        self._index(remove=(file,))
        self._go_on()

    @Slot(str)
    def send(self, text: str) -> None:
        """Send a message, with what the attached documents have to say to it; waits until they are read."""
        if not self._model.items:
            self.send_wanted.emit(text)
            return
        self._held = text
        if self._model.reading:
            self.told.emit("The message goes out as soon as its document is read.")
        self._go_on()

    def _go_on(self) -> None:
        if self._held is None or self._model.reading:
            return
        text, self._held = self._held, None
        files = self._model.ready
        if not files:
            self.send_wanted.emit(text)
            return
        self._asked = text
        request = SearchRequest(
            run_id=new_run_id(),
            library=str(self._folder),
            query=text,
            limit=_PASSAGES,
            rerank=True,
            files=files,
        )
        self._desk.submit(request, self._on_hits)

    def _index(self, *, add: tuple[str, ...] = (), remove: tuple[str, ...] = ()) -> None:
        request = IndexRequest(run_id=new_run_id(), library=str(self._folder), add=add, remove=remove)
        self._desk.submit(request, self._on_read)

    def _on_read(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, DocumentIndexed):
                self._show([event.entry])
            elif isinstance(event, LibraryOpened):
                self._show(event.documents)
            elif isinstance(event, Failed):
                self._faults.report_failed(event)
        if isinstance(events[-1], ENDINGS):
            self._go_on()

    def _show(self, entries: tuple[DocumentEntry, ...] | list[DocumentEntry]) -> None:
        known = {item.file for item in self._model.items}
        self._model.put(
            Attachment(
                file=entry.file,
                state="ready" if entry.state == "indexed" else "unreadable",
                words=_pages(entry) if entry.state == "indexed" else state_words(entry),
            )
            for entry in entries
            if entry.file in known
        )

    def _on_hits(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, Hits):
                self.send_wanted.emit(with_sources(self._asked, event.hits))
            elif isinstance(event, Failed):
                self._faults.report_failed(event)
                self.send_wanted.emit(self._asked)


def with_sources(text: str, hits: tuple[Source, ...]) -> str:
    """The message as the model reads it: with the passages that fit it best, numbered."""
    if not hits:
        return text
    near = [hit for hit in hits if hit.score >= _WORTH_READING * hits[0].score]
    sources = [
        prompting.Source(text=hit.text, label=f"{Path(hit.file).name}, {hit.unit} {hit.page}") for hit in near
    ]
    return prompting.format_user_turn(text, sources)


def _pages(entry: DocumentEntry) -> str:
    return f"{entry.pages:,} page{'' if entry.pages == 1 else 's'}"
