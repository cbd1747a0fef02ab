"""The conversation as tokens: a tint each, white space to be seen, and the keys to walk them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import QEvent, QPointF, QRectF, Qt
from PySide6.QtGui import (
    QGuiApplication,
    QHideEvent,
    QKeyEvent,
    QKeySequence,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPen,
    QPolygonF,
)

from views.intents import ChatIntents
from views.models.focus import FocusModel, MessageId, TokenSpan
from views.models.text_range import TextTint
from views.models.tokens import Measure, measured, prominence, was_guessed
from views.models.transcript import ShownMessage, TranscriptModel
from views.paint import LEVELS, diverging, sequential_scale
from views.piece_pictures import PiecePictures
from views.reading_area import ReadingArea
from views.reading_column import Item, Piece
from views.theme import Theme
from views.token_layout import Box, PaintedTint, TokenPiece, cut_spans, cut_text

#: Tokens that Ctrl+Left and Ctrl+Right pass at once.
_STRIDE = 10
#: Side of the corner that marks a token that was guessed ahead, px.
CORNER = 5.0


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
        self._asked: set[MessageId] = set()
        self._steered: Mapping[MessageId, Sequence[TextTint]] = {}
        self._pictures = PiecePictures()
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

    def set_tints(self, tints: Mapping[MessageId, Sequence[TextTint]]) -> None:
        """Mark characters of messages that are turned down or up: a dashed line below their tokens."""
        self._steered = tints
        self.viewport().update()

    # --- pieces

    def make_pieces(self, message: ShownMessage) -> list[Piece]:
        return [*cut_text(message, self.theme), *cut_spans(message, self.theme, 0)]

    def _tokens_changed(self, message_id: MessageId, first: int) -> None:
        if self._stale or not self.column.item(message_id).built:
            self._settle_soon()
            return
        item = self.column.item(message_id)
        if first == 0:
            item.pieces = self.make_pieces(item.message)
        else:
            self._extend(item, item.message.track.span_number(first))
        self.item_changed(item)

    def _extend(self, item: Item, span: int) -> None:
        """Cut anew from the last piece that reaches to this span; the piece itself stays."""
        pieces = item.pieces
        old: TokenPiece | None = None
        while pieces:
            last = pieces[-1]
            if not isinstance(last, TokenPiece) or last.last < span or last.first == last.last:
                break
            old = last
            pieces.pop()
        fresh = cut_spans(item.message, self.theme, old.first if old is not None else span)
        if old is not None and fresh:
            if span < old.last or fresh[0].last != old.last:
                old.grow(fresh[0].last, fresh[0].end)
            fresh[0] = old
        pieces.extend(fresh)

    def pieces_settled(self) -> None:
        self._pictures.keep_only({piece for _, piece in self.visible() if isinstance(piece, TokenPiece)})

    def piece_shown(self, item: Item, piece: Piece, rect: QRectF) -> None:
        message = item.message
        bare = not len(message.track) and bool(message.text) and message.state != "streaming"
        if bare and message.id not in self._asked:
            self._asked.add(message.id)
            self.intents.tokens_wanted.emit(message.id)

    # --- painting

    def paint_piece(self, painter: QPainter, item: Item, piece: Piece, clip: QRectF) -> None:
        if not isinstance(piece, TokenPiece):
            return
        self._pictures.paint(painter, item, piece, self._picture_key(item), self._paint_tokens)
        for tint in self._steered.get(item.message.id, ()):
            self._paint_steered(painter, item.message, piece, tint)
        current = self.focus_model.current
        if current is not None and current.message_id == item.message.id:
            for box in piece.boxes:
                span = box.cell.span
                if span and current.start < span[1] and span[0] < current.end:
                    self._paint_focus(painter, box)

    def _picture_key(self, item: Item) -> tuple[object, ...]:
        """Everything but the piece itself that a picture of it depends on."""
        ground = "bubble" if item.message.role == "user" else "surface"
        width = self.column.text_width(item)
        return self._measure, getattr(self.theme.colors, ground), width, self.devicePixelRatioF()

    def _paint_tokens(self, painter: QPainter, item: Item, piece: TokenPiece) -> None:
        """Paint tints, white space, chips and text, but not the focus."""
        if piece.text_layout is None:
            return
        for rect, color, line, line_color in self._tints(item, piece):
            painter.fillRect(rect, color)
            if line_color is not color:
                painter.fillRect(line, line_color)
        painter.setPen(QPen(self.theme.color("faint"), 1.6, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
        painter.drawPoints(piece.spaces)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(self.theme.color("faint"), 1))
        for box in piece.boxes:
            if box.cell.special:
                painter.drawRoundedRect(box.rect.adjusted(1, 3, -1, -3), 4, 4)
        self._paint_guessed(painter, item, piece)
        painter.setPen(self.theme.color("text"))
        piece.text_layout.draw(painter, QPointF(0, 0))

    def _paint_guessed(self, painter: QPainter, item: Item, piece: TokenPiece) -> None:
        """A corner on each token that was guessed ahead."""
        track = item.message.track
        if not track.guessed:
            return
        corners = QPainterPath()
        for box in piece.boxes:
            span = box.cell.span
            if span and any(was_guessed(track[number]) for number in range(*span)):
                at = box.rect.topLeft() + QPointF(0.5, 2)
                corners.addPolygon(QPolygonF([at, at + QPointF(CORNER, 0), at + QPointF(0, CORNER)]))
        painter.fillPath(corners, self.theme.color("accent"))

    def _tints(self, item: Item, piece: TokenPiece) -> list[PaintedTint]:
        """The piece's tints, kept until the measure, the theme or the tokens change."""
        colors = self.theme.colors
        key = (self._measure, colors.surface)
        if piece.tints is not None and piece.tints[0] == key:
            return piece.tints[1]
        scale = sequential_scale(colors.surface, colors.text)
        tokens = item.message.track.tokens
        painted: list[PaintedTint] = []
        for box in piece.boxes:
            span = box.cell.span
            value = measured(tokens[span[0] : span[1]], self._measure) if span else None
            if value is None:
                continue
            tint = scale[round(prominence(value, self._measure) * (LEVELS - 1))]
            rect = box.rect.adjusted(0.5, 2, -0.5, -2)
            line = QRectF(rect.left(), rect.bottom() - tint.weight, rect.width(), tint.weight)
            painted.append((rect, tint.background, line, tint.underline if tint.weight else tint.background))
        piece.tints = (key, painted)
        return painted

    def _paint_steered(
        self, painter: QPainter, message: ShownMessage, piece: TokenPiece, tint: TextTint
    ) -> None:
        """The dashed line that the text view draws, too; its colour says how much less or more."""
        colors, track = self.theme.colors, message.track
        line = diverging(tint.strength, colors.surface, colors.text).underline
        painter.setPen(QPen(line, 2, Qt.PenStyle.CustomDashLine))
        pen = painter.pen()
        pen.setDashPattern([2, 1.5])
        painter.setPen(pen)
        for box in piece.boxes:
            span = box.cell.span
            if span and track.start(span[0]) < tint.end and track.end(span[1] - 1) > tint.start:
                painter.drawLine(
                    box.rect.bottomLeft() - QPointF(0, 1), box.rect.bottomRight() - QPointF(0, 1)
                )

    def _paint_focus(self, painter: QPainter, box: Box) -> None:
        painter.setPen(QPen(self.theme.color("accent"), 2))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(box.rect.adjusted(0, 1, 0, -1), 3, 3)

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
        elif event.matches(QKeySequence.StandardKey.Copy):
            self.copy_focus()
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
        if row is None:  # the token that was drawn is where the table stands
            by_raw = sorted(token.candidates, key=lambda candidate: -candidate.logprob)
            row = next((n for n, candidate in enumerate(by_raw) if candidate.id == token.id), None)
        wanted = (0 if step > 0 else len(token.candidates) - 1) if row is None else row + step
        self.focus_model.set_candidate(min(max(wanted, 0), len(token.candidates) - 1))

    def copy_focus(self) -> None:
        """Put the text of the focused tokens on the clipboard."""
        focus = self.focus_model.focus
        if focus is not None:
            text = "".join(token.text for token in self.model.tokens_of(focus))
            QGuiApplication.clipboard().setText(text)
            self.intents.told.emit("Copied.")

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
