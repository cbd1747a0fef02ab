"""Surprisal along a text, one bar a token; a click puts the focus there."""

from __future__ import annotations

import math

from PySide6.QtCore import QEvent, QRectF, QSize, Qt
from PySide6.QtGui import (
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QScrollBar, QSizePolicy, QToolTip, QVBoxLayout, QWidget

from views.models.candidates import token_name
from views.models.focus import FocusModel, MessageId, TokenSpan
from views.models.tokens import FULL_SCALE, AnyToken, prominence, surprisal
from views.models.transcript import TranscriptModel
from views.paint import sequential
from views.theme import CAPTION, GRID, Theme

_SCALE_NATS = FULL_SCALE["surprisal"]
_WIDEST, _NARROWEST = 12.0, 1.0


class SurprisalPlot(QWidget):
    """Bars of one message's tokens, with a scroll bar when they do not fit; the wheel zooms with Ctrl.

    Args:
        transcript: Where the tokens are.
        focus: Shown as a frame, set by clicks.
        theme: Colours and fonts.
    """

    def __init__(
        self, transcript: TranscriptModel, focus: FocusModel, theme: Theme, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("surprisalPlot")
        self.bars = _Bars(transcript, focus, theme)
        self.scroll_bar = QScrollBar(Qt.Orientation.Horizontal)
        self.scroll_bar.setAccessibleName("Scroll the surprisal plot")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.bars)
        column.addWidget(self.scroll_bar)
        self.scroll_bar.valueChanged.connect(self.bars.set_first)
        self.bars.attach(self.scroll_bar)

    def set_message(self, message_id: MessageId | None) -> None:
        """Show another message's tokens."""
        self.bars.set_message(message_id)

    @property
    def message_id(self) -> MessageId | None:
        """Whose tokens are shown."""
        return self.bars.message_id


class _Bars(QWidget):
    """The bars themselves; only those in sight are painted."""

    def __init__(self, transcript: TranscriptModel, focus: FocusModel, theme: Theme) -> None:
        super().__init__()
        self.setObjectName("surprisalBars")
        self.setAccessibleName("Surprisal along the text, in nats")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setMouseTracking(True)
        self.setFixedHeight(24 * GRID)
        self._transcript, self._focus, self._theme = transcript, focus, theme
        self.message_id: MessageId | None = None
        self._first = 0
        self._bar = 6.0
        self._scroll: QScrollBar | None = None
        transcript.tokens_changed.connect(self._tokens_changed)
        focus.current_changed.connect(self._focus_moved)
        theme.changed.connect(self.update)

    def attach(self, scroll: QScrollBar) -> None:
        """Keep this scroll bar in step with what there is to see."""
        self._scroll = scroll
        self._fit(follow=False)

    def set_message(self, message_id: MessageId | None) -> None:
        """Show another message."""
        if message_id != self.message_id:
            self.message_id = message_id
            self._first = 0
            self._fit(follow=False)
            self._focus_moved(self._focus.current)

    def set_first(self, first: int) -> None:
        """Scroll so that this token is the leftmost."""
        self._first = first
        self.update()

    @property
    def tokens(self) -> list[AnyToken]:
        """The tokens that are plotted."""
        if self.message_id is None or self.message_id not in self._transcript:
            return []
        return list(self._transcript.message(self.message_id).track.tokens)

    def token_at(self, x: float) -> int | None:
        """Number of the token whose bar is at ``x`` px."""
        index = self._first + int((x - self._left()) // self._bar)
        return index if x >= self._left() and 0 <= index < self._count() else None

    def x_of(self, index: int) -> float:
        """Left edge of a token's bar, in px."""
        return self._left() + (index - self._first) * self._bar

    # --- input ----------------------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Set the focus."""
        index = self.token_at(event.position().x())
        if index is not None and self.message_id is not None:
            self._focus.set_focus(TokenSpan(self.message_id, index, index + 1))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Preview the token under the pointer."""
        index = self.token_at(event.position().x())
        known = index is not None and self.message_id is not None
        self._focus.set_preview(
            TokenSpan(self.message_id, index, index + 1)  # type: ignore[arg-type, operator]
            if known
            else None
        )

    def leaveEvent(self, event: QEvent) -> None:
        """End the preview."""
        self._focus.set_preview(None)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Left and right move the focus."""
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()))
        if step is None or self.message_id is None or not self._count():
            super().keyPressEvent(event)
            return
        span = self._focus.focus
        here = span.start if span is not None and span.message_id == self.message_id else -step
        index = min(max(here + step, 0), self._count() - 1)
        self._focus.set_focus(TokenSpan(self.message_id, index, index + 1))

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Scroll; with Ctrl, zoom."""
        turns = event.angleDelta().y() or -event.angleDelta().x()
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self._bar = min(max(self._bar * (1.25 if turns > 0 else 0.8), _NARROWEST), _WIDEST)
            self._fit(follow=False)
        elif self._scroll is not None and self._scroll.maximum():
            self._scroll.setValue(self._scroll.value() - round(turns / 40))
        else:
            super().wheelEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """More or fewer bars fit."""
        super().resizeEvent(event)
        self._fit(follow=False)

    def event(self, event: QEvent) -> bool:
        """Name the token under the pointer."""
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            index = self.token_at(event.pos().x())
            QToolTip.showText(event.globalPos(), "" if index is None else self._words(index), self)
            return True
        return super().event(event)

    # --- painting -------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        """Axis, bars in sight, frame of the focus."""
        painter = QPainter(self)
        self._paint_axis(painter)
        surface, text = self._theme.colors.window, self._theme.colors.text
        message_id = self.message_id
        if message_id is None or message_id not in self._transcript:
            return
        track = self._transcript.message(message_id).track
        for index in range(self._first, min(len(track), self._first + self._visible() + 1)):
            value = surprisal(track[index])
            if value is None:
                continue
            tint = sequential(prominence(value, "surprisal"), surface, text)
            height = max(1.0, min(value / _SCALE_NATS, 1.0) * self._room())
            gap = 1 if self._bar >= 3 else 0
            box = QRectF(self.x_of(index), self._base() - height, self._bar - gap, height)
            painter.fillRect(box, tint.underline)
            if value > _SCALE_NATS:
                painter.fillRect(QRectF(box.left(), box.top() - 3, box.width(), 2), self._theme.color("text"))
        self._paint_focus(painter)

    def _paint_axis(self, painter: QPainter) -> None:
        painter.setFont(self._theme.font(CAPTION))
        for value in (0, 4, 8):
            y = round(self._base() - value / _SCALE_NATS * self._room())
            painter.setPen(self._theme.color("border"))
            painter.drawLine(round(self._left()), y, self.width(), y)
            painter.setPen(self._theme.color("muted"))
            label = QRectF(0, y - 8, self._left() - GRID, 16)
            painter.drawText(label, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, str(value))

    def _paint_focus(self, painter: QPainter) -> None:
        for span, pen in (
            (self._focus.preview, QPen(self._theme.color("muted"), 1)),
            (self._focus.focus, QPen(self._theme.color("accent"), 2)),
        ):
            if span is not None and span.message_id == self.message_id:
                painter.setPen(pen)
                painter.setBrush(Qt.BrushStyle.NoBrush)
                left, right = self.x_of(span.start), self.x_of(span.end)
                if right > self._left():
                    painter.drawRect(QRectF(left - 1, 2, right - left + 1, self._base() - 1))

    # --- geometry -------------------------------------------------------------------------------------------

    def sizeHint(self) -> QSize:
        """Wide."""
        return QSize(300, 24 * GRID)

    def _left(self) -> float:
        return 4.0 * GRID

    def _base(self) -> float:
        return self.height() - 2.0 * GRID

    def _room(self) -> float:
        return self._base() - 2.0 * GRID

    def _visible(self) -> int:
        return max(1, int((self.width() - self._left()) // self._bar))

    def _count(self) -> int:
        if self.message_id is None or self.message_id not in self._transcript:
            return 0
        return len(self._transcript.message(self.message_id).track)

    def _fit(self, *, follow: bool) -> None:
        if self._scroll is None:
            return
        at_end = self._scroll.value() == self._scroll.maximum()
        last = max(0, self._count() - self._visible())
        self._scroll.setRange(0, last)
        self._scroll.setPageStep(self._visible())
        self._scroll.setVisible(last > 0)
        if follow and at_end:
            self._scroll.setValue(last)
        self._first = self._scroll.value()
        self.update()

    def _tokens_changed(self, message_id: MessageId, first: int) -> None:
        if message_id == self.message_id:
            self._fit(follow=first > 0)

    def _focus_moved(self, span: TokenSpan | None) -> None:
        if span is not None and span.message_id == self.message_id and self._scroll is not None:
            if span.start < self._first:
                self._scroll.setValue(span.start)
            elif span.end > self._first + self._visible():
                self._scroll.setValue(span.end - self._visible())
        self.update()

    def _words(self, index: int) -> str:
        token = self.tokens[index]
        value = surprisal(token)
        name = f"{index + 1}. {token_name(token)}"
        if value is None:
            return f"{name}: nothing comes before it, so it was not predicted"
        return f"{name}: {value:.2f} nats, probability {math.exp(-value):.2%}"
