"""Messages under each other, laid out only where they are seen. No widget: heights, tops and what is where.

A message's text is a list of pieces. A message that was not seen yet has no pieces, only an estimated
height; a piece that was not seen yet has only an estimated height too. All heights are whole pixels.
Coordinates are those of the whole column, y downwards.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil

from views.models.focus import MessageId
from views.models.transcript import ShownMessage
from views.theme import TEXT_COLUMNS

#: Above a message's text, below it (its buttons), between messages, and around the text of a bubble.
HEADER, FOOTER, BETWEEN, PADDING = 24, 28, 20, 12
#: Height of the line that stands in for a reply that has not begun.
WAITING = 24
_LINE = 24.0


class Piece(ABC):
    """A stretch of a message's text, ``start`` to ``end`` (exclusive), and the space it takes."""

    gap = 0.0

    def __init__(self, start: int, end: int) -> None:
        self.start, self.end = start, end
        self.top = 0.0
        self.height = 0.0
        self.exact = False
        #: What the estimated height was made for.
        self.guessed_for: tuple[int, float] | None = None

    @abstractmethod
    def estimate(self, width: float) -> float:
        """A cheap guess of the height at this width."""

    @abstractmethod
    def measure(self, width: float) -> float:
        """Lay the piece out at this width and return its height."""

    @abstractmethod
    def y_of(self, offset: int) -> float:
        """Where the line that holds the character at ``offset`` begins, below the piece's top."""

    @abstractmethod
    def offset_at(self, y: float) -> int:
        """Offset of the first character of the line at ``y`` below the piece's top."""


@dataclass(slots=True)
class Item:
    """A message in the column.

    ``pieces`` is filled when it is first seen (``built``); their tops are relative to ``top``. While
    ``replaced_height`` is set, something else of that height stands in place of the text.
    """

    message: ShownMessage
    pieces: list[Piece] = field(default_factory=list)
    built: bool = False
    top: float = 0.0
    height: float = 0.0
    replaced_height: float | None = None

    @property
    def inset(self) -> float:
        """What the message's bubble takes on each side of the text."""
        return PADDING if self.message.role == "user" else 0.0


