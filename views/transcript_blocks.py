"""A block of a message as the text view shows it: one document, laid out when it is first seen."""

from __future__ import annotations

from bisect import bisect_left

from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import (
    QTextDocument,
)

from views.markdown import align, append_plain, code_document, plain_document, prose_document
from views.markdown_blocks import Block
from views.models.transcript import ShownMessage
from views.reading_column import Piece
from views.theme import TEXT_COLUMNS, Theme

#: Height of the line above code, and space around code.
CODE_BAR, CODE_PADDING = 28.0, 12.0
#: How far thinking stands in.
ASIDE = 16.0


class BlockPiece(Piece):
    """A block of a message, laid out as a document of its own when it is first seen."""

    def __init__(
        self, message: ShownMessage, block: Block, theme: Theme, *, plain: bool, aside: bool = False
    ) -> None:
        super().__init__(block.start, block.end)
        self._message, self._theme = message, theme
        self.block, self.plain, self.aside = block, plain, aside
        self.gap = 0.0 if block.joined else 12.0
        self.document: QTextDocument | None = None
        self._places: list[int] | None = None
        self._drawn_to = 0

    @property
    def source(self) -> str:
        """The block's text as the model wrote it; for code, what stands between the fences."""
        return self._message.text[self.block.inner_start : self.block.inner_end]

    @property
    def separator(self) -> str:
        """What stands between this block and the one before it in copied text."""
        if not self.block.joined:
            return "\n\n"
        before = self._message.text[self.block.inner_start - 1]
        return before if before.isspace() else ""

    @property
    def is_code(self) -> bool:
        """Whether the block is shown as code."""
        return self.block.kind == "code" and not (self.plain and self._message.role == "user")

    @property
    def origin(self) -> QPointF:
        """Where the document begins within the piece."""
        if not self.is_code:
            return QPointF(self.inset, 0)
        return QPointF(self.inset + CODE_PADDING, 0.0 if self.block.joined else CODE_BAR)

    @property
    def inset(self) -> float:
        """How far it stands in from the edge of the text: what is not the answer does."""
        return ASIDE if self.aside else 0.0

    def estimate(self, width: float) -> float:
        size = self.end - self.start
        lines = max(1 + self._message.text.count("\n", self.start, self.end), size / TEXT_COLUMNS)
        return lines * (16.0 if self.is_code else 22.0) + (CODE_BAR + CODE_PADDING if self.is_code else 0.0)

    def measure(self, width: float) -> float:
        document = self.document or self._render()
        self.document = document
        document.setTextWidth(width - self.inset - (2 * CODE_PADDING if self.is_code else 0.0))
        height = document.size().height() + self.origin.y()
        return height + (CODE_PADDING if self.is_code else 0.0)

    def grow(self, block: Block) -> None:
        """The open block has become longer."""
        same = block.kind == self.block.kind and block.inner_start == self.block.inner_start
        self.block, self.end, self.exact, self._places = block, block.end, False, None
        if self.document is None:
            return
        source = self.source
        if same and self.plain and not self.is_code and self._drawn_to <= len(source):
            append_plain(self.document, source[self._drawn_to :])
            self._drawn_to = len(source)
        else:
            self.document = None

    def finish(self, block: Block) -> None:
        """The block has ended: render it."""
        self.block, self.end, self.exact = block, block.end, False
        self.plain, self.document, self._places = False, None, None

    def _render(self) -> QTextDocument:
        source = self.source
        self._drawn_to = len(source)
        if self.is_code:
            return code_document(source, self.block.language, self._theme)
        if self.plain:
            whole = source if self._message.state == "streaming" else source.removesuffix("\n")
            return plain_document(whole, self._theme)
        return prose_document(source, self._theme)

    @property
    def places(self) -> list[int]:
        """For each character that is shown, its offset in the message's text."""
        if self._places is None:
            shown = self.document.toPlainText() if self.document is not None else ""
            source = self.source
            base = self.block.inner_start
            exact = self.is_code or self.plain
            local = range(len(source) + 1) if exact else align(source, shown)
            self._places = [base + place for place in local]
        return self._places

    def shown_range(self, start: int, end: int) -> tuple[int, int]:
        """Positions in the document of the characters ``start`` to ``end`` of the message's text."""
        places = self.places
        return bisect_left(places, start), bisect_left(places, end)

    def y_of(self, offset: int) -> float:
        if self.document is None:
            return 0.0
        position = min(bisect_left(self.places, offset), max(self.document.characterCount() - 1, 0))
        block = self.document.findBlock(position)
        rect = self.document.documentLayout().blockBoundingRect(block)
        line = block.layout().lineForTextPosition(position - block.position())
        return self.origin.y() + rect.top() + (line.y() if line.isValid() else 0.0)

    def offset_at(self, y: float) -> int:
        if self.document is None:
            return self.start
        at = self.position_at(QPointF(0, y))
        return self.places[min(at, len(self.places) - 1)]

    def position_at(self, point: QPointF) -> int:
        """Position in the document nearest to a point of the piece."""
        if self.document is None:
            return 0
        accuracy = Qt.HitTestAccuracy.FuzzyHit
        return max(0, self.document.documentLayout().hitTest(point - self.origin, accuracy))

    def link_at(self, point: QPointF) -> str:
        """Address of the link under a point of the piece, or nothing."""
        return self.document.documentLayout().anchorAt(point - self.origin) if self.document else ""
