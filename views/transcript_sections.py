"""Sections of a reply in the text view: thinking that folds, and calls of tools as blocks of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtWidgets import QToolButton, QWidget

from inference.events.sections import Section, find_sections
from views.markdown_blocks import Block, split_blocks
from views.models.focus import MessageId
from views.models.transcript import ShownMessage
from views.reading_column import Piece
from views.theme import Theme

#: Height of the line that a section begins with.
SECTION_BAR = 28.0


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a reply: a section (its number among them), or what stands between two (``section`` None)."""

    start: int
    end: int
    section: Section | None = None
    number: int = 0
    folded: bool = False

    @property
    def aside(self) -> bool:
        """Whether its content is no answer."""
        return self.section is not None and self.section.kind == "thinking"

    @property
    def shape(self) -> tuple[object, ...]:
        """Equal as long as a reply only grows at its end."""
        kind = (self.section.kind, self.section.closed, self.section.name) if self.section else ()
        return (self.start, self.number, self.folded, kind)


class Folding:
    """Which sections a reply has, and which of them are folded.

    Thinking is open while it is written, and folds when it is done; what the reader opens or folds stays so.
    """

    def __init__(self) -> None:
        self._chosen: dict[tuple[MessageId, int], bool] = {}
        self._known: dict[MessageId, tuple[int, tuple[Section, ...]]] = {}

    def forget(self) -> None:
        """Another conversation is shown."""
        self._chosen.clear()
        self._known.clear()

    def toggle(self, message: ShownMessage, number: int) -> None:
        """Fold a section, or open it."""
        segments = self.segments(message)
        folded = next(segment.folded for segment in segments if segment.section and segment.number == number)
        self._chosen[message.id, number] = not folded

    def segments(self, message: ShownMessage) -> list[Segment]:
        """The parts of a reply, in order; marks between them are left out."""
        found: list[Segment] = []
        position = 0
        for number, section in enumerate(self._sections(message)):
            if section.start > position:
                found.append(Segment(position, section.start))
            if section.kind != "mark":
                folded = self._chosen.get((message.id, number), _folds(section))
                found.append(Segment(section.start, section.end, section, number, folded))
            position = section.end
        if position < len(message.text) or not found:
            found.append(Segment(position, len(message.text)))
        return found

    def _sections(self, message: ShownMessage) -> tuple[Section, ...]:
        text, inside = message.text, message.begins_inside
        if message.state != "streaming":
            self._known.pop(message.id, None)
            return find_sections(text, inside=inside)
        length, known = self._known.get(message.id, (0, ()))
        settled = tuple(section for section in known if section.closed and section.end < length)
        if len(settled) < len(known):
            start = known[len(settled)].start
        else:
            start = max(text.rfind("\n", 0, length) + 1, settled[-1].end if settled else 0)
        sections = settled + find_sections(text, start=start) if start else find_sections(text, inside=inside)
        self._known[message.id] = len(text), sections
        return sections


class SectionPiece(Piece):
    """The line that a section begins with; folded, it stands for all of the section."""

    def __init__(self, message: ShownMessage, segment: Segment) -> None:
        super().__init__(segment.start, segment.end)
        self.gap = 12.0
        self.message = message
        self.show(segment)

    def show(self, segment: Segment) -> None:
        """The section has grown, ended, or was folded."""
        assert segment.section is not None
        self.section, self.number, self.folded = segment.section, segment.number, segment.folded
        self.end = segment.end if segment.folded else segment.section.inner_start

    @property
    def foldable(self) -> bool:
        """Calls of tools are short, and always open."""
        return self.section.kind == "thinking"

    def words(self) -> str:
        """What the line says."""
        if self.section.kind == "tool-call":
            name = f" “{self.section.name}”" if self.section.name else ""
            return f"Calls the tool{name}. Tools can't be run here."
        if not self.section.closed and self.message.state == "streaming":
            return "Thinking …"
        unfinished = "" if self.section.closed else ", not to its end"
        return f"Thought for {_length(self.message, self.section)}{unfinished}"

    def estimate(self, width: float) -> float:
        return SECTION_BAR

    def measure(self, width: float) -> float:
        return SECTION_BAR

    def y_of(self, offset: int) -> float:
        return 0.0

    def offset_at(self, y: float) -> int:
        return self.start


