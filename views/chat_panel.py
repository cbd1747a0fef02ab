"""The chat: system prompt, the conversation as text, tokens or raw prompt, and the input."""

from __future__ import annotations

from typing import Literal, get_args

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QFontMetrics, QResizeEvent, QShowEvent
from PySide6.QtWidgets import (
    QBoxLayout,
    QComboBox,
    QHBoxLayout,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from views.attachment_bar import AttachmentBar
from views.color_legend import ColorLegend
from views.composer import Composer
from views.empty_chat import EmptyChat
from views.intents import ChatIntents
from views.legend import Legend, LegendItem
from views.markdown import warm_up
from views.models.attachments import AttachmentsModel
from views.models.focus import FocusModel, TokenSpan
from views.models.healing import HealingModel
from views.models.tokens import Measure
from views.models.transcript import TranscriptModel
from views.notice_bar import NoticeBar
from views.raw_prompt import RawPrompt
from views.reading_area import ReadingArea
from views.segments import Segments
from views.system_prompt import SystemPrompt
from views.theme import CAPTION, GRID, Theme
from views.token_view import TokenView
from views.transcript import TranscriptView

ChatView = Literal["text", "tokens", "raw"]
#: Below this width the legend has a line of its own.
_NARROW = 640


class ChatPanel(QWidget):
    """Puts the parts of the chat together; what the user means comes out of :attr:`intents`."""

    def __init__(
        self,
        transcript: TranscriptModel,
        focus: FocusModel,
        intents: ChatIntents,
        theme: Theme,
        parent: QWidget | None = None,
        *,
        healing: HealingModel | None = None,
        attachments: AttachmentsModel | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName("chatPanel")
        self.setMinimumWidth(376)  # with both docks the window is then 900 wide
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.model, self.focus_model, self.intents, self._theme = transcript, focus, intents, theme
        self.system = SystemPrompt(intents, theme, self)
        self.empty = EmptyChat(theme, self)
        self.text_view = TranscriptView(transcript, focus, intents, theme)
        self.token_view = TokenView(transcript, focus, intents, theme)
        self.raw = RawPrompt(intents, healing or HealingModel(), theme, self)
        self.composer = Composer(intents, theme, self)
        self.attachments = AttachmentBar(attachments or AttachmentsModel(), intents, theme, self)
        self.notice = NoticeBar(theme, self)
        self._view: ChatView = "text"
        self._stack = QStackedWidget(self)
        for page in (self.empty, self.text_view, self.token_view, self.raw):
            self._stack.addWidget(page)
        self._build()
        self.empty.example_chosen.connect(self._take_example)
        for signal in (transcript.was_reset, transcript.message_appended, transcript.tail_replaced):
            signal.connect(self._show_page)
        for signal in (transcript.was_reset, transcript.tail_replaced):
            signal.connect(self._drop_lost_focus)
        transcript.reply_finished.connect(self._show_guesses)
        self._warm_up = QTimer(self)
        self._warm_up.setSingleShot(True)
        self._warm_up.setInterval(300)
        self._warm_up.timeout.connect(warm_up)
        self._show_page()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._warm_up.start()

    @property
    def view(self) -> ChatView:
        """Text, tokens or raw."""
        return self._view

    @property
    def tab_stops(self) -> list[QWidget]:
        """What the Tab key walks, from top to bottom."""
        system = [self.system.fold, self.system.editor, self.system.presets]
        reading = [self._measure, *self._views.buttons, self.text_view, self.token_view]
        return [*system, *reading, *self.composer.tab_stops]

    def show_view(self, view: ChatView) -> None:
        """Show the conversation as text, as tokens, or the raw prompt, at the same place."""
        if view == self._view:
            return
        old = self._reading()
        self._view = view
        place = old.place() if old is not None else None
        self._views.choose(view)
        self._show_page()
        new = self._reading()
        if old is not None and new is not None:
            if old.following or place is None:
                new.scroll_to_end()
            else:
                new.go_to(*place)
        if view == "raw":
            self.intents.raw_text_wanted.emit()
            self.raw.editor.setFocus()
        elif new is not None and len(self.model):
            new.setFocus()

    def toggle_tokens(self) -> None:
        """From text to tokens, and back."""
        self.show_view("text" if self._view == "tokens" else "tokens")

    def set_measure(self, measure: Measure) -> None:
        """Colour the tokens by probability, entropy or surprisal."""
        self.token_view.set_measure(measure)
        self._legend.set_measure(measure)
        self._measure.setCurrentText(measure)

    def selection(self) -> TokenSpan | None:
        """What "explain" would explain: the selected text, else the focused tokens."""
        selected = self.text_view.selected_span() if self._view == "text" else None
        return selected or self.focus_model.focus

    def explain_selection(self) -> None:
        """Ask for an explanation of the selection, if there is one."""
        span = self.selection()
        if span is None:
            self.intents.told.emit("Select a part of a reply first.")
        else:
            self.intents.explain_requested.emit(span)

    def scroll_to_end(self) -> None:
        """Go to the end and follow the reply."""
        reading = self._reading()
        if reading is not None:
            reading.scroll_to_end()

    def take_keyboard(self) -> None:
        """Put the keyboard into the text that is read."""
        reading = self._reading()
        (reading or self.raw.editor).setFocus()

    def set_busy(self, busy: bool) -> None:
        """A reply is being written."""
        self.composer.set_busy(busy)
        self.raw.set_writing(busy and self._view == "raw")

    def _reading(self) -> ReadingArea | None:
        if self._view == "raw":
            return None
        return self.text_view if self._view == "text" else self.token_view

    def _show_page(self, *_: object) -> None:
        if self._view == "raw":
            page: QWidget = self.raw
        elif not len(self.model):
            page = self.empty
        else:
            page = self.text_view if self._view == "text" else self.token_view
        # The raw prompt, the widest page, sets no limit while it is not shown.
        across = QSizePolicy.Policy.Preferred if page is self.raw else QSizePolicy.Policy.Ignored
        self.raw.setSizePolicy(across, QSizePolicy.Policy.Preferred)
        self._stack.setCurrentWidget(page)
        tokens = self._view == "tokens"
        self._tools.setVisible(tokens)
        self._show_guesses()
        raw = self._view == "raw"
        self.system.fold.setVisible(not raw)
        self.system.setVisible(not raw and self.system.fold.isChecked())
        self._bottom.setVisible(self._view != "raw")

    def _show_guesses(self, *_: object) -> None:
        self._guesses.setVisible(any(message.track.guessed for message in self.model.messages))

    def _drop_lost_focus(self, *_: object) -> None:
        """A focus on tokens that are gone means nothing."""
        for span in (self.focus_model.preview, self.focus_model.focus):
            if span is not None and len(self.model.tokens_of(span)) < span.end - span.start:
                self.focus_model.clear()

    def _take_example(self, text: str) -> None:
        self.composer.set_text(text)
        self.composer.field.setFocus()

    def _choose_view(self, name: str) -> None:
        for view in get_args(ChatView):
            if view == name:
                self.show_view(view)

    def _choose_measure(self, name: str) -> None:
        for measure in get_args(Measure):
            if measure == name:
                self.set_measure(measure)

    def _build(self) -> None:
        self._views = Segments(self._theme, self)
        self._views.setAccessibleName("Show as")
        self._views.add("text", "Text", "The conversation as text (Ctrl+T)")
        self._views.add("tokens", "Tokens", "Every token with its probability (Ctrl+T)")
        self._views.add("raw", "Raw", "The exact text of the prompt (Ctrl+Shift+T)")
        self._views.chosen.connect(self._choose_view)
        self._legend = ColorLegend(self._theme, self)
        self._guesses = Legend((LegendItem("guessed", "corner"),), self._theme, self)
        self._guesses.setObjectName("guessLegend")
        self._guesses.setToolTip("Tokens that were guessed ahead and confirmed together with an earlier one")
        words = QFontMetrics(self._theme.font(CAPTION)).horizontalAdvance("guessed")
        self._guesses.setFixedWidth(words + 6 * GRID)
        self._guesses.hide()
        self._measure = QComboBox(self)
        self._measure.setObjectName("colorMeasure")
        self._measure.setAccessibleName("Colour the tokens by")
        self._measure.setToolTip("Colour the tokens by")
        self._measure.addItems(list(get_args(Measure)))
        self._measure.setCurrentText("surprisal")
        self._measure.currentTextChanged.connect(self._choose_measure)
        bar = QHBoxLayout()
        bar.setContentsMargins(12, 8, 12, 8)
        bar.setSpacing(8)
        bar.addWidget(self.system.fold, 0, Qt.AlignmentFlag.AlignTop)
        bar.addStretch(1)
        self._tools = QWidget(self)
        tools = QHBoxLayout(self._tools)
        tools.setContentsMargins(0, 0, 0, 0)
        tools.setSpacing(8)
        tools.addWidget(self._guesses)
        tools.addWidget(self._legend)
        tools.addWidget(self._measure)
        # A box that changes its direction: moving widgets between layouts leaves stale wrappers behind.
        self._right = QBoxLayout(QBoxLayout.Direction.RightToLeft)
        self._right.setSpacing(8)
        self._right.addWidget(self._views, 0, Qt.AlignmentFlag.AlignRight)
        self._right.addWidget(self._tools, 0, Qt.AlignmentFlag.AlignRight)
        bar.addLayout(self._right)
        self._opened = QHBoxLayout()
        self._opened.addWidget(self.system)
        self._bottom = QWidget(self)
        self._inset = QVBoxLayout(self._bottom)
        self._inset.setSpacing(8)
        self._inset.addWidget(self.notice)
        self._inset.addWidget(self.attachments)
        self._inset.addWidget(self.composer)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(bar)
        column.addLayout(self._opened)
        column.addWidget(self._stack, 1)
        column.addWidget(self._bottom)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        start, width = self.text_view.column_in(self.width())
        left, right = round(start) - 12, round(self.width() - start - width) - 12
        self._inset.setContentsMargins(left, 8, right, 12)
        self._opened.setContentsMargins(left, 0, right, 0)
        self.system.set_room(max(60, self.width() - 620))
        narrow = self.width() < _NARROW
        direction = QBoxLayout.Direction.TopToBottom if narrow else QBoxLayout.Direction.RightToLeft
        self._right.setDirection(direction)
