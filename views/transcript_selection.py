"""A selection that runs over the pieces of several messages."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A position in the document of a piece of a message, all counted from 0."""

    item: int
    piece: int
    position: int


class Selection:
    """From where the mouse was pressed (or Shift held) to where it is now."""

    def __init__(self) -> None:
        self._anchor: Place | None = None
        self._cursor: Place | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing is selected."""
        return self._anchor is None or self._anchor == self._cursor

    def clear(self) -> None:
        """Select nothing."""
        self._anchor = self._cursor = None

    def start(self, place: Place) -> None:
        """Begin a selection here."""
        self._anchor = self._cursor = place

    def extend(self, place: Place) -> None:
        """Let the selection reach to here."""
        if self._anchor is None:
            self._anchor = place
        self._cursor = place

    def ordered(self) -> tuple[Place, Place] | None:
        """First and last place, or None if nothing is selected."""
        if self._anchor is None or self._cursor is None or self.empty:
            return None
        return min(self._anchor, self._cursor), max(self._anchor, self._cursor)

    def touches_item(self, item: int) -> bool:
        """Whether any of a message may be selected."""
        bounds = self.ordered()
        return bounds is not None and bounds[0].item <= item <= bounds[1].item

    def touches(self, item: int, piece: int) -> bool:
        """Whether any of a piece may be selected."""
        bounds = self.ordered()
        if bounds is None:
            return False
        first, last = bounds
        return (first.item, first.piece) <= (item, piece) <= (last.item, last.piece)

    def range_in(self, item: int, piece: int, size: int) -> tuple[int, int] | None:
        """The selected positions of a piece whose document has ``size`` characters, or None."""
        bounds = self.ordered()
        if bounds is None or not self.touches(item, piece):
            return None
        first, last = bounds
        start = first.position if (first.item, first.piece) == (item, piece) else 0
        end = last.position if (last.item, last.piece) == (item, piece) else size
        start, end = min(start, size), min(end, size)
        return (start, end) if end > start else None
