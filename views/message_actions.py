"""The row under a message: walk its branches, copy, edit, regenerate, continue; and how the reply went."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QGuiApplication, QResizeEvent
from PySide6.QtWidgets import QApplication, QHBoxLayout, QLabel, QSizePolicy, QToolButton, QWidget

from views.intents import ChatIntents
from views.models.format import format_seconds
from views.models.transcript import ShownMessage
from views.theme import CAPTION, Theme, Tone

_WHY_ENDED = {
    "length": "Reached the token limit.",
    "context-full": "The context is full.",
    "cancelled": "Stopped.",
    "stop-string": "Ended at a stop string.",
}


@contextmanager
def keeping_focus(buttons: QWidget) -> Iterator[None]:
    """If the button with the keyboard is hidden meanwhile, the text behind it gets it, not a neighbour."""
    focused = QApplication.focusWidget()
    inside = focused is not None and buttons.isAncestorOf(focused)
    yield
    parent = buttons.parentWidget()
    if inside and focused is not None and parent is not None and not focused.isVisible():
        parent.setFocus()


class ElidedLabel(QLabel):
    """A line of text that ends in dots where there is no room; the tool tip has all of it."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._full = ""
        self.setMinimumWidth(16)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)

    def set_full_text(self, text: str) -> None:
        """Show this text, as far as it fits."""
        self._full = text
        self.setToolTip(text)
        self.setAccessibleName(text)
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        self.setText(self.fontMetrics().elidedText(self._full, Qt.TextElideMode.ElideRight, self.width()))


class MessageActions(QWidget):
    """Buttons for one message at a time; :meth:`show_message` binds it to another."""

    #: The user wants to change the text: message id.
    edit_started = Signal(object)

    def __init__(self, intents: ChatIntents, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._intents = intents
        self._theme = theme
        self._message: ShownMessage | None = None
        self._shown: tuple[object, ...] = ()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        self._previous = self._button("previousBranch", "previous", "Previous branch", lambda: self._step(-1))
        self._branch = QLabel(self)
        self._branch.setFont(theme.mono(CAPTION))
        self._branch.setProperty("tone", "muted")
        self._next = self._button("nextBranch", "next", "Next branch", lambda: self._step(1))
        self._copy = self._button("copyMessage", "copy", "Copy this message", self._copy_text)
        self._edit = self._button(
            "editMessage", "edit", "Edit; the old text stays as a branch", self._start_edit
        )
        self._regenerate = self._button(
            "regenerate", "regenerate", "Write another reply (Ctrl+R)", self._emit_regenerate
        )
        self._continue = self._button("continueReply", "continue", "Continue this reply", self._emit_continue)
        self._stop = self._button("stopReply", "stop", "Stop (Esc)", intents.stop_requested.emit)
        self._note = ElidedLabel(self)
        self._note.setFont(theme.font(CAPTION))
        for widget in (self._previous, self._branch, self._next, self._copy, self._edit):
            row.addWidget(widget)
        for widget in (self._regenerate, self._continue, self._stop):
            row.addWidget(widget)
        row.addSpacing(8)
        row.addWidget(self._note, 1)

    @property
    def message(self) -> ShownMessage | None:
        """The message that the buttons act on."""
        return self._message

    def show_message(self, message: ShownMessage, *, busy: bool = False) -> None:
        """Act on this message, as it is now; nothing can be changed while a reply is written (``busy``)."""
        shown = (
            busy,
            len(message.marks),
            id(message), message.id, message.state, message.branch_index, message.branch_count,
            message.reason, message.problem, message.stats,
        )  # fmt: skip
        if shown == self._shown:
            return
        self._message, self._shown = message, shown
        with keeping_focus(self):
            self._show_buttons(message, busy)
        text, tone = _note(message)
        self._note.set_full_text(text)
        self._note.setProperty("tone", tone)
        self._note.style().unpolish(self._note)
        self._note.style().polish(self._note)
        who = "Your message" if message.role == "user" else "Reply"
        self.setAccessibleName(f"{who}: {message.text[:2000]}")
        self.setAccessibleDescription("; ".join(mark.text for mark in message.marks))

    def _show_buttons(self, message: ShownMessage, busy: bool) -> None:
        reply, streaming = message.role == "assistant", message.state == "streaming"
        branched = message.branch_count > 1 and not streaming
        for widget in (self._previous, self._branch, self._next):
            widget.setVisible(branched)
        self._branch.setText(f"{message.branch_index + 1}/{message.branch_count}")
        self._branch.setAccessibleName(f"Branch {message.branch_index + 1} of {message.branch_count}")
        self._previous.setEnabled(not busy and message.branch_index > 0)
        self._next.setEnabled(not busy and message.branch_index + 1 < message.branch_count)
        for widget in (self._edit, self._regenerate, self._continue):
            widget.setEnabled(not busy)
        self._copy.setVisible(not streaming)
        self._edit.setVisible(not streaming)
        self._regenerate.setVisible(reply and not streaming)
        self._continue.setVisible(reply and not streaming)
        self._stop.setVisible(streaming)

    def _button(self, name: str, icon: str, words: str, slot: Callable[[], object]) -> QToolButton:
        button = QToolButton(self)
        button.setObjectName(name)
        button.setToolTip(words)
        button.setAccessibleName(words)
        button.setIconSize(QSize(16, 16))
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._theme.set_icon(button, icon, "muted")
        button.clicked.connect(slot)
        return button

    def _step(self, delta: int) -> None:
        if self._message is not None:
            self._intents.branch_step_requested.emit(self._message.id, delta)

    def _copy_text(self) -> None:
        if self._message is not None:
            QGuiApplication.clipboard().setText(self._message.text)
            self._intents.told.emit("Copied.")

    def _start_edit(self) -> None:
        if self._message is not None:
            self.edit_started.emit(self._message.id)

    def _emit_regenerate(self) -> None:
        if self._message is not None:
            self._intents.regenerate_requested.emit(self._message.id)

    def _emit_continue(self) -> None:
        if self._message is not None:
            self._intents.continue_requested.emit(self._message.id)


def _note(message: ShownMessage) -> tuple[str, Tone]:
    """What stands beside the buttons, and in which tone."""
    if message.state == "streaming":
        return "", "faint"
    if message.problem:
        return message.problem, "danger" if message.state == "failed" else "warning"
    if message.state == "interrupted":
        return "The app closed while this was being written. Continue picks it up.", "warning"
    parts = [_WHY_ENDED[message.reason]] if message.reason in _WHY_ENDED else []
    if message.stats is not None and message.stats.new_tokens:
        parts.append(f"{message.stats.new_tokens:,} tokens")
        if message.stats.tokens_per_second:
            parts.append(f"{message.stats.tokens_per_second:.0f} tok/s")
        if message.stats.seconds_to_first:
            parts.append(f"first after {format_seconds(message.stats.seconds_to_first)}")
    return "  ·  ".join(parts), "warning" if message.reason in ("length", "context-full") else "faint"
