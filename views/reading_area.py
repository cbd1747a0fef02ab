"""A column of messages that is laid out only where it is seen, and that never moves under the reader's eyes.

Each message is a header line, a list of pieces, and a row of buttons. A piece that was not seen yet has an
estimated height; when it is measured, the scroll position is corrected so that what is on screen stays where
it is. At the end of the text the area follows new text; anywhere else it stays, and a button leads back to
the end.
"""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QFontMetricsF,
    QHelpEvent,
    QKeyEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
    QShowEvent,
)
from PySide6.QtWidgets import QAbstractScrollArea, QToolButton, QToolTip

from views.inline_editor import InlineEditor
from views.intents import ChatIntents
from views.message_actions import MessageActions
from views.models.focus import FocusModel, MessageId
from views.models.transcript import Mark, ShownMessage, TranscriptModel
from views.theme import CAPTION, READING, TEXT_COLUMNS, Theme

HEADER, FOOTER, BETWEEN, PADDING, MARGIN = 24, 28, 20, 12, 32
_NEAR_END = 8


class Piece:
    """A stretch of a message's text, ``start`` to ``end`` (exclusive), and the space it takes."""

    gap = 0.0

    def __init__(self, start: int, end: int) -> None:
        self.start, self.end = start, end
        self.top = 0.0
        self.height = 0.0
        self.exact = False

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
    """A message in the column; ``top`` and ``height`` in content coordinates."""

    message: ShownMessage
    pieces: list[Piece] = field(default_factory=list)
    top: float = 0.0
    height: float = 0.0

    @property
    def inset(self) -> float:
        """What the message's bubble takes on each side of the text."""
        return PADDING if self.message.role == "user" else 0.0