class ReadingColumn:
    """Places of all messages.

    Args:
        make_pieces: cuts a message's text into pieces, none of them laid out.
    """

    def __init__(self, make_pieces: Callable[[ShownMessage], list[Piece]]) -> None:
        self._make_pieces = make_pieces
        self._width = 600.0
        self.items: list[Item] = []
        self._tops: list[float] = []
        self._numbers: dict[MessageId, int] = {}
        self.total = 0.0

    def item(self, message_id: MessageId) -> Item:
        """The message with this id; KeyError if it is not there."""
        return self.items[self._numbers[message_id]]

    def number(self, item: Item) -> int:
        """Place of a message among the others."""
        return self._numbers[item.message.id]

    def text_width(self, item: Item) -> float:
        """How wide the text of a message may be."""
        return self._width - 2 * item.inset

    # --- what changes

    def replace_from(self, first: int, messages: Sequence[ShownMessage]) -> None:
        """Put these messages in the place of number ``first`` and all behind it."""
        for item in self.items[first:]:
            self._numbers.pop(item.message.id, None)
        del self.items[first:]
        for message in messages:
            self._numbers[message.id] = len(self.items)
            self.items.append(Item(message))
            self._arrange(self.items[-1])
        self._stack(first)

    def set_width(self, width: float) -> None:
        """Everything is laid out anew at another width."""
        self._width = width
        for item in self.items:
            for piece in item.pieces:
                piece.exact = False
            self._arrange(item)
        self._stack(0)

    def rebuild(self) -> None:
        """Forget all pieces: what they look like has changed."""
        for item in self.items:
            item.pieces, item.built = [], False
            self._arrange(item)
        self._stack(0)

    def changed(self, item: Item) -> None:
        """The pieces of this message changed."""
        self._arrange(item)
        self._stack(self.number(item))

    def build(self, item: Item) -> bool:
        """Cut a message into pieces if that was not done yet; says whether anything was done."""
        if item.built:
            return False
        item.pieces, item.built = self._make_pieces(item.message), True
        self.changed(item)
        return True

    def ensure_exact(self, item: Item, piece: Piece) -> bool:
        """Measure a piece if that was not done yet; says whether anything moved."""
        return self.ensure_all_exact([(item, piece)])

    def ensure_all_exact(self, shown: Sequence[tuple[Item, Piece]]) -> bool:
        """Measure these pieces as far as that was not done yet; says whether anything moved."""
        moved: dict[MessageId, tuple[Item, int]] = {}
        for item, piece in shown:
            if not piece.exact:
                before = piece.height
                piece.height = float(ceil(piece.measure(self.text_width(item))))
                piece.exact = True
                if piece.height != before and item.message.id not in moved:
                    moved[item.message.id] = item, item.pieces.index(piece)
        for item, first in moved.values():
            self._arrange(item, first)
        if moved:
            self._stack(min(self.number(item) for item, _ in moved.values()))
        return bool(moved)

    # --- what is where

    def items_in(self, top: float, bottom: float) -> Iterator[Item]:
        """Messages of which a part lies between these heights."""
        for item in self.items[max(0, bisect_right(self._tops, top) - 1) :]:
            if item.top > bottom:
                return
            if item.top + item.height > top:
                yield item

    def pieces_in(self, top: float, bottom: float) -> Iterator[tuple[Item, Piece]]:
        """Pieces of which a part lies between these heights."""
        for item in self.items_in(top, bottom):
            pieces = item.pieces
            if item.replaced_height is not None:
                continue
            first = max(0, bisect_right(pieces, top - item.top, key=_top) - 1)
            for piece in pieces[first:]:
                if item.top + piece.top >= bottom:
                    break
                if item.top + piece.top + piece.height > top:
                    yield item, piece

    def piece_at(self, y: float) -> tuple[Item, Piece] | None:
        """The piece at a height, or the nearest one below it."""
        for item in self.items[max(0, bisect_right(self._tops, y) - 1) :]:
            self.build(item)
            pieces = item.pieces
            for piece in pieces[max(0, bisect_right(pieces, y - item.top, key=_top) - 1) :]:
                if item.top + piece.top + piece.height > y:
                    return item, piece
        return None

    def find(self, message_id: MessageId, offset: int) -> tuple[Item, Piece] | None:
        """The piece that holds a character of a message, or None if the message is not there or is empty."""
        if message_id not in self._numbers:
            return None
        item = self.item(message_id)
        self.build(item)
        if not item.pieces:
            return None
        number = min(bisect_right(item.pieces, offset, key=_end), len(item.pieces) - 1)
        return item, item.pieces[number]

    # --- heights

    def _arrange(self, item: Item, first: int = 0) -> None:
        """Set the tops of a message's pieces from number ``first`` on, and its height."""
        y, width = HEADER + item.inset / 2, self.text_width(item)
        if item.replaced_height is not None:
            item.height = y + item.replaced_height + BETWEEN
            return
        if not item.built:
            text = item.message.text
            y += ceil(max(len(text) / TEXT_COLUMNS, text.count("\n"))) * _LINE + WAITING
        elif not item.pieces:
            y += WAITING
        if first:
            y = item.pieces[first - 1].top + item.pieces[first - 1].height
        for number in range(first, len(item.pieces)):
            piece = item.pieces[number]
            if not piece.exact and piece.guessed_for != (piece.end, width):
                piece.height = float(ceil(piece.estimate(width)))
                piece.guessed_for = piece.end, width
            y += piece.gap if number else 0.0
            piece.top = y
            y += piece.height
        item.height = y + item.inset / 2 + FOOTER + BETWEEN

    def _stack(self, first: int) -> None:
        """Put the messages from number ``first`` on under each other."""
        y = self.items[first - 1].top + self.items[first - 1].height if first > 0 else float(BETWEEN)
        del self._tops[first:]
        for item in self.items[first:]:
            item.top = y
            self._tops.append(y)
            y += item.height
        self.total = self.items[-1].top + self.items[-1].height if self.items else 0.0


def _top(piece: Piece) -> float:
    return piece.top


def _end(piece: Piece) -> int:
    return piece.end
