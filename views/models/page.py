"""The page of a document that is shown, and what is marked on it."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import QObject, QPointF, Signal
from PySide6.QtGui import QPolygonF

from inference.events import PageRendered, Source
from views.models.faults import Fault

PageState = Literal["empty", "drawing", "picture", "text", "password", "failed"]
#: Zoom 1 is a page as wide as its view.
ZOOMS = (0.5, 0.67, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0)


class PageModel(QObject):
    """What the page view shows.

    Signals:
        changed: Another page, picture or state.
        zoom_changed: Another zoom.
        opened: A passage was opened: the view brings it into sight.
    """

    changed = Signal()
    zoom_changed = Signal(float)
    opened = Signal()

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

    def open_source(self, source: Source, *, as_picture: bool) -> None:
        """Show the place of a passage; the picture comes later."""
        same = source.file == self.file
        self.file, self.number, self.source = source.file, source.page, source
        self.fault = None
        if not same:
            self.pages = 0
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

    def clear(self) -> None:
        """Show nothing."""
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

    def _is_shown(self, picture: PageRendered) -> bool:
        return picture.file == self.file and picture.page == self.number


def _polygon(
    box: tuple[float, float, float, float], transform: tuple[float, float, float, float, float, float]
) -> QPolygonF:
    left, bottom, right, top = box
    a, b, c, d, e, f = transform
    corners = ((left, bottom), (right, bottom), (right, top), (left, top))
    return QPolygonF([QPointF(a * x + c * y + e, b * x + d * y + f) for x, y in corners])