class ReadingArea(QAbstractScrollArea):
    """Base of the text view and the token view; they say what a message's pieces are and paint them."""

    #: The reader went to another place, or another size was set.
    place_changed = Signal()

    def __init__(self, model: TranscriptModel, focus: FocusModel, intents: ChatIntents, theme: Theme) -> None:
        super().__init__()
        self.model, self.focus_model, self.intents, self.theme = model, focus, intents, theme
        self._items: list[Item] = []
        self._tops: list[float] = []
        self._total = 0.0
        self._following = True
        self._settling = False
        self._actions: dict[MessageId, MessageActions] = {}
        self._spare: list[MessageActions] = []
        self._editor: tuple[MessageId, InlineEditor] | None = None
        self.setFrameShape(QAbstractScrollArea.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.viewport().setMouseTracking(True)
        self.verticalScrollBar().setSingleStep(24)
        self._to_end = self._end_button()
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(0)
        self._later.timeout.connect(self._settle)
        for signal, slot in (
            (model.was_reset, self._reset),
            (model.message_appended, self._append),
            (model.message_changed, self._refresh),
            (model.text_replaced, self._rebuild_message),
            (model.tail_replaced, self._rebuild_tail),
            (theme.changed, self._restyle),
            (focus.current_changed, self._repaint),
            (focus.focus_changed, self._show_focus),
        ):
            signal.connect(slot)
        self.verticalScrollBar().valueChanged.connect(self._scrolled)

    # --- what subclasses say

    @abstractmethod
    def make_pieces(self, message: ShownMessage) -> list[Piece]:
        """The message's text as pieces, none of them laid out."""

    @abstractmethod
    def paint_piece(self, painter: QPainter, item: Item, piece: Piece, clip: QRectF) -> None:
        """Paint a measured piece; the painter's origin is its top left, ``clip`` what is seen of it."""

    def piece_shown(self, item: Item, piece: Piece, rect: QRectF) -> None:
        """A visible piece has its place in the viewport (for widgets that lie on it)."""

    def pieces_settled(self) -> None:
        """All visible pieces were told to :meth:`piece_shown`."""

    # --- places

    @property
    def following(self) -> bool:
        """Whether new text at the end is scrolled to."""
        return self._following

    def column(self) -> QRectF:
        """The text column in the viewport: left edge and width."""
        width = self.column_width(self.viewport().width())
        return QRectF((self.viewport().width() - width) / 2, 0, width, self.viewport().height())

    def column_width(self, available: int) -> float:
        """How wide the text column is in a view of this width."""
        widest = TEXT_COLUMNS * QFontMetricsF(self.theme.font(READING)).averageCharWidth() + 2 * PADDING
        return max(120.0, min(available - 2 * MARGIN, widest))

    def place(self) -> tuple[MessageId, int] | None:
        """The message and the character of its text that stand at the top of the view."""
        at = self._piece_at(float(self.verticalScrollBar().value()))
        if at is None:
            return None
        item, piece = at
        y = self.verticalScrollBar().value() - item.top - piece.top
        return item.message.id, piece.offset_at(y) if y > 0 and piece.exact else piece.start

    def go_to(self, message_id: MessageId, offset: int) -> None:
        """Put a character of a message at the top of the view; without effect if it is not there."""
        found = self._find(message_id, offset)
        if found is not None:
            self._following = False
            item, piece = found
            self._ensure_exact(piece, item)
            self._set_value(item.top + piece.top + piece.y_of(offset))
            self._settle()

    def scroll_to_end(self) -> None:
        """Go to the end and follow new text from there."""
        self._following = True
        self._settle()

    def edit_message(self, message_id: MessageId) -> None:
        """Open the text of a message for editing, in its place."""
        self.stop_editing()
        item = self._item(message_id)
        editor = InlineEditor(item.message.text, self.theme, self.viewport())
        self._editor = (message_id, editor)
        editor.accepted.connect(self._edited)
        editor.cancelled.connect(self.stop_editing)
        editor.height_changed.connect(self._editor_grew)
        editor.show()
        self._editor_grew()
        editor.setFocus()

    def stop_editing(self) -> None:
        """Close the editor without a change."""
        if self._editor is not None:
            editor = self._editor[1]
            self._editor = None
            editor.hide()
            editor.deleteLater()
            self.relayout()
            self.setFocus()

    def visible(self) -> Iterator[tuple[Item, Piece]]:
        """All pieces that are in the viewport now."""
        top = float(self.verticalScrollBar().value())
        bottom = top + self.viewport().height()
        for item in self._items[max(0, bisect_right(self._tops, top) - 1) :]:
            if item.top > bottom:
                return
            for piece in item.pieces:
                if item.top + piece.top < bottom and item.top + piece.top + piece.height > top:
                    yield item, piece

    def hit(self, position: QPointF) -> tuple[Item, Piece, QPointF] | None:
        """The piece under a point of the viewport, and the point in its coordinates."""
        y = position.y() + self.verticalScrollBar().value()
        at = self._piece_at(y)
        if at is None:
            return None
        item, piece = at
        return item, piece, QPointF(position.x() - self.left(item), y - item.top - piece.top)

    def left(self, item: Item) -> float:
        """Where the text of a message begins in the viewport."""
        return self.column().left() + item.inset

    def text_width(self, item: Item) -> float:
        """How wide the text of a message may be."""
        return self.column().width() - 2 * item.inset

    # --- layout

    def relayout(self) -> None:
        """Everything may have another size now; keep the reader's place."""
        anchor = self.place()
        for item in self._items:
            for piece in item.pieces:
                piece.exact = False
            self._arrange(item)
        self._stack(0)
        if self._following or anchor is None:
            self._settle()
        else:
            self.go_to(*anchor)

    def item_changed(self, item: Item) -> None:
        """The pieces of this message changed; arrange it again soon."""
        self._arrange(item)
        self._stack(self.model.position(item.message.id))
        self._settle_soon()

    def _item(self, message_id: MessageId) -> Item:
        return self._items[self.model.position(message_id)]

    def _arrange(self, item: Item) -> None:
        """Set the pieces' tops and the message's height."""
        y, width = HEADER + item.inset / 2, self.text_width(item)
        if self._editor is not None and self._editor[0] == item.message.id:
            item.height = y + self._editor[1].wanted_height() + BETWEEN
            return
        for number, piece in enumerate(item.pieces):
            if not piece.exact:
                piece.height = piece.estimate(width)
            y += piece.gap if number else 0.0
            piece.top = y
            y += piece.height
        item.height = y + item.inset / 2 + FOOTER + BETWEEN

    def _stack(self, first: int) -> None:
        """Put the messages from number ``first`` on under each other."""
        y = self._items[first - 1].top + self._items[first - 1].height if first > 0 else float(BETWEEN)
        del self._tops[first:]
        for item in self._items[first:]:
            item.top = y
            self._tops.append(y)
            y += item.height
        self._total = self._items[-1].top + self._items[-1].height if self._items else 0.0

    def _ensure_exact(self, piece: Piece, item: Item) -> bool:
        if piece.exact:
            return False
        before = piece.height
        piece.height = piece.measure(self.text_width(item))
        piece.exact = True
        if abs(piece.height - before) < 0.5 and piece.height == before:
            return False
        self._arrange(item)
        self._stack(self.model.position(item.message.id))
        return True

    def _settle_soon(self) -> None:
        if not self._later.isActive():
            self._later.start()

    def _settle(self) -> None:
        """Measure what is seen; what was on screen keeps its place."""
        if self._settling or not self.isVisible():
            return
        self._settling = True
        try:
            for _ in range(50):
                self._set_range()
                if self._following:
                    self._set_value(self._total)
                if not self._measure_visible():
                    break
            self._place_widgets()
        finally:
            self._settling = False
        self.viewport().update()
        self.place_changed.emit()

    def _measure_visible(self) -> bool:
        shown = list(self.visible())
        rough = [(item, piece) for item, piece in shown if not piece.exact]
        if not rough:
            return False
        anchor = next(((item, piece) for item, piece in shown if piece.exact), shown[0])
        before = anchor[0].top + anchor[1].top
        changed = False
        for item, piece in rough:
            changed = self._ensure_exact(piece, item) or changed
        self._set_range()
        if not self._following:
            moved = anchor[0].top + anchor[1].top - before
            self._set_value(self.verticalScrollBar().value() + moved)
        return changed

    def _set_range(self) -> None:
        bar, height = self.verticalScrollBar(), self.viewport().height()
        bar.setPageStep(height)
        bar.setRange(0, max(0, round(self._total - height)))

    def _set_value(self, value: float) -> None:
        was, self._settling = self._settling, True
        self.verticalScrollBar().setValue(round(value))
        self._settling = was

    def _piece_at(self, y: float) -> tuple[Item, Piece] | None:
        """The piece at a height of the content, or the nearest one below it."""
        for item in self._items[max(0, bisect_right(self._tops, y) - 1) :]:
            for piece in item.pieces:
                if item.top + piece.top + piece.height > y:
                    return item, piece
        return None

    def _find(self, message_id: MessageId, offset: int) -> tuple[Item, Piece] | None:
        if message_id not in self.model:
            return None
        item = self._item(message_id)
        if not item.pieces:
            return None
        for piece in item.pieces:
            if piece.end > offset:
                return item, piece
        return item, item.pieces[-1]

    # --- the model's signals

    def _reset(self) -> None:
        self.stop_editing()
        self._following = True
        self._rebuild_tail(0)

    def _rebuild_tail(self, first: int) -> None:
        self.stop_editing()
        anchor = None if self._following else self.place()
        del self._items[first:]
        for message in self.model.messages[first:]:
            self._items.append(Item(message, self.make_pieces(message)))
            self._arrange(self._items[-1])
        self._stack(first)
        self._settle()
        if anchor is not None:
            self.go_to(*anchor)

    def _append(self, message_id: MessageId) -> None:
        message = self.model.message(message_id)
        self._items.append(Item(message, self.make_pieces(message)))
        self._arrange(self._items[-1])
        self._stack(len(self._items) - 1)
        if message.role == "user":
            self._following = True
        self._settle_soon()

    def _refresh(self, message_id: MessageId) -> None:
        self._settle_soon()

    def _rebuild_message(self, message_id: MessageId) -> None:
        item = self._item(message_id)
        item.pieces = self.make_pieces(item.message)
        self.item_changed(item)

    def _restyle(self) -> None:
        for item in self._items:
            item.pieces = self.make_pieces(item.message)
        self.relayout()

    def _repaint(self) -> None:
        self.viewport().update()

    def _show_focus(self) -> None:
        """Bring the focused token into view if it is not."""
        focus = self.focus_model.focus
        if focus is None or not self.isVisible() or focus.message_id not in self.model:
            return
        track = self.model.message(focus.message_id).track
        if not focus.start < len(track):
            return
        found = self._find(focus.message_id, track.start(focus.start))
        if found is None:
            return
        item, piece = found
        self._ensure_exact(piece, item)
        y = item.top + piece.top + piece.y_of(track.start(focus.start))
        top, height = self.verticalScrollBar().value(), self.viewport().height()
        if not top + 24 <= y <= top + height - 64:
            self._following = False
            self._set_value(y - height / 3)
            self._settle()

    def _scrolled(self, value: int) -> None:
        if not self._settling:
            self._following = value >= self.verticalScrollBar().maximum() - _NEAR_END
            self._settle()

    def _edited(self, text: str) -> None:
        if self._editor is not None:
            message_id = self._editor[0]
            changed = text != self.model.message(message_id).text
            self.stop_editing()
            if changed:
                self.intents.edit_requested.emit(message_id, text)

    def _editor_grew(self) -> None:
        if self._editor is not None:
            self._following = False
            self.item_changed(self._item(self._editor[0]))

    # --- widgets that lie on the text

    def _end_button(self) -> QToolButton:
        button = QToolButton(self)
        button.setObjectName("scrollToEnd")
        button.setProperty("kind", "floating")
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        button.setText("To the end")
        button.setToolTip("Go to the end and follow the reply (End)")
        button.setAccessibleName("Go to the end")
        button.setCursor(Qt.CursorShape.PointingHandCursor)
        button.setIconSize(QSize(14, 14))
        self.theme.set_icon(button, "end")
        button.clicked.connect(self.scroll_to_end)
        button.hide()
        return button

    def _place_widgets(self) -> None:
        top, height = self.verticalScrollBar().value(), self.viewport().height()
        column = self.column()
        seen: dict[MessageId, Item] = {}
        for item in self._items[max(0, bisect_right(self._tops, float(top)) - 1) :]:
            if item.top > top + height:
                break
            seen[item.message.id] = item
        for message_id in [known for known in self._actions if known not in seen]:
            unused = self._actions.pop(message_id)
            unused.hide()
            self._spare.append(unused)
        for item in seen.values():
            self._place_actions(item, column, top)
        for item, piece in self.visible():
            y = item.top + piece.top - top
            self.piece_shown(item, piece, QRectF(self.left(item), y, self.text_width(item), piece.height))
        self.pieces_settled()
        away = self._total - height - top
        self._to_end.setVisible(away > 2 * _NEAR_END and not self._following)
        hint = self._to_end.sizeHint()
        self._to_end.setGeometry(
            (self.viewport().width() - hint.width()) // 2,
            height - hint.height() - 12,
            hint.width(),
            hint.height(),
        )
        self._to_end.raise_()

    def _place_actions(self, item: Item, column: QRectF, top: int) -> None:
        if self._editor is not None and self._editor[0] == item.message.id:
            y = item.top - top + HEADER
            editor = self._editor[1]
            editor.setGeometry(round(column.left()), round(y), round(column.width()), editor.wanted_height())
            if item.message.id in self._actions:
                self._actions[item.message.id].hide()
            return
        actions = self._actions.get(item.message.id)
        if actions is None:
            actions = self._spare.pop() if self._spare else self._new_actions()
            self._actions[item.message.id] = actions
        actions.show_message(item.message)
        y = item.top + item.height - FOOTER - BETWEEN - top
        actions.setGeometry(round(column.left()) - 6, round(y), round(column.width()) + 6, FOOTER)
        actions.show()

    def _new_actions(self) -> MessageActions:
        actions = MessageActions(self.intents, self.theme, self.viewport())
        actions.edit_started.connect(self.edit_message)
        return actions

    # --- painting

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self.viewport())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(event.rect(), self.theme.color("surface"))
        top = float(self.verticalScrollBar().value())
        bottom = top + self.viewport().height()
        column = self.column()
        for item in self._items[max(0, bisect_right(self._tops, top) - 1) :]:
            if item.top > bottom:
                break
            self._paint_frame(painter, item, column, item.top - top)
        for item, piece in self.visible():
            if piece.exact and not (self._editor is not None and self._editor[0] == item.message.id):
                y = item.top + piece.top - top
                painter.save()
                painter.translate(self.left(item), y)
                clip = QRectF(0, max(0.0, -y), self.text_width(item), min(piece.height, bottom - top - y))
                self.paint_piece(painter, item, piece, clip)
                painter.restore()
        for mark, rect in self._marks():
            self._paint_mark(painter, mark, rect)
        painter.end()

    def _paint_frame(self, painter: QPainter, item: Item, column: QRectF, y: float) -> None:
        user = item.message.role == "user"
        painter.setFont(self.theme.font(CAPTION, bold=True))
        painter.setPen(self.theme.color("muted"))
        header = QRectF(column.left(), y, column.width(), HEADER - 4)
        name = "You" if user else item.message.author or "Model"
        painter.drawText(header, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, name)
        if user and item.pieces:
            last = item.pieces[-1]
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(self.theme.color("bubble"))
            box = QRectF(column.left(), y + HEADER - 2, column.width(), last.top + last.height - HEADER + 10)
            painter.drawRoundedRect(box, 8, 8)

    def _marks(self) -> Iterator[tuple[Mark, QRectF]]:
        """The marks that are in view and the place of their sign, left of the column."""
        top, height = self.verticalScrollBar().value(), self.viewport().height()
        left = self.column().left()
        for item in self._items[max(0, bisect_right(self._tops, float(top)) - 1) :]:
            if item.top > top + height:
                return
            track = item.message.track
            for mark in item.message.marks:
                offset = track.start(min(mark.token_index, len(track)))
                found = self._find(item.message.id, offset)
                if found is not None and found[1].exact:
                    y = item.top + found[1].top + found[1].y_of(offset) - top
                    yield mark, QRectF(left - 20, y + 4, 12, 16)

    def _paint_mark(self, painter: QPainter, mark: Mark, rect: QRectF) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self.theme.color("accent"))
        painter.drawRoundedRect(QRectF(rect.right() - 4, rect.top(), 3, rect.height()), 1.5, 1.5)
        column = self.column()
        room = self.viewport().width() - column.right() - 16
        if room >= 120:
            painter.setFont(self.theme.font(CAPTION))
            painter.setPen(self.theme.color("muted"))
            text = painter.fontMetrics().elidedText(mark.text, Qt.TextElideMode.ElideRight, int(room))
            place = QRectF(column.right() + 12, rect.top(), room, rect.height())
            painter.drawText(place, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, text)

    # --- Qt events

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if event.size().width() != event.oldSize().width():
            self.relayout()
        else:
            self._settle()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._settle()

    def viewportEvent(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent):
            texts = [m.text for m, r in self._marks() if r.adjusted(-4, -2, 4, 2).contains(event.pos())]
            if texts:
                QToolTip.showText(event.globalPos(), "\n".join(texts), self.viewport())
                return True
        return super().viewportEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        bar = self.verticalScrollBar()
        if event.key() == Qt.Key.Key_End:
            self.scroll_to_end()
        elif event.key() == Qt.Key.Key_Home:
            bar.setValue(0)
        elif event.key() == Qt.Key.Key_Space:
            bar.setValue(bar.value() + bar.pageStep() - 48)
        else:
            super().keyPressEvent(event)

    def sizeHint(self) -> QSize:
        return QSize(640, 480)