class SectionButtons:
    """One button for each section's line that is seen: it tells what the section is, and folds it."""

    def __init__(self, viewport: QWidget, theme: Theme, toggle: Callable[[SectionPiece], object]) -> None:
        self._viewport, self._theme, self._toggle = viewport, theme, toggle
        self._buttons: dict[SectionPiece, QToolButton] = {}
        self._seen: set[SectionPiece] = set()

    def place(self, piece: SectionPiece, rect: QRectF) -> None:
        """Put the button of a section on its line; ``rect`` is the line in the viewport."""
        button = self._buttons.get(piece)
        if button is None:
            button = self._buttons[piece] = self._make(piece)
        self._seen.add(piece)
        words = piece.words()
        state = ("folded" if piece.folded else "open") if piece.foldable else "a block of its own"
        if button.accessibleName() != f"{words}, {state}":
            button.setText(words)
            button.setChecked(not piece.folded)
            button.setAccessibleName(f"{words}, {state}")
            if piece.foldable:
                self._theme.set_icon(button, "expand" if piece.folded else "collapse", "muted")
        width = min(button.sizeHint().width(), round(rect.width()))
        button.setGeometry(round(rect.left()) - 10, round(rect.top()), width, round(SECTION_BAR))
        button.show()

    def drop_unseen(self) -> None:
        """Remove the buttons of lines that were not placed since the last call."""
        for piece in [known for known in self._buttons if known not in self._seen]:
            button = self._buttons.pop(piece)
            button.hide()
            button.deleteLater()
        self._seen = set()

    def _make(self, piece: SectionPiece) -> QToolButton:
        button = QToolButton(self._viewport)
        button.setObjectName("foldSection" if piece.foldable else "toolCall")
        button.setCheckable(piece.foldable)
        button.setAutoRaise(True)
        button.setProperty("kind", "section")
        button.setIconSize(QSize(12, 12))
        button.setCursor(Qt.CursorShape.ArrowCursor)
        if piece.foldable:
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            button.setToolTip("Fold or open (Space)")
            button.clicked.connect(lambda: self._toggle(piece))
        else:
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        return button


def blocks_of(text: str, segment: Segment, start: int | None = None) -> list[Block]:
    """The blocks of a segment's content, from ``start`` (the beginning of a block) on; a folded section shows
    none. A tool's call is one block of code.
    """
    section = segment.section
    if section is None:
        return split_blocks(text[: segment.end], segment.start if start is None else start)
    if segment.folded:
        return []
    if section.kind != "tool-call":
        return split_blocks(text[: section.inner_end], section.inner_start if start is None else start)
    inner = text[section.inner_start : section.inner_end]
    first = section.inner_start + len(inner) - len(inner.lstrip())
    last = section.inner_start + len(inner.rstrip())
    if first >= last:
        return []
    return [Block("code", section.inner_start, section.end, first, last, "json", closed=section.closed)]


def _folds(section: Section) -> bool:
    """Whether a section is folded as long as the reader has not chosen."""
    return section.kind == "thinking" and section.closed


def _length(message: ShownMessage, section: Section) -> str:
    """How long a section is: in tokens where they are known, else in words."""
    track = message.track
    if len(track) and track.start(0) <= section.inner_start:
        first, last = track.at_offset(section.inner_start), track.at_offset(max(section.inner_end - 1, 0))
        count = last - first + 1 if first is not None and last is not None else 0
        return f"{count:,} token" + ("" if count == 1 else "s")
    count = len(message.text[section.inner_start : section.inner_end].split())
    return f"{count:,} word" + ("" if count == 1 else "s")
