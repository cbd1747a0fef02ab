"""A stretch of tokens laid out as lines: what is drawn for each, and where it stands.

Spaces stay what they are, so that lines break between words; a dot is painted in the middle of each.
"""

from __future__ import annotations

import functools
from bisect import bisect_right
from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetricsF,
    QPolygonF,
    QTextCharFormat,
    QTextLayout,
    QTextLine,
    QTextOption,
)

from views.models.tokens import TokenTrack, token_label
from views.models.transcript import ShownMessage
from views.reading_column import Piece
from views.theme import READING, Theme

#: Longest stretch that is laid out at once, in characters.
LONGEST = 1200
LINE_SPACING = 1.55

_BREAK = "↵"
_JOINER = "\u2060"


@dataclass(frozen=True, slots=True)
class Cell:
    """One readable span (or text without tokens, ``span`` None): what is drawn of it."""

    span: tuple[int, int] | None
    start: int
    end: int
    text: str
    special: bool = False


#: A tint as it is painted: its place and colour, and those of its underline.
PaintedTint = tuple[QRectF, QColor, QRectF, QColor]


@dataclass(frozen=True, slots=True)
class Box:
    """A cell's part of one line, in the piece's coordinates."""

    cell: Cell
    rect: QRectF


def visible_text(text: str) -> str:
    """Line breaks as marks that still break the line, except the last one, which ends the piece."""
    return text.replace("\r", "␍").replace("\n", f"{_BREAK}\u2028").removesuffix("\u2028")


def _chip(label: str) -> str:
    """A label that is not broken at a line's end (word joiners), with thin spaces around it, which stay
    there; the line may be broken behind it.
    """
    return f"\u202f{_JOINER.join(label)}\u202f\u200b"


def _cell(track: TokenTrack, span: tuple[int, int]) -> Cell:
    first, end = span
    start, stop = track.start(first), track.end(end - 1)
    token = track[first]
    if token.special:
        return Cell(span, start, stop, _chip(token_label(token)), special=True)
    text = "".join(track[number].text for number in range(first, end))
    if not text:
        label = " ".join(token_label(track[number]) for number in range(first, end))
        return Cell(span, start, stop, _chip(label), special=True)
    return Cell(span, start, stop, visible_text(text))


