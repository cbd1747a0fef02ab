"""A stretch of tokens laid out as lines: what is drawn for each, and where it stands."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QFont, QFontMetricsF, QTextLayout, QTextOption

from views.models.tokens import TokenTrack, token_label
from views.models.transcript import ShownMessage
from views.reading_area import Piece

#: Longest stretch that is laid out at once, in characters.
LONGEST = 1200
LINE_SPACING = 1.55

_SPACE, _TAB, _BREAK = "·", "→   ", "↵"


@dataclass(frozen=True, slots=True)
class Cell:
    """One readable span (or text without tokens, ``span`` None): what is drawn of it."""

    span: tuple[int, int] | None
    start: int
    end: int
    text: str
    special: bool = False
    breaks: bool = False


@dataclass(frozen=True, slots=True)
class Box:
    """A cell's part of one line, in the piece's coordinates."""

    cell: Cell
    rect: QRectF


def visible_text(text: str) -> str:
    """White space as faint marks, so that it can be seen; line breaks keep their place."""
    shown = text.replace(" ", _SPACE).replace("\t", _TAB).replace("\r", "␍")
    return shown.replace("\n", _BREAK)


def cells_of(message: ShownMessage, first_span: int, start: int) -> list[Cell]:
    """Cells from span ``first_span`` on, with the text before the first token if ``first_span`` is 0."""
    track = message.track
    cells = []
    if first_span == 0:
        untracked = message.text[start : max(track.origin, 0)] if len(track) else message.text[start:]
        for line in untracked.splitlines(keepends=True):
            ended = line.endswith("\n")
            cells.append(Cell(None, start, start + len(line), line.rstrip("\n"), breaks=ended))
            start += len(line)
    cells.extend(_cell(track, span) for span in track.spans[first_span:])
    return cells


def _cell(track: TokenTrack, span: tuple[int, int]) -> Cell:
    first, end = span
    start, stop = track.start(first), track.end(end - 1)
    token = track[first]
    if token.special:
        return Cell(span, start, stop, f"\u2009{token_label(token)}\u2009", special=True)
    text = "".join(track[number].text for number in range(first, end))
    if not text:
        label = " ".join(token_label(track[number]) for number in range(first, end))
        return Cell(span, start, stop, f"\u2009{label}\u2009", special=True)
    return Cell(span, start, stop, visible_text(text), breaks="\n" in text)


class TokenPiece(Piece):
    """Cells up to a line break, or up to :data:`LONGEST` characters."""

    def __init__(self, cells: list[Cell], font: QFont) -> None:
        super().__init__(cells[0].start, cells[-1].end)
        self.cells = cells
        self._font = font
        self._layout: QTextLayout | None = None
        self._boxes: list[Box] = []
        self._starts: list[int] = []

    @property
    def open(self) -> bool:
        """Whether more tokens may still belong to this stretch."""
        return not self.cells[-1].breaks and sum(len(cell.text) for cell in self.cells) < LONGEST

    @property
    def boxes(self) -> list[Box]:
        """Where each cell stands; a cell that runs over a line's end has several boxes."""
        return self._boxes

    @property
    def text_layout(self) -> QTextLayout | None:
        """The laid out text."""
        return self._layout

    def add(self, cells: list[Cell]) -> None:
        """More tokens came."""
        self.cells.extend(cells)
        self.end = self.cells[-1].end
        self.exact = False

    def estimate(self, width: float) -> float:
        metrics = QFontMetricsF(self._font)
        columns = max(8.0, width / metrics.averageCharWidth())
        size = sum(len(cell.text) for cell in self.cells)
        return (1 + size // columns) * self._line_height()

    def measure(self, width: float) -> float:
        text = "".join(cell.text for cell in self.cells)
        layout = QTextLayout(text, self._font)
        option = QTextOption()
        option.setWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        layout.setTextOption(option)
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
        self._place_boxes()
        return y

    def box_at(self, point: QPointF) -> Box | None:
        """The cell under a point of the piece."""
        for box in self._boxes:
            if box.rect.contains(point):
                return box
        return None

    def y_of(self, offset: int) -> float:
        for box in self._boxes:
            if box.cell.end > offset:
                return box.rect.top()
        return self._boxes[-1].rect.top() if self._boxes else 0.0

    def offset_at(self, y: float) -> int:
        for box in self._boxes:
            if box.rect.bottom() > y:
                return box.cell.start
        return self.start

    def _line_height(self) -> float:
        return round(QFontMetricsF(self._font).height() * LINE_SPACING)

    def _place_boxes(self) -> None:
        layout, height = self._layout, self._line_height()
        self._boxes = []
        if layout is None:
            return
        starts, position = [], 0
        for cell in self.cells:
            starts.append(position)
            position += len(cell.text)
        starts.append(position)
        for number in range(layout.lineCount()):
            line = layout.lineAt(number)
            first, end = line.textStart(), line.textStart() + line.textLength()
            at = max(0, bisect_right(starts, first) - 1)
            while at < len(self.cells) and starts[at] < end:
                left, right = max(starts[at], first), min(starts[at + 1], end)
                if right > left or starts[at] == starts[at + 1]:
                    xs = (self._x(line, left), self._x(line, right))
                    rect = QRectF(min(xs), number * height, abs(xs[1] - xs[0]), height)
                    self._boxes.append(Box(self.cells[at], rect))
                at += 1

    @staticmethod
    def _x(line: object, position: int) -> float:
        x = line.cursorToX(position)  # type: ignore[attr-defined]
        return float(x[0] if isinstance(x, tuple) else x)


def pieces_of(cells: list[Cell], font: QFont) -> list[TokenPiece]:
    """Cut cells into pieces at line breaks, or where they become too long."""
    pieces: list[TokenPiece] = []
    waiting: list[Cell] = []
    size = 0
    for cell in cells:
        waiting.append(cell)
        size += len(cell.text)
        if cell.breaks or size >= LONGEST:
            pieces.append(TokenPiece(waiting, font))
            waiting, size = [], 0
    if waiting:
        pieces.append(TokenPiece(waiting, font))
    return pieces
