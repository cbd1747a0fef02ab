"""The conversation as text: replies rendered as Markdown, block by block, while they stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import (
    QAbstractTextDocumentLayout,
    QAccessible,
    QAccessibleAnnouncementEvent,
    QGuiApplication,
    QKeyEvent,
    QKeySequence,
    QMouseEvent,
    QPainter,
    QPalette,
    QTextCharFormat,
    QTextCursor,
)

from views.code_buttons import CodeButtons
from views.intents import ChatIntents
from views.markdown_blocks import Block, split_lines
from views.models.focus import FocusModel, MessageId, TokenSpan
from views.models.text_range import TextRange, TextTint
from views.models.transcript import ShownMessage, TranscriptModel
from views.paint import diverging
from views.reading_area import ReadingArea
from views.reading_column import Item, Piece
from views.theme import CAPTION, Theme
from views.transcript_blocks import CODE_BAR, CODE_PADDING, BlockPiece
from views.transcript_sections import Folding, SectionButtons, SectionPiece, Segment, blocks_of
from views.transcript_selection import Place, Selection

_FAR = 1 << 30


class TranscriptView(ReadingArea):
    """The text view (objectName ``transcript``); select with the mouse, copy with Ctrl+C."""

    def __init__(self, model: TranscriptModel, focus: FocusModel, intents: ChatIntents, theme: Theme) -> None:
        super().__init__(model, focus, intents, theme)
        self.setObjectName("transcript")
        self.setAccessibleName("Conversation")
        self.selection = Selection()
        self._code_buttons = CodeButtons(self.viewport(), theme, self._copy)
        self.folding = Folding()
        self._section_buttons = SectionButtons(self.viewport(), theme, self._toggle)
        self._shapes: dict[MessageId, list[object]] = {}
        self._announced: dict[MessageId, int] = {}
        self._tints: Mapping[MessageId, Sequence[TextTint]] = {}
        model.text_appended.connect(self._grow)
        model.tokens_changed.connect(self._count_again)
        model.reply_finished.connect(self._finished)
        model.was_reset.connect(self._forget)
        model.tail_replaced.connect(self._forget)

    # --- pieces

    def make_pieces(self, message: ShownMessage) -> list[Piece]:
        if message.role == "user":
            return [BlockPiece(message, block, self.theme, plain=True) for block in split_lines(message.text)]
        return self._assembled(message, ())

    def _assembled(self, message: ShownMessage, before: Sequence[Piece]) -> list[Piece]:
        """A reply's sections and what stands between them; pieces from before are taken where they fit."""
        segments = self.folding.segments(message)
        self._shapes[message.id] = [segment.shape for segment in segments]
        blocks = [piece for piece in before if isinstance(piece, BlockPiece) and not piece.plain]
        known = {(piece.block, piece.aside): piece for piece in blocks}
        lines = {piece.number: piece for piece in before if isinstance(piece, SectionPiece)}
        pieces: list[Piece] = []
        for segment in segments:
            if segment.section is not None:
                line = lines.get(segment.number) or SectionPiece(message, segment)
                line.show(segment)
                pieces.append(line)
            growing = message.state == "streaming" and segment is segments[-1]
            for block in blocks_of(message.text, segment):
                plain = growing and not block.closed
                old = known.get((block, segment.aside))
                pieces.append(old or self._block_piece(message, segment, block, plain=plain))
        return pieces

    def _block_piece(
        self, message: ShownMessage, segment: Segment, block: Block, *, plain: bool
    ) -> BlockPiece:
        return BlockPiece(message, block, self.theme, plain=plain, aside=segment.aside)

    def _count_again(self, message_id: MessageId, first: int) -> None:
        """Tokens came for a text that is shown: sections tell how many they have."""
        if first == 0 and not self._stale and self._shapes.get(message_id):
            self._settle_soon()

    def _toggle(self, line: SectionPiece) -> None:
        """Fold a section, or open it; what is above it stays where it is."""
        item = self.column.item(line.message.id)
        self.folding.toggle(item.message, line.number)
        item.pieces = self._assembled(item.message, item.pieces)
        self._following = False
        self.selection.clear()
        self.item_changed(item)

    def _grow(self, message_id: MessageId, start: int) -> None:
        if self._stale or not self.column.item(message_id).built:
            self._settle_soon()
            return
        item = self.column.item(message_id)
        segments = self.folding.segments(item.message)
        self._announce(item.message, closed=True)
        if [segment.shape for segment in segments] != self._shapes.get(message_id):
            item.pieces = self._assembled(item.message, item.pieces)
            self.item_changed(item)
            return
        self._grow_last(item, segments[-1])
        self.item_grew(item)

    def _grow_last(self, item: Item, segment: Segment) -> None:
        """The reply has grown within its last part."""
        pieces = item.pieces
        start = segment.start
        if segment.section is not None:
            start = segment.section.inner_start
            next(p for p in reversed(pieces) if isinstance(p, SectionPiece)).show(segment)
        tail = pieces[-1] if pieces else None
        first = start
        if isinstance(tail, BlockPiece) and tail.start >= start:
            first = tail.start if not tail.block.joined else self._joined_start(pieces)
        kept = [piece for piece in pieces if piece.start < first or isinstance(piece, SectionPiece)]
        known = pieces[len(kept) :]
        for number, block in enumerate(blocks_of(item.message.text, segment, first)):
            old = known[number] if number < len(known) else None
            kept.append(self._grown(item.message, segment, old, block))
        item.pieces = kept

    def _joined_start(self, pieces: list[Piece]) -> int:
        """Start of the block that the last, joined, pieces belong to."""
        for piece in reversed(pieces):
            if isinstance(piece, BlockPiece) and not piece.block.joined:
                return piece.start
        return 0

    def _grown(self, message: ShownMessage, segment: Segment, old: Piece | None, block: Block) -> Piece:
        if not isinstance(old, BlockPiece):
            return self._block_piece(message, segment, block, plain=not block.closed)
        if old.block == block and not old.plain:
            return old
        if block.closed:
            old.finish(block)
        else:
            old.grow(block)
        return old

    def _finished(self, message_id: MessageId) -> None:
        if self._stale:
            return
        item = self.column.item(message_id)
        for piece in item.pieces:
            if isinstance(piece, BlockPiece) and piece.plain:
                piece.finish(piece.block)
        if item.built:
            item.pieces = self._assembled(item.message, item.pieces)
        self._announce(item.message, closed=False)
        self.item_changed(item)

    def _announce(self, message: ShownMessage, *, closed: bool) -> None:
        """Tell screen readers the sentences that have been finished, not the tokens."""
        if not QAccessible.isActive():
            return
        said = self._announced.get(message.id, 0)
        end = len(message.text)
        if closed:
            end = max((message.text.rfind(mark, said) + 1 for mark in (". ", "! ", "? ", "\n")), default=0)
        if end > said:
            self._announced[message.id] = end
            event = QAccessibleAnnouncementEvent(self, message.text[said:end].strip())
            QAccessible.updateAccessibility(event)

    # --- painting

    def paint_piece(self, painter: QPainter, item: Item, piece: Piece, clip: QRectF) -> None:
        if not isinstance(piece, BlockPiece) or piece.document is None:
            return
        if piece.aside:
            line = QRectF(4, -piece.gap, 2, piece.height + piece.gap)
            painter.fillRect(line, self.theme.color("border"))
        if piece.is_code:
            self._paint_code_frame(painter, piece, self.column.text_width(item))
        painter.translate(piece.origin)
        context = QAbstractTextDocumentLayout.PaintContext()
        context.clip = clip.translated(-piece.origin.x(), -piece.origin.y()).adjusted(0, -2, 24, 2)
        ink = self.theme.color("muted" if piece.aside else "text")
        context.palette.setColor(QPalette.ColorRole.Text, ink)
        selections = self._selections(item, piece)
        if selections:
            context.selections = selections
        piece.document.documentLayout().draw(painter, context)

    def _paint_code_frame(self, painter: QPainter, piece: BlockPiece, width: float) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self.theme.color("code"))
        top = -8.0 if piece.block.joined else 0.0
        left = piece.inset
        painter.drawRoundedRect(QRectF(left, top, width - left, piece.height - top), 8, 8)
        if not piece.block.joined:
            painter.setFont(self.theme.font(CAPTION))
            painter.setPen(self.theme.color("muted"))
            bar = QRectF(left + CODE_PADDING, 0, width - left - 2 * CODE_PADDING, CODE_BAR)
            flags = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
            painter.drawText(bar, flags, piece.block.language or "code")

    def _selections(self, item: Item, piece: BlockPiece) -> list[QAbstractTextDocumentLayout.Selection]:
        found = self._tint_selections(item, piece)
        if not self.selection.empty:
            number, place = self.column.number(item), item.pieces.index(piece)
            size = piece.document.characterCount() - 1 if piece.document is not None else 0
            selected = self.selection.range_in(number, place, size)
            if selected is not None:
                found.append(self._selection(piece, *selected, "selection"))
        span = self.focus_model.current
        if span is not None and span.message_id == item.message.id and span.end <= len(item.message.track):
            track = item.message.track
            start, end = track.start(span.start), track.end(span.end - 1)
            if start < piece.end and end > piece.start:
                shown = piece.shown_range(start, end)
                found.append(self._selection(piece, *shown, "selection", underline=True))
        return found

    def set_tints(self, tints: Mapping[MessageId, Sequence[TextTint]]) -> None:
        """Mark characters of messages, by message."""
        self._tints = tints
        self.viewport().update()

    def _tint_selections(self, item: Item, piece: BlockPiece) -> list[QAbstractTextDocumentLayout.Selection]:
        found = []
        ground = "bubble" if item.message.role == "user" else "surface"
        for tint in self._tints.get(item.message.id, ()):
            if tint.start < piece.end and tint.end > piece.start:
                selection = self._selection(piece, *piece.shown_range(tint.start, tint.end), ground)
                look = QTextCharFormat()
                color = diverging(tint.strength, getattr(self.theme.colors, ground), self.theme.colors.text)
                look.setBackground(color.background)
                if tint.steered:
                    look.setUnderlineStyle(QTextCharFormat.UnderlineStyle.DashUnderline)
                    look.setUnderlineColor(color.underline)
                selection.format = look
                found.append(selection)
        return found

    def _selection(
        self, piece: BlockPiece, start: int, end: int, color: str, *, underline: bool = False
    ) -> QAbstractTextDocumentLayout.Selection:
        selection = QAbstractTextDocumentLayout.Selection()
        assert piece.document is not None
        cursor = QTextCursor(piece.document)
        last = piece.document.characterCount() - 1
        cursor.setPosition(min(max(start, 0), last))
        cursor.setPosition(min(max(end, 0), last), QTextCursor.MoveMode.KeepAnchor)
        look = QTextCharFormat()
        look.setBackground(self.theme.color(color))
        if underline:
            look.setUnderlineStyle(QTextCharFormat.UnderlineStyle.SingleUnderline)
            look.setUnderlineColor(self.theme.color("accent"))
        selection.cursor, selection.format = cursor, look
        return selection

    # --- copy buttons of code blocks

    def piece_shown(self, item: Item, piece: Piece, rect: QRectF) -> None:
        if isinstance(piece, BlockPiece) and piece.is_code and not piece.block.joined:
            self._code_buttons.place(item, piece, rect)
        elif isinstance(piece, SectionPiece):
            self._section_buttons.place(piece, rect)

    def pieces_settled(self) -> None:
        self._code_buttons.drop_unseen()
        self._section_buttons.drop_unseen()

    # --- selecting

    def selected_text(self) -> str:
        """What is selected, as it is shown."""
        parts: list[str] = []
        for number, item in enumerate(self.column.items):
            if self.selection.touches_item(number):
                self.column.build(item)
            for place, piece in enumerate(item.pieces):
                if not isinstance(piece, BlockPiece) or not self.selection.touches(number, place):
                    continue
                if piece.document is None:
                    self.column.ensure_exact(item, piece)
                assert piece.document is not None
                selected = self.selection.range_in(number, place, piece.document.characterCount() - 1)
                if selected is not None:
                    parts.append(piece.separator if parts else "")
                    parts.append(piece.document.toPlainText()[selected[0] : selected[1]])
        return "".join(parts)

    def selected_span(self) -> TokenSpan | None:
        """The tokens under the selection, if it lies within one message that has tokens."""
        selected = self.selected_range()
        if selected is None:
            return None
        return self.model.span_at(selected.message_id, selected.start, selected.end)

    def selected_range(self) -> TextRange | None:
        """The characters under the selection, if it lies within one message."""
        bounds = self.selection.ordered()
        if bounds is None or bounds[0].item != bounds[1].item:
            return None
        first, last = bounds
        item = self.column.items[first.item]
        offsets = []
        for at in (first, last):
            piece = item.pieces[at.piece]
            if not isinstance(piece, BlockPiece) or piece.document is None:
                return None
            offsets.append(piece.places[min(at.position, len(piece.places) - 1)])
        return TextRange(item.message.id, offsets[0], offsets[1]) if offsets[1] > offsets[0] else None

    def select_all(self) -> None:
        """Select the whole conversation."""
        if self.column.items:
            self.selection.start(Place(0, 0, 0))
            self.selection.extend(Place(len(self.column.items) - 1, _FAR, _FAR))
            self.viewport().update()

    def _forget(self) -> None:
        self.selection.clear()
        if not len(self.model):
            self.folding.forget()

    def _copy(self, text: str) -> None:
        QGuiApplication.clipboard().setText(text)
        self.intents.told.emit("Copied.")

    def _place_at(self, point: QPointF) -> Place | None:
        found = self.hit(point)
        if found is None:
            return None
        item, piece, local = found
        if not isinstance(piece, BlockPiece):
            return None
        self.column.ensure_exact(item, piece)
        return Place(self.column.number(item), item.pieces.index(piece), piece.position_at(local))

    def _link_at(self, point: QPointF) -> str:
        found = self.hit(point)
        return found[1].link_at(found[2]) if found and isinstance(found[1], BlockPiece) else ""

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            place = self._place_at(event.position())
            extend = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
            if place is None:
                self.selection.clear()
            elif extend:
                self.selection.extend(place)
            else:
                self.selection.start(place)
            self.viewport().update()
        super().mousePressEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if event.buttons() & Qt.MouseButton.LeftButton:
            place = self._place_at(event.position())
            if place is not None:
                self.selection.extend(place)
                self.viewport().update()
            y = event.position().y()
            beyond = min(0.0, y) + max(0.0, y - self.viewport().height())
            if beyond:
                self.verticalScrollBar().setValue(self.verticalScrollBar().value() + round(beyond / 2))
        else:
            over_link = bool(self._link_at(event.position()))
            over = Qt.CursorShape.PointingHandCursor if over_link else Qt.CursorShape.IBeamCursor
            found = self.hit(event.position())
            self.viewport().setCursor(over if found else Qt.CursorShape.ArrowCursor)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.intents.text_selected.emit(self.selected_range())
        if event.button() == Qt.MouseButton.LeftButton and self.selection.empty:
            link = self._link_at(event.position())
            if link:
                self.intents.link_activated.emit(link)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        place = self._place_at(event.position())
        if place is None:
            return
        piece = self.column.items[place.item].pieces[place.piece]
        if isinstance(piece, BlockPiece) and piece.document is not None:
            cursor = QTextCursor(piece.document)
            cursor.setPosition(min(place.position, piece.document.characterCount() - 1))
            cursor.select(QTextCursor.SelectionType.WordUnderCursor)
            self.selection.start(Place(place.item, place.piece, cursor.selectionStart()))
            self.selection.extend(Place(place.item, place.piece, cursor.selectionEnd()))
            self.intents.text_selected.emit(self.selected_range())
            self.viewport().update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.matches(QKeySequence.StandardKey.Copy):
            if not self.selection.empty:
                self._copy(self.selected_text())
        elif event.matches(QKeySequence.StandardKey.SelectAll):
            self.select_all()
        else:
            super().keyPressEvent(event)
