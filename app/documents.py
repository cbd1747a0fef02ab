"""The documents' own corner: threads that read and search, and the controllers around them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path

from PySide6.QtCore import QObject, Slot

from app.controllers.asking import AskingController
from app.controllers.attaching import AttachingController
from app.controllers.influence import InfluenceController
from app.controllers.libraries import LibrariesController, Passwords
from app.controllers.pages import PagesController
from app.desk import Desk
from app.faults import FaultReporter
from app.libraries import LibraryFolders
from app.view_models import ViewModels
from app.worker import SessionLike, Worker


class Documents(QObject):
    """Reading has a thread of its own, so that searching and asking go on meanwhile; so have searches and
    pages, so that neither waits for a model.

    Args:
        engine: Where the model answers.
        make_session: Makes the sessions of both threads.
        root: The folder that holds the libraries.
        models: What is shown.
        faults: Told of what went wrong.
        name: The library that was open last time.
    """

    def __init__(
        self,
        *,
        engine: Desk,
        make_session: Callable[[], SessionLike],
        root: Path,
        models: ViewModels,
        faults: FaultReporter,
        name: str,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._name = name
        self.workers = tuple(
            Worker(make_session, name=thread, parent=self)
            for thread in ("indexer", "searcher", "pages", "attached")
        )
        indexer, searcher, pages, attached = (Desk(worker, parent=self) for worker in self.workers)
        passwords: Passwords = {}
        self.libraries = LibrariesController(
            reader=searcher,
            indexer=indexer,
            folders=LibraryFolders(root),
            model=models.library,
            passwords=passwords,
            faults=faults,
            store=lambda: models.settings.settings.library_store,
            parent=self,
        )
        self.asking = AskingController(
            engine=engine,
            reader=searcher,
            libraries=self.libraries,
            answers=models.answers,
            sources=models.sources,
            faults=faults,
            parent=self,
        )
        self.attaching = AttachingController(
            desk=attached,
            folder=root.parent / "attached",
            model=models.attachments,
            faults=faults,
            parent=self,
        )
        self.influence = InfluenceController(
            engine=engine,
            asking=self.asking,
            answers=models.answers,
            models=models.models,
            faults=faults,
            parent=self,
        )
        self.pages = PagesController(
            desk=pages, asking=self.asking, model=models.page, passwords=passwords, parent=self
        )

    @Slot(str)
    def note_mode(self, mode: str) -> None:
        """Open the library of last time when the documents are shown first."""
        if mode == "documents":
            self.libraries.start(self._name)

    def add(self, paths: list[str]) -> None:
        """Add files and folders to the open library, or to that of last time."""
        self.libraries.start(self._name)
        self.libraries.add(paths)

    @Slot()
    def add_sample(self) -> None:
        """Add the document that comes with the app."""
        self.add([str(resources.files("resources").joinpath("documents", "sample.pdf"))])
