"""The page of a document that is shown, and what is marked on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import QObject, QPointF, Signal
from PySide6.QtGui import QPolygonF

from inference.events import PageRendered, PageText, Source, TextFound
from views.models.faults import Fault
from views.models.page_text import PageCharacters

Box = tuple[float, float, float, float]
PageState = Literal["empty", "drawing", "picture", "text", "password", "failed"]
#: Zoom 1 is a page as wide as its view.
ZOOMS = (0.5, 0.67, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPlace:
    """A place of the words that are looked for: one box for each line."""

    page: int
    boxes: tuple[Box, ...]


class PageModel(QObject):
    """What the page view shows.

    Attributes:
        characters: Those of the page that is shown, once they are there.
        selection: Offsets of the selected ones, the first and the one after the last.
        wanted: The words that are looked for in the document.
        found: Their places so far, by page.
        found_at: Which of them is shown; -1: none.
        searched: How many of how many pages have been looked at.

    Signals:
        changed: Another page, picture or state.
        zoom_changed: Another zoom.
        opened: A passage was opened: the view brings it into sight.
    """

    changed = Signal()
    zoom_changed = Signal(float)
    opened = Signal()
    #: Other characters, or other ones of them selected.
    selected = Signal()
    #: Other places of the words that are looked for.
    found_changed = Signal()
    #: A place of these words is to be brought into sight.
    found_shown = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.state: PageState = "empty"
        self.file = ""
        self.number = 0
        self.pages = 0
        self.source: Source | None = None
        self.picture: PageRendered | None = None
        self.fault: Fault | None = None
        self.zoom = 1.0
        self.characters: PageCharacters | None = None
        self.selection = (0, 0)
        self.wanted = ""
        self.found: tuple[FoundPlace, ...] = ()
        self.found_at = -1
        self.searched = (0, 0)

    def open_source(self, source: Source, *, as_picture: bool) -> None:
        """Show the place of a passage; the picture comes later."""
        same = source.file == self.file
        self.file, self.number, self.source = source.file, source.page, source
        self.fault = None
        if not same:
            self.pages = 0
            self.look_for("")
        if not as_picture:
            self.picture, self.state = None, "text"
        elif self.picture is None or not self._is_shown(self.picture):
            self.state = "drawing"
        else:
            self.state = "picture"
        self.changed.emit()
        self.opened.emit()

    def go_to(self, number: int) -> None:
        """Show another page of the same document."""
        if self.file and 1 <= number <= max(self.pages, 1) and number != self.number:
            self.number, self.state = number, "drawing"
            self.changed.emit()

    def set_picture(self, picture: PageRendered) -> None:
        """Show a picture if it is that of the page that is wanted."""
        if self._is_shown(picture):
            if self.characters is not None and not self._is_shown(self.characters):
                self.set_characters(None)
            self.picture, self.pages, self.state, self.fault = picture, picture.pages, "picture", None
            self.changed.emit()

    def set_fault(self, fault: Fault) -> None:
        """Say why the page can't be shown, or ask for the password."""
        self.picture, self.fault = None, fault
        self.state = "password" if fault.kind == "password" else "failed"
        self.changed.emit()

    def set_zoom(self, zoom: float) -> None:
        """Show the page larger or smaller."""
        zoom = min(max(zoom, ZOOMS[0]), ZOOMS[-1])
        if zoom != self.zoom:
            self.zoom = zoom
            self.zoom_changed.emit(zoom)

    def zoom_by(self, steps: int) -> None:
        """One step larger (+1) or smaller (-1)."""
        nearest = min(range(len(ZOOMS)), key=lambda at: abs(ZOOMS[at] - self.zoom))
        self.set_zoom(ZOOMS[min(max(nearest + steps, 0), len(ZOOMS) - 1)])

    # --- text

    def set_characters(self, text: PageText | None) -> None:
        """Take the characters of the page that is shown."""
        if text is None or self._is_shown(text):
            self.characters = None if text is None else PageCharacters(text)
            self.selection = (0, 0)
            self.selected.emit()

    def select(self, start: int, end: int) -> None:
        """Select these characters; none: the same offset twice."""
        if (start, end) != self.selection:
            self.selection = (start, end)
            self.selected.emit()

    @property
    def selected_text(self) -> str:
        """What is selected, as it is copied."""
        return "" if self.characters is None else self.characters.copied(*self.selection)

    def look_for(self, words: str) -> None:
        """Other words are looked for; none: the search is over."""
        if words or self.wanted:
            self.wanted, self.found, self.found_at, self.searched = words, (), -1, (0, 0)
            self.found_changed.emit()

    def add_found(self, event: TextFound) -> None:
        """Take more places; the first one is shown."""
        if event.file != self.file or event.text != self.wanted:
            return
        shown = self.found[self.found_at] if self.found_at >= 0 else None
        more = [FoundPlace(page=event.page, boxes=place) for place in event.places]
        self.found = tuple(sorted([*self.found, *more], key=lambda place: place.page))
        self.searched = (event.pages_done, event.pages)
        self.found_at = -1 if shown is None else self.found.index(shown)
        if shown is None and more:
            self.show_found(self.found.index(more[0]))
        else:
            self.found_changed.emit()

    def show_found(self, at: int) -> None:
        """Show one of the places; after the last comes the first."""
        if self.found:
            self.found_at = at % len(self.found)
            self.found_changed.emit()
            self.go_to(self.found[self.found_at].page)
            self.found_shown.emit()

    def clear(self) -> None:
        """Show nothing."""
        self.set_characters(None)
        self.look_for("")
        self.state, self.file, self.number, self.pages = "empty", "", 0, 0
        self.source = self.picture = self.fault = None
        self.changed.emit()

    def marks(self) -> tuple[list[QPolygonF], list[QPolygonF]]:
        """The marked sentences and the whole passage, as shapes in a picture of width and height 1; none on
        other pages.
        """
        source, picture = self.source, self.picture
        if source is None or picture is None or source.page != picture.page or source.file != picture.file:
            return [], []
        strong = [_polygon(box, picture.transform) for box in source.boxes]
        return strong, [_polygon(box, picture.transform) for box in source.passage_boxes]

    def selected_shapes(self) -> list[QPolygonF]:
        """The selected characters, as shapes in a picture of width and height 1."""
        if self.characters is None or self.picture is None or not self._is_shown(self.picture):
            return []
        return [_polygon(box, self.picture.transform) for box in self.characters.places(*self.selection)]

    def found_shapes(self) -> tuple[list[QPolygonF], list[QPolygonF]]:
        """The places of the words on this page, and those of the one that is shown, in the same way."""
        if self.picture is None or not self._is_shown(self.picture):
            return [], []
        shown = self.found[self.found_at] if self.found_at >= 0 else None
        shapes: tuple[list[QPolygonF], list[QPolygonF]] = ([], [])
        for place in self.found:
            if place.page == self.number:
                shapes[place is shown].extend(_polygon(box, self.picture.transform) for box in place.boxes)
        return shapes

    def point_at(self, x: float, y: float) -> tuple[float, float]:
        """The PDF point that stands at (x, y) of a picture of width and height 1."""
        if self.picture is None:
            return 0.0, 0.0
        a, b, c, d, e, f = self.picture.transform
        determinant = a * d - b * c or 1.0
        x, y = x - e, y - f
        return (d * x - c * y) / determinant, (a * y - b * x) / determinant

    def _is_shown(self, picture: PageRendered | PageText | PageCharacters) -> bool:
        return picture.file == self.file and picture.page == self.number


def _polygon(box: Box, transform: tuple[float, float, float, float, float, float]) -> QPolygonF:
    left, bottom, right, top = box
    a, b, c, d, e, f = transform
    corners = ((left, bottom), (right, bottom), (right, top), (left, top))
    return QPolygonF([QPointF(a * x + c * y + e, b * x + d * y + f) for x, y in corners])