class TokenPiece(Piece):
    """Spans ``first`` to ``last`` (exclusive) of a message, or text that has no tokens (``first == last``).

    It ends at a line break or after about :data:`LONGEST` characters. Cells are made when it is first seen.
    """

    def __init__(
        self, message: ShownMessage, theme: Theme, first: int, last: int, start: int, end: int
    ) -> None:
        super().__init__(start, end)
        self.first, self.last = first, last
        self._message, self._theme, self._font = message, theme, theme.mono(READING)
        self._layout: QTextLayout | None = None
        self.boxes: list[Box] = []
        self.spaces = QPolygonF()
        self.tints: tuple[object, list[PaintedTint]] | None = None
        #: Counts how often the piece was laid out; a picture of another count is out of date.
        self.version = 0

    @property
    def text_layout(self) -> QTextLayout | None:
        """The laid out text."""
        return self._layout

    def grow(self, last: int, end: int) -> None:
        """More spans belong to the piece now, or its last one has changed."""
        self.last, self.end, self.exact = last, end, False

    def cells(self) -> list[Cell]:
        """What is drawn for each span."""
        if self.first == self.last:
            text = self._message.text[self.start : self.end]
            return [Cell(None, self.start, self.end, visible_text(text))]
        track = self._message.track
        return [_cell(track, span) for span in track.spans[self.first : self.last]]

    def estimate(self, width: float) -> float:
        character, line = _metrics(self._font)
        return (1 + (self.end - self.start) // max(8.0, width / character)) * line

    def measure(self, width: float) -> float:
        cells = self.cells()
        layout = QTextLayout("".join(cell.text for cell in cells), self._font)
        option = QTextOption()
        option.setWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        layout.setTextOption(option)
        layout.setFormats(self._marks(cells))
        layout.beginLayout()
        y, height = 0.0, self._line_height()
        while True:
            line = layout.createLine()
            if not line.isValid():
                break
            line.setLineWidth(width)
            line.setPosition(QPointF(0, y + (height - line.height()) / 2))
            y += height
        layout.endLayout()
        self._layout = layout
        self._place_boxes(cells, layout)
        self.tints = None
        self.version += 1
        return y

    def box_at(self, point: QPointF) -> Box | None:
        """The cell under a point of the piece."""
        for box in self.boxes:
            if box.rect.contains(point):
                return box
        return None

    def y_of(self, offset: int) -> float:
        for box in self.boxes:
            if box.cell.end > offset:
                return box.rect.top()
        return self.boxes[-1].rect.top() if self.boxes else 0.0

    def offset_at(self, y: float) -> int:
        for box in self.boxes:
            if box.rect.bottom() > y:
                return box.cell.start
        return self.start

    def _line_height(self) -> float:
        return _metrics(self._font)[1]

    def _marks(self, cells: list[Cell]) -> list[QTextLayout.FormatRange]:
        """Line break marks are drawn fainter than text."""
        ranges = []
        position = 0
        for cell in cells:
            at = cell.text.find(_BREAK)
            while at >= 0:
                ranges.append(_range(position + at, 1, self._theme.color("faint")))
                at = cell.text.find(_BREAK, at + 1)
            position += len(cell.text)
        return ranges

    def _place_boxes(self, cells: list[Cell], layout: QTextLayout) -> None:
        height = self._line_height()
        self.boxes = []
        points: list[QPointF] = []
        starts, position = [], 0
        for cell in cells:
            starts.append(position)
            position += len(cell.text)
        starts.append(position)
        half = QFontMetricsF(self._font).horizontalAdvance(" ") / 2
        for number in range(layout.lineCount()):
            line = layout.lineAt(number)
            first, end = line.textStart(), line.textStart() + line.textLength()
            top = number * height
            at = max(0, bisect_right(starts, first) - 1)
            while at < len(cells) and starts[at] < end:
                left, right = max(starts[at], first), min(starts[at + 1], end)
                text = cells[at].text
                if right > left:
                    xs = (_x(line, left), _x(line, right))
                    rect = QRectF(min(xs), top, abs(xs[1] - xs[0]), height)
                    self.boxes.append(Box(cells[at], rect))
                    space = text.find(" ", left - starts[at], right - starts[at])
                    while space >= 0:
                        points.append(QPointF(_x(line, starts[at] + space) + half, top + height / 2 + 1))
                        space = text.find(" ", space + 1, right - starts[at])
                at += 1
        self.spaces = QPolygonF(points)


@functools.lru_cache(maxsize=8)
def _metrics(font: QFont) -> tuple[float, float]:
    """Width of a character and height of a line."""
    metrics = QFontMetricsF(font)
    return metrics.averageCharWidth(), float(round(metrics.height() * LINE_SPACING))


def _x(line: QTextLine, position: int) -> float:
    """Where the cursor stands before this character."""
    x: object = line.cursorToX(position)
    return float(x[0] if isinstance(x, tuple) else x)  # type: ignore[arg-type]


def _range(start: int, length: int, color: QColor) -> QTextLayout.FormatRange:
    look = QTextCharFormat()
    look.setForeground(color)
    found = QTextLayout.FormatRange()
    found.start, found.length, found.format = start, length, look
    return found


def cut_spans(message: ShownMessage, theme: Theme, first: int) -> list[TokenPiece]:
    """Pieces for the spans from number ``first`` on."""
    track = message.track
    spans, tokens = track.spans, track.tokens
    pieces: list[TokenPiece] = []
    begun, size, last = first, 0, len(spans) - 1
    for number in range(first, len(spans)):
        text = tokens[spans[number][1] - 1].text
        size += len(text) + 1
        if size >= LONGEST or number == last or text.endswith("\n"):
            start, end = track.start(spans[begun][0]), track.end(spans[number][1] - 1)
            pieces.append(TokenPiece(message, theme, begun, number + 1, start, end))
            begun, size = number + 1, 0
    return pieces


def cut_text(message: ShownMessage, theme: Theme) -> list[TokenPiece]:
    """Pieces for the text before the first token; all of it where there are no tokens."""
    track = message.track
    stop = min(max(track.origin, 0), len(message.text)) if len(track) else len(message.text)
    pieces, position = [], 0
    while position < stop:
        line = message.text.find("\n", position, stop) + 1 or stop
        end = line
        if line - position > LONGEST:
            # Between words, if there are any: the next piece begins on a line of its own.
            limit = position + LONGEST
            end = message.text.rfind(" ", position + LONGEST // 2, limit) + 1 or limit
        pieces.append(TokenPiece(message, theme, 0, 0, position, end))
        position = end
    return pieces
