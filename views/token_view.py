"""The conversation as tokens: a tint each, white space to be seen, and the keys to walk them."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPointF, QRectF, Qt
from PySide6.QtGui import (
    QColor,
    QHideEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPen,
    QTextCharFormat,
    QTextLayout,
)

from views.intents import ChatIntents
from views.models.focus import FocusModel, MessageId, TokenSpan
from views.models.tokens import Measure, measured, prominence
from views.models.transcript import ShownMessage, TranscriptModel
from views.paint import LEVELS, Tint, sequential_scale
from views.reading_area import Item, Piece, ReadingArea
from views.theme import READING, Theme
from views.token_layout import Box, Cell, TokenPiece, cells_of, pieces_of

#: Tokens that Ctrl+Left and Ctrl+Right pass at once.
_STRIDE = 10


class TokenView(ReadingArea):
    """The token view (objectName ``tokenView``).

    Hovering previews a token, a click or the left and right keys set the focus, up and down walk its
    candidates, Enter asks for a branch from the chosen one.
    """

    def __init__(self, model: TranscriptModel, focus: FocusModel, intents: ChatIntents, theme: Theme) -> None:
        super().__init__(model, focus, intents, theme)
        self.setObjectName("tokenView")
        self.setAccessibleName("Tokens of the conversation")
        self._measure: Measure = "surprisal"
        self._spans_shown: dict[MessageId, int] = {}
        self._asked: set[MessageId] = set()
        model.tokens_changed.connect(self._tokens_changed)
        model.was_reset.connect(self._asked.clear)

    @property
    def measure(self) -> Measure:
        """What the tints show."""
        return self._measure

    def set_measure(self, measure: Measure) -> None:
        """Colour by probability, entropy or surprisal."""
        self._measure = measure
        self.viewport().update()

    # --- pieces

    def make_pieces(self, message: ShownMessage) -> list[Piece]:
        self._spans_shown[message.id] = len(message.track.spans)
        return list(pieces_of(cells_of(message, 0, 0), self.theme.mono(READING)))

    def _tokens_changed(self, message_id: MessageId, first: int) -> None:
        item = self._item(message_id)
        last = item.pieces[-1] if item.pieces else None
        if first == 0 or not isinstance(last, TokenPiece):
            item.pieces = self.make_pieces(item.message)
        else:
            self._extend(item, first)
        self.item_changed(item)

    def _extend(self, item: Item, first: int) -> None:
        """Add the spans from token ``first`` on; the span that was open is made anew."""
        track = item.message.track
        span = track.span_number(first)
        keep = track.spans[span][0]
        while item.pieces:
            last = item.pieces[-1]
            assert isinstance(last, TokenPiece)
            last.cells = [cell for cell in last.cells if cell.span is None or cell.span[0] < keep]
            if last.cells:
                break
            item.pieces.pop()
        cells = cells_of(item.message, span, 0) if span else cells_of(item.message, 0, 0)
        if not span:
            item.pieces = []
        tail = item.pieces[-1] if item.pieces else None
        if isinstance(tail, TokenPiece) and tail.open:
            taken: list[Cell] = []
            while cells and tail.open and not (taken and taken[-1].breaks):
                taken.append(cells.pop(0))
                if sum(len(cell.text) for cell in taken) > 400:
                    break
            tail.add(taken)
        item.pieces.extend(pieces_of(cells, self.theme.mono(READING)))

    def piece_shown(self, item: Item, piece: Piece, rect: QRectF) -> None:
        message = item.message
        bare = not len(message.track) and bool(message.text) and message.state != "streaming"
        if bare and message.id not in self._asked:
            self._asked.add(message.id)
            self.intents.tokens_wanted.emit(message.id)

    # --- painting

    def paint_piece(self, painter: QPainter, item: Item, piece: Piece, clip: QRectF) -> None:
        if not isinstance(piece, TokenPiece) or piece.text_layout is None:
            return
        colors = self.theme.colors
        scale = sequential_scale(colors.surface, colors.text)
        current = self.focus_model.current
        in_focus = current if current is not None and current.message_id == item.message.id else None
        shown = [
            box for box in piece.boxes if box.rect.bottom() >= clip.top() and box.rect.top() <= clip.bottom()
        ]
        for box in shown:
            self._paint_tint(painter, item, box, scale)
        painter.setPen(self.theme.color("text"))
        piece.text_layout.draw(painter, QPointF(0, 0), self._formats(piece), clip)
        for box in shown:
            span = box.cell.span
            if in_focus is not None and span and in_focus.start < span[1] and span[0] < in_focus.end:
                self._paint_focus(painter, box)

    def _paint_tint(self, painter: QPainter, item: Item, box: Box, scale: tuple[Tint, ...]) -> None:
        span = box.cell.span
        if span is None:
            return
        rect = box.rect.adjusted(0.5, 2, -0.5, -2)
        value = measured(item.message.track.tokens[span[0] : span[1]], self._measure)
        if value is not None:
            tint = scale[round(prominence(value, self._measure) * (LEVELS - 1))]
            painter.fillRect(rect, tint.background)
            if tint.weight:
                line = QRectF(rect.left(), rect.bottom() - tint.weight, rect.width(), tint.weight)
                painter.fillRect(line, tint.underline)
        if box.cell.special:
            painter.setPen(QPen(self.theme.color("faint"), 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(rect.adjusted(0.5, 1, -0.5, -1), 4, 4)

    def _paint_focus(self, painter: QPainter, box: Box) -> None:
        painter.setPen(QPen(self.theme.color("accent"), 2))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(box.rect.adjusted(0, 1, 0, -1), 3, 3)

    def _formats(self, piece: TokenPiece) -> list[QTextLayout.FormatRange]:
        """Faint white space marks and muted special tokens."""
        key = (id(piece), len(piece.cells), self.theme.dark)
        del key
        faint, muted = self.theme.color("faint"), self.theme.color("muted")
        ranges = []
        position = 0
        for cell in piece.cells:
            if cell.special or cell.span is None:
                ranges.append(_range(position, len(cell.text), muted))
            else:
                for offset, char in enumerate(cell.text):
                    if char in "·→↵␍":
                        ranges.append(_range(position + offset, 1, faint))
            position += len(cell.text)
        return ranges

    # --- the mouse and the keys

    def _span_at(self, point: QPointF) -> TokenSpan | None:
        found = self.hit(point)
        if found is None or not isinstance(found[1], TokenPiece):
            return None
        box = found[1].box_at(found[2])
        if box is None or box.cell.span is None:
            return None
        return TokenSpan(found[0].message.id, *box.cell.span)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        span = self._span_at(event.position())
        self.focus_model.set_preview(span)
        shape = Qt.CursorShape.PointingHandCursor if span else Qt.CursorShape.ArrowCursor
        self.viewport().setCursor(shape)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            span = self._span_at(event.position())
            focus = self.focus_model.focus
            extend = event.modifiers() & Qt.KeyboardModifier.ShiftModifier
            if span and extend and focus and focus.message_id == span.message_id:
                span = TokenSpan(span.message_id, min(focus.start, span.start), max(focus.end, span.end))
            self.focus_model.set_focus(span)
        self.setFocus()

    def leaveEvent(self, event: QEvent) -> None:
        self.focus_model.set_preview(None)
        super().leaveEvent(event)

    def hideEvent(self, event: QHideEvent) -> None:
        self.focus_model.set_preview(None)
        super().hideEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        control = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        key = event.key()
        if key in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            self.walk((_STRIDE if control else 1) * (1 if key == Qt.Key.Key_Right else -1))
        elif key in (Qt.Key.Key_Up, Qt.Key.Key_Down) and self.focus_model.focus is not None:
            self.walk_candidates(1 if key == Qt.Key.Key_Down else -1)
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.branch()
        elif key in (Qt.Key.Key_Home, Qt.Key.Key_End) and self.focus_model.focus is not None:
            self.walk(-(1 << 30) if key == Qt.Key.Key_Home else 1 << 30)
        else:
            super().keyPressEvent(event)

    def walk(self, steps: int) -> None:
        """Move the focus by so many spans, within a message and from one to the next."""
        focus = self.focus_model.focus
        if focus is None or focus.message_id not in self.model:
            self._focus_last()
            return
        track = self.model.message(focus.message_id).track
        number = track.span_number(focus.start if steps < 0 else focus.end - 1) + steps
        if abs(steps) < _STRIDE and not 0 <= number < len(track.spans):
            self._focus_neighbour(focus.message_id, 1 if steps > 0 else -1)
            return
        self._focus_span(focus.message_id, min(max(number, 0), len(track.spans) - 1))

    def walk_candidates(self, step: int) -> None:
        """Choose the next or the previous candidate of the focused token."""
        focus = self.focus_model.focus
        token = self.model.token(focus.message_id, focus.end - 1) if focus else None
        if token is None or not token.candidates:
            return
        row = self.focus_model.candidate
        wanted = (0 if step > 0 else len(token.candidates) - 1) if row is None else row + step
        self.focus_model.set_candidate(min(max(wanted, 0), len(token.candidates) - 1))

    def branch(self) -> None:
        """Ask for another reply from the focused token on, with the chosen candidate in its place."""
        focus, row = self.focus_model.focus, self.focus_model.candidate
        if focus is not None and row is not None:
            self.intents.candidate_requested.emit(focus.message_id, focus.end - 1, row)

    def _focus_span(self, message_id: MessageId, number: int) -> None:
        spans = self.model.message(message_id).track.spans
        if spans:
            self.focus_model.set_focus(TokenSpan(message_id, *spans[number]))

    def _focus_last(self) -> None:
        for message in reversed(self.model.messages):
            if len(message.track):
                self._focus_span(message.id, -1)
                return

    def _focus_neighbour(self, message_id: MessageId, step: int) -> None:
        position = self.model.position(message_id) + step
        while 0 <= position < len(self.model):
            message = self.model.messages[position]
            if len(message.track):
                self._focus_span(message.id, 0 if step > 0 else -1)
                return
            position += step


def _range(start: int, length: int, color: QColor) -> QTextLayout.FormatRange:
    look = QTextCharFormat()
    look.setForeground(color)
    found = QTextLayout.FormatRange()
    found.start, found.length, found.format = start, length, look
    return found
