"""Libraries of documents: open them, fill them, read on where it was left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, Signal, Slot

from app.desk import Desk
from app.faults import FaultReporter
from app.libraries import FIRST, LibraryFolders, clean_name
from inference.events import (
    ENDINGS,
    Cancelled,
    CloseLibraryRequest,
    DeleteLibraryRequest,
    DocumentIndexed,
    Event,
    Failed,
    Finished,
    IndexProgress,
    IndexRequest,
    LibraryOpened,
    LibraryRequest,
)
from inference.running import RunHandle, new_run_id
from views.models.library import LibraryModel

BUILTIN = "builtin"

#: Passwords of protected documents by path: typed once, kept while the app runs, never stored.
Passwords = dict[str, str]


class LibrariesController(QObject):
    """One library is open at a time; it is read on a thread of its own, so that asking goes on meanwhile.

    What is to be added and taken out is kept until a run has finished, so that a pause, and another file
    that is dropped in the middle, lose nothing.

    Args:
        reader: Where libraries are opened; never behind reading.
        indexer: Where documents are read.
        folders: Where libraries are.
        model: What is shown.
        passwords: Filled here.
        faults: Told of what went wrong.
        store: Says where new libraries keep their passages; see ``LibraryRequest``.
    """

    #: Another library is open.
    opened = Signal()
    told = Signal(str)

    def __init__(
        self,
        *,
        reader: Desk,
        indexer: Desk,
        folders: LibraryFolders,
        model: LibraryModel,
        passwords: Passwords,
        faults: FaultReporter,
        store: Callable[[], str] = str,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._reader = reader
        self._indexer = indexer
        self._folders = folders
        self._model = model
        self._passwords = passwords
        self._faults = faults
        self._store = store
        self._made_with = BUILTIN
        self._then: Callable[[], None] | None = None
        self._aside: tuple[str, Path] | None = None
        self._opening: RunHandle | None = None
        self._reading: RunHandle | None = None
        self._add: list[str] = []
        self._remove: list[str] = []

    @property
    def folder(self) -> str:
        """The folder of the open library."""
        return str(self._folders.folder(self._model.current))

    # --- libraries

    def start(self, name: str = "") -> None:
        """Open the library of this name, or the first one, if none is open."""
        if self._model.state == "closed":
            self.settle_delete()  # what was deleted just before the app was closed
            names = self._folders.names()
            self._open(name if name in names else names[0] if names else FIRST)

    @Slot(str)
    def choose(self, name: str) -> None:
        """Open another library."""
        if name != self._model.current:
            self._open(name)

    @Slot(str)
    def make(self, name: str) -> None:
        """Make a library and open it."""
        if (name := clean_name(name)) and name not in self._folders.names():
            self._made_with = self._model.next_embedder
            self._open(name)
        elif name:
            self.choose(name)
        self._model.set_next_embedder(BUILTIN)

    @Slot(str)
    def rename(self, name: str) -> None:
        """Give the open library another name."""
        old, name = self._model.current, clean_name(name)
        taken = {known.casefold() for known in self._folders.names() if known != old}
        if name.casefold() in taken:
            self.told.emit(f"There is a library named “{name}” already.")
        elif name and name != old:
            self._close_then(lambda: self._rename(old, name))

    @Slot()
    def delete(self) -> None:
        """Delete the open library; :meth:`undo_delete` brings it back until the next one is deleted."""
        self.settle_delete()
        name = self._model.current
        self._close_then(lambda: self._set_aside(name))

    @Slot()
    def undo_delete(self) -> None:
        """Bring back the library that was deleted last."""
        if self._aside is None:
            return
        (name, folder), self._aside = self._aside, None
        self._model.set_deleted("")
        back = name if name not in self._folders.names() else f"{name} (back)"
        try:
            self._folders.bring_back(folder, back)
        except OSError as error:
            self._report("brought back", error)
            return
        self._open(back)

    @Slot()
    def settle_delete(self) -> None:
        """Let go for good of every library that was deleted."""
        self._aside = None
        self._model.set_deleted("")
        for folder in self._folders.aside():
            request = DeleteLibraryRequest(run_id=new_run_id(), library=str(folder))
            self._indexer.submit(request, self._hear_failure)

    def _rename(self, old: str, name: str) -> None:
        try:
            self._folders.rename(old, name)
        except OSError as error:
            self._report("renamed", error)
            name = old
        self._open(name)

    def _set_aside(self, name: str) -> None:
        try:
            self._aside = (name, self._folders.set_aside(name))
        except OSError as error:
            self._report("deleted", error)
            self._open(name)
            return
        names = self._folders.names()
        self._open(names[0] if names else FIRST)
        self._model.set_deleted(name)

    def _close_then(self, then: Callable[[], None]) -> None:
        """Let go of the open library's files, first where it is read and then where it is searched."""
        self._leave()
        self._model.set_state("opening")
        self._then = then
        self._indexer.submit(CloseLibraryRequest(run_id=new_run_id(), library=self.folder), self._closed_once)

    def _closed_once(self, events: tuple[Event, ...]) -> None:
        if isinstance(events[-1], ENDINGS):
            request = CloseLibraryRequest(run_id=new_run_id(), library=self.folder)
            self._reader.submit(request, self._closed_twice)

    def _closed_twice(self, events: tuple[Event, ...]) -> None:
        then, self._then = self._then, None
        if isinstance(events[-1], ENDINGS) and then is not None:
            then()

    def _hear_failure(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, Failed):
                self._faults.report_failed(event)

    def _report(self, what: str, error: OSError) -> None:
        self._faults.report(
            kind="unreadable-file",
            message=f"The library can't be {what}: {error.strerror}.",
            hint="Close other programs that use its folder, and try again.",
        )

    def _leave(self) -> None:
        """Do nothing more with the open library."""
        self._reader.drop(self._opening)
        self._indexer.drop(self._reading)
        self._reading = None
        self._add, self._remove = [], []
        self._model.set_progress(None)
        self.opened.emit()

    def _open(self, name: str) -> None:
        self._reader.drop(self._opening)
        self._indexer.drop(self._reading)
        self._reading = None
        self._add, self._remove = [], []
        names = {*self._folders.names(), name}
        self._model.documents.reset(())
        self._model.set_passages(0)
        self._model.set_outdated(0)
        self._model.set_progress(None)
        self._model.set_names(sorted(names, key=str.casefold), name)
        self._model.set_state("opening")
        request = LibraryRequest(
            run_id=new_run_id(), library=self.folder, embedder=self._made_with, store=self._store()
        )
        self._made_with = BUILTIN
        self._opening = self._reader.submit(request, self._on_opened)
        self.opened.emit()

    def _on_opened(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, LibraryOpened):
                self._show(event)
            elif isinstance(event, Failed):
                self._faults.report_failed(event)
        if isinstance(events[-1], ENDINGS) and self._model.state == "opening":
            self._model.set_state("idle")
            if self._add or self._remove or self._model.documents.entries:
                self._read()  # what has changed since the last time, and what was left then

    # --- documents

    @Slot(list)
    def add(self, paths: list[str]) -> None:
        """Add files and folders to the open library."""
        self.start()
        self._add += [path for path in paths if path not in self._add]
        self._remove = [path for path in self._remove if path not in paths]
        self._read()

    @Slot(list)
    def remove(self, files: list[str]) -> None:
        """Take documents out of the open library."""
        self._remove += files
        self._add = [path for path in self._add if path not in files]
        kept = [entry for entry in self._model.documents.entries if entry.file not in files]
        self._model.documents.reset(kept)
        self._read()

    @Slot(str, str)
    def unlock(self, file: str, password: str) -> None:
        """Read a protected document."""
        self._passwords[file] = password
        if any(entry.file == file and entry.reason == "password" for entry in self._model.documents.entries):
            self._read()

    @Slot()
    def pause(self) -> None:
        """Stop reading for now; everything that was done is kept."""
        if self._reading is not None:
            self._model.set_state("stopping")
            self._reading.cancel()

    @Slot()
    def resume(self) -> None:
        """Go on reading."""
        self._read()

    @Slot()
    def cancel(self) -> None:
        """Stop reading, and leave out what is not read yet."""
        self._read(drop_unread=True)

    def _read(self, *, drop_unread: bool = False) -> None:
        if self._model.state in ("closed", "opening"):
            return  # it begins when the library is open
        self._indexer.drop(self._reading)
        request = IndexRequest(
            run_id=new_run_id(),
            library=self.folder,
            add=tuple(self._add),
            remove=tuple(self._remove),
            passwords=tuple(self._passwords.items()),
            drop_unread=drop_unread,
        )
        self._reading = self._indexer.submit(request, self._on_read)
        self._model.set_progress(None)
        self._model.set_state("stopping" if drop_unread else "indexing")

    def _on_read(self, events: tuple[Event, ...]) -> None:
        progress = next((e for e in reversed(events) if isinstance(e, IndexProgress)), None)
        if progress is not None:
            self._model.set_progress(progress)
        for event in events:
            if isinstance(event, DocumentIndexed):
                self._model.documents.put(event.entry)
            elif isinstance(event, LibraryOpened):
                self._show(event)
        if isinstance(events[-1], ENDINGS):
            self._end(events[-1])

    def _end(self, ending: Event) -> None:
        self._reading = None
        if isinstance(ending, Cancelled):
            self._model.set_state("paused")
            return
        if isinstance(ending, Failed):
            self._faults.report_failed(ending)
        if isinstance(ending, Finished):
            self._add, self._remove = [], []
        self._model.set_progress(None)
        self._model.set_state("idle")

    def _show(self, event: LibraryOpened) -> None:
        if Path(event.library) == Path(self.folder).expanduser().resolve():
            self._model.documents.reset(event.documents)
            self._model.set_passages(event.passages)
            self._model.set_outdated(event.outdated)
            self._model.set_embedder(event.embedder)
