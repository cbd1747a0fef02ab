"""Pages of documents: which one is shown, and its picture."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Slot

from app.controllers.asking import AskingController
from app.controllers.libraries import Passwords
from app.controllers.models import as_fault
from app.desk import Desk
from inference.events import (
    Event,
    Failed,
    FindTextRequest,
    PageRendered,
    PageText,
    PageTextRequest,
    RenderPageRequest,
    Source,
    TextFound,
    WarmPagesRequest,
)
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
        self._reading: RunHandle | None = None
        self._finding: RunHandle | None = None

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

    @Slot(str)
    def find(self, words: str) -> None:
        """Look for words in the document that is shown."""
        self._desk.drop(self._finding)
        self._finding = None
        self._model.look_for(words)
        if words and self._model.file:
            request = FindTextRequest(
                run_id=new_run_id(),
                file=self._model.file,
                text=words,
                first=max(self._model.number, 1),
                password=self._passwords.get(self._model.file),
            )
            self._finding = self._desk.submit(request, self._take_found)

    @Slot()
    def clear(self) -> None:
        """Show nothing, and be ready to show a page at once."""
        for handle in (self._drawing, self._reading, self._finding):
            self._desk.drop(handle)
        self._model.clear()
        self._desk.submit(WarmPagesRequest(run_id=new_run_id()), _hear_nothing)

    def _take(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, PageRendered):
                self._model.set_picture(event)
                self._read_characters()
            elif isinstance(event, Failed):
                self._model.set_fault(as_fault(event))

    def _read_characters(self) -> None:
        """Have the characters of the page that is shown read, for selecting."""
        model, known = self._model, self._model.characters
        if known is not None and (known.file, known.page) == (model.file, model.number):
            return
        self._desk.drop(self._reading)
        request = PageTextRequest(
            run_id=new_run_id(),
            file=model.file,
            page=model.number,
            password=self._passwords.get(model.file),
        )
        self._reading = self._desk.submit(request, self._take_characters)

    def _take_characters(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, PageText):
                self._model.set_characters(event)

    def _take_found(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, TextFound):
                self._model.add_found(event)


def _hear_nothing(events: tuple[Event, ...]) -> None:
    """A start that fails is told by the first page that is wanted."""
