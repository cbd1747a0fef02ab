"""Pages of documents: which one is shown, and its picture."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Slot

from app.controllers.asking import AskingController
from app.controllers.libraries import Passwords
from app.controllers.models import as_fault
from app.desk import Desk
from inference.events import Event, Failed, PageRendered, RenderPageRequest, Source
from inference.running import RunHandle, new_run_id
from views.models.page import PageModel


class PagesController(QObject):
    """Opens the place of a passage.

    Args:
        desk: Where pages are drawn.
        asking: Knows which source a citation means.
        model: What is shown.
        passwords: Of protected documents.
    """

    def __init__(
        self,
        *,
        desk: Desk,
        asking: AskingController,
        model: PageModel,
        passwords: Passwords,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._desk, self._asking, self._model = desk, asking, model
        self._passwords = passwords
        self._drawing: RunHandle | None = None

    @Slot(object)
    def open_source(self, source: Source) -> None:
        """Show the place of a passage."""
        self._model.open_source(source, as_picture=Path(source.file).suffix.lower() == ".pdf")

    @Slot(int, int)
    def open_citation(self, turn: int, number: int) -> None:
        """Show what a citation leads to."""
        source = self._asking.show_turn(turn, number)
        if source is not None:
            self.open_source(source)

    @Slot(object)
    def offer(self, source: Source) -> None:
        """Show the place of a passage if no page is shown that someone may be reading."""
        if self._model.state == "empty":
            self.open_source(source)

    @Slot(int)
    def draw(self, width: int) -> None:
        """Draw the page that the model wants, so many pixels wide."""
        self._desk.drop(self._drawing)
        request = RenderPageRequest(
            run_id=new_run_id(),
            file=self._model.file,
            page=self._model.number,
            width=width,
            password=self._passwords.get(self._model.file),
        )
        self._drawing = self._desk.submit(request, self._take)

    @Slot(str, str)
    def unlock(self, file: str, password: str) -> None:
        """Try again with a password."""
        self._passwords[file] = password
        if self._model.state == "password" and self._model.file == file and self._model.source is not None:
            self.open_source(self._model.source)

    @Slot()
    def clear(self) -> None:
        """Show nothing."""
        self._desk.drop(self._drawing)
        self._model.clear()

    def _take(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, PageRendered):
                self._model.set_picture(event)
            elif isinstance(event, Failed):
                self._model.set_fault(as_fault(event))
