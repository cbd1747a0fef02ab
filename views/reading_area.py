"""A scrolled column of messages that never moves under the reader's eyes.

What is measured for the first time while it comes into view changes heights; the scroll position is
corrected so that what is on screen stays where it is. At the end of the text the area follows new text;
anywhere else it stays, and a button leads back to the end.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from itertools import groupby, zip_longest
from math import floor
from typing import NamedTuple

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
from PySide6.QtWidgets import QAbstractScrollArea, QToolTip

from views.intents import ChatIntents
from views.models.focus import FocusModel, MessageId
from views.models.transcript import Mark, ShownMessage, TranscriptModel
from views.reading_column import BETWEEN, PADDING, Item, Piece, ReadingColumn
from views.reading_overlay import ReadingOverlay
from views.reading_paint import paint_frame, paint_marks
from views.theme import READING, TEXT_COLUMNS, Theme

MARGIN = 32
#: Width of the scroll bar in the style sheet.
SCROLL_BAR = 10
_NEAR_END = 8


class Place(NamedTuple):
    """Where the reader is: the first character that is seen, and what is seen above its line, in px."""

    message_id: MessageId
    offset: int
    above: float


class ReadingArea(QAbstractScrollArea):
    """Base of the text view and the token view; they say what a message's pieces are and paint them."""

    #: The reader went to another place, or another size was set.
    place_changed = Signal()

    def __init__(self, model: TranscriptModel, focus: FocusModel, intents: ChatIntents, theme: Theme) -> None:
        super().__init__()
        self.model, self.focus_model, self.intents, self.theme = model, focus, intents, theme
        self.column = ReadingColumn(self.make_pieces)
        self._following = True
        self._settling = False
        self._stale = False
        self.setFrameShape(QAbstractScrollArea.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.viewport().setMouseTracking(True)
        # What is painted here hides whatever is behind; its parents need not paint their background.
        self.viewport().setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.verticalScrollBar().setSingleStep(24)
        self.verticalScrollBar().valueChanged.connect(self._scrolled)
        self.overlay = ReadingOverlay(self.viewport(), intents, theme, self.scroll_to_end)
        self.overlay.edit_wanted.connect(self.edit_message)
        self.overlay.edited.connect(self._edited)
        self.overlay.editor_resized.connect(self._editor_resized)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(0)
        self._later.timeout.connect(self._settle_now)
        #: Everything has to be painted again, not only what moved or was laid out anew.
        self._whole = True
        self._fresh: set[Piece] = set()
        self._painted: list[tuple[Piece, float, float]] = []
        self._widest: float | None = None
        model.was_reset.connect(self._reset)
        model.message_appended.connect(self._append)
        model.message_changed.connect(self._settle_soon)
        model.text_replaced.connect(self._rebuild_message)
        model.tail_replaced.connect(self._rebuild_tail)
        theme.changed.connect(self._restyle)
        focus.current_changed.connect(self.viewport().update)
        focus.focus_changed.connect(self._show_focus)

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

    @property
    def scrolled(self) -> float:
        """Height of the column that is above the viewport."""
        return float(self.verticalScrollBar().value())

    def column_in(self, width: int) -> tuple[float, float]:
        """Left edge and width of the text column in a view of this width, with or without a scroll bar."""
        available = width - SCROLL_BAR
        if self._widest is None:
            character = QFontMetricsF(self.theme.font(READING)).averageCharWidth()
            self._widest = TEXT_COLUMNS * character + 2 * PADDING
        column = round(max(120.0, min(available - 2 * MARGIN, self._widest)))
        return float((available - column) // 2), float(column)

    def column_rect(self) -> QRectF:
        """The text column in the viewport."""
        left, width = self.column_in(self.width())
        return QRectF(left, 0, width, self.viewport().height())

    def left(self, item: Item) -> float:
        """Where the text of a message begins in the viewport."""
        return self.column_rect().left() + item.inset

    def place(self) -> Place | None:
        """What stands at the top of the view."""
        at = self.column.piece_at(self.scrolled)
        if at is None:
            return None
        item, piece = at
        y = self.scrolled - item.top - piece.top
        offset = piece.offset_at(y) if y > 0 and piece.exact else piece.start
        return Place(item.message.id, offset, max(0.0, -y))

    def go_to(self, message_id: MessageId, offset: int, above: float = 0.0) -> None:
        """Put a character of a message at the top of the view, or ``above`` px below it.

        Without effect if the message is not there.
        """
        self._freshen()
        found = self.column.find(message_id, offset)
        if found is not None:
            self._following = False
            item, piece = found
            self.column.ensure_exact(item, piece)
            self._set_range()
            self._set_value(item.top + piece.top + piece.y_of(offset) - above)
            self._settle()

    def scroll_to_end(self) -> None:
        """Go to the end and follow new text from there."""
        self._following = True
        self._settle()

    def visible(self) -> Iterator[tuple[Item, Piece]]:
        """All pieces that are in the viewport now."""
        top = self.scrolled
        return self.column.pieces_in(top, top + self.viewport().height())

    def visible_items(self) -> list[Item]:
        """All messages that are in the viewport now."""
        top = self.scrolled
        return list(self.column.items_in(top, top + self.viewport().height()))

    def hit(self, position: QPointF) -> tuple[Item, Piece, QPointF] | None:
        """The piece under (or below) a point of the viewport, and the point in its coordinates."""
        y = position.y() + self.scrolled
        at = self.column.piece_at(y)
        if at is None:
            return None
        item, piece = at
        return item, piece, QPointF(position.x() - self.left(item), y - item.top - piece.top)

    # --- editing

    def edit_message(self, message_id: MessageId) -> None:
        """Open the text of a message for editing, in its place."""
        self.overlay.edit(self.column.item(message_id))

    def _edited(self, message_id: MessageId, text: str) -> None:
        if message_id in self.model and text != self.model.message(message_id).text:
            self.intents.edit_requested.emit(message_id, text)

    def _editor_resized(self, message_id: MessageId, height: float | None) -> None:
        if message_id not in self.model:
            return
        item = self.column.item(message_id)
        item.replaced_height = height
        self._following = self._following and height is None
        if height is None:
            self.setFocus()
        self.item_changed(item)

    # --- layout

    def item_changed(self, item: Item) -> None:
        """The pieces of this message changed; lay out again soon."""
        self.column.changed(item)
        self._settle_soon()

    def item_grew(self, item: Item) -> None:
        """The end of this message grew; lay out again soon, and paint only from there on."""
        self.column.changed(item)
        if not self._later.isActive():
            self._later.start()

    def _settle_soon(self, *_: object) -> None:
        self._whole = True
        if not self._later.isActive():
            self._later.start()

    def _settle_now(self) -> None:
        whole, self._whole = self._whole, False
        self._settle(whole=whole)

    def _freshen(self) -> None:
        """Take over what happened while the area was hidden."""
        if self._stale:
            self._stale = False
            self.column.replace_from(0, self.model.messages)

    def _settle(self, *, whole: bool = True) -> None:
        """Measure what is seen; what was on screen keeps its place."""
        if self._settling or not self.isVisible():
            return
        self._settling = True
        try:
            for _ in range(50):
                self._set_range()
                if self._following:
                    self._set_value(self.column.total)
                if not self._measure_visible():
                    break
            self._place_widgets()
        finally:
            self._settling = False
        self._repaint(whole=whole)
        self.place_changed.emit()

    def _repaint(self, *, whole: bool) -> None:
        """Paint again from the first piece that moved or was laid out anew, or everything."""
        before, scrolled = self._painted, self.scrolled
        now = [(piece, item.top + piece.top - scrolled, piece.height) for item, piece in self.visible()]
        fresh, self._fresh, self._painted = self._fresh, set(), now
        if whole:
            self.viewport().update()
            return
        if before == now:
            for _, y_fresh, height in (shown for shown in now if shown[0] in fresh):
                place = QRectF(0, y_fresh, self.viewport().width(), height).toAlignedRect()
                self.viewport().update(place.adjusted(0, -2, 0, 2))
            return
        pairs = zip_longest(before, now)
        tops = (min(p[1] for p in pair if p) for pair in pairs if pair[0] != pair[1] or pair[1][0] in fresh)
        top = next(tops, None)
        if top is not None:
            y = max(0, floor(top) - BETWEEN)
            self.viewport().update(0, y, self.viewport().width(), self.viewport().height() - y)

    def _measure_visible(self) -> bool:
        anchor = next(((item, piece) for item, piece in self.visible() if piece.exact), None)
        before = anchor[0].top + anchor[1].top if anchor else 0.0
        changed = False
        for item in self.visible_items():
            changed = self.column.build(item) or changed
        shown = list(self.visible())
        self._fresh.update(piece for _, piece in shown if not piece.exact)
        changed = self.column.ensure_all_exact(shown) or changed
        self._set_range()
        if anchor and not self._following:
            self._set_value(self.scrolled + anchor[0].top + anchor[1].top - before)
        return changed

    def _set_range(self) -> None:
        bar, height = self.verticalScrollBar(), self.viewport().height()
        end = max(0, round(self.column.total - height))
        if (bar.pageStep(), bar.maximum()) != (height, end):
            was, self._settling = self._settling, True
            bar.setPageStep(height)
            bar.setRange(0, end)
            self._settling = was

    def _set_value(self, value: float) -> None:
        was, self._settling = self._settling, True
        self.verticalScrollBar().setValue(round(value))
        self._settling = was

    def _place_widgets(self) -> None:
        scrolled, rect = self.scrolled, self.column_rect()
        away = self.column.total - rect.height() - scrolled > 2 * _NEAR_END
        away_from_end = away and not self._following
        busy = self.model.streaming_id is not None
        self.overlay.place(self.visible_items(), rect, scrolled, away_from_end=away_from_end, busy=busy)
        for item, piece in self.visible():
            left, y = rect.left() + item.inset, item.top + piece.top - scrolled
            self.piece_shown(item, piece, QRectF(left, y, self.column.text_width(item), piece.height))
        self.pieces_settled()

    # --- the model's signals

    def _reset(self) -> None:
        self.overlay.stop_editing()
        self._following = True
        self._rebuild_tail(0)

    def _rebuild_tail(self, first: int) -> None:
        self.overlay.stop_editing()
        if not self.isVisible():
            self._stale = True
            return
        tail = self.model.messages[first:]
        if tail and (tail[-1].role == "user" or tail[-1].state == "streaming"):
            self._following = True  # the user asked for what is about to be written
        anchor = None if self._following else self.place()
        self.column.replace_from(first, tail)
        self._settle()
        if anchor is not None:
            self.go_to(*anchor)

    def _append(self, message_id: MessageId) -> None:
        if not self._stale:
            message = self.model.message(message_id)
            self.column.replace_from(len(self.column.items), [message])
            if message.role == "user":
                self._following = True
            self._settle_soon()

    def _rebuild_message(self, message_id: MessageId) -> None:
        if not self._stale:
            item = self.column.item(message_id)
            item.pieces, item.built = [], False
            self.item_changed(item)

    def _restyle(self) -> None:
        self._widest = None
        anchor = self.place()
        self.column.rebuild()
        self._return_to(anchor)

    def _return_to(self, anchor: Place | None) -> None:
        if self._following or anchor is None:
            self._settle()
        else:
            self.go_to(*anchor)

    def _show_focus(self) -> None:
        """Bring the focused token into view if it is not."""
        focus = self.focus_model.focus
        if focus is None or not self.isVisible() or focus.message_id not in self.model:
            return
        track = self.model.message(focus.message_id).track
        if not focus.start < len(track):
            return
        found = self.column.find(focus.message_id, track.start(focus.start))
        if found is None:
            return
        item, piece = found
        self.column.ensure_exact(item, piece)
        y = item.top + piece.top + piece.y_of(track.start(focus.start))
        height = self.viewport().height()
        if not self.scrolled + 24 <= y <= self.scrolled + height - 64:
            self._following = False
            self._set_range()
            self._set_value(y - height / 3)
            self._settle()

    def _scrolled(self, value: int) -> None:
        if not self._settling:
            self._following = value >= self.verticalScrollBar().maximum() - _NEAR_END
            self._settle()

    # --- painting

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self.viewport())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(event.rect(), self.theme.color("surface"))
        rect, scrolled = self.column_rect(), self.scrolled
        first, last = event.rect().top(), event.rect().bottom() + 1
        for item in self.visible_items():
            if item.top - scrolled + item.height > first:
                paint_frame(painter, self.theme, item, rect, item.top - scrolled)
        for item, piece in self.visible():
            y = item.top + piece.top - scrolled
            if piece.exact and y < last and y + piece.height > first:
                height = min(piece.height, rect.height() - y)
                clip = QRectF(0, max(0.0, -y), self.column.text_width(item), height + min(0.0, y))
                painter.save()
                painter.translate(rect.left() + item.inset, y)
                self.paint_piece(painter, item, piece, clip)
                painter.restore()
        for place, line in groupby(self.marks(), key=lambda found: found[1]):
            marks = [mark for mark, _ in line]
            paint_marks(painter, self.theme, marks, place, rect, self.viewport().width())
        painter.end()

    def marks(self) -> Iterator[tuple[Mark, QRectF]]:
        """The marks that are in view and the place of their sign, left of the column."""
        left = self.column_rect().left()
        for item in self.visible_items():
            track = item.message.track
            for mark in item.message.marks if item.replaced_height is None else ():
                offset = track.start(min(mark.token_index, len(track)))
                found = self.column.find(item.message.id, offset)
                if found is not None and found[1].exact:
                    y = item.top + found[1].top + found[1].y_of(offset) - self.scrolled
                    yield mark, QRectF(left - 20, y + 4, 12, 16)

    # --- Qt events

    def scrollContentsBy(self, dx: int, dy: int) -> None:
        """Paint nothing: whoever moved the text knows what of it has to be painted again."""

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if event.size().width() == event.oldSize().width():
            self._settle()
            return
        anchor = None if self._following else self.place()
        self.column.set_width(self.column_rect().width())
        self._return_to(anchor)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._freshen()
        self._settle()

    def viewportEvent(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent):
            texts = [m.text for m, r in self.marks() if r.adjusted(-4, -2, 4, 2).contains(event.pos())]
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
