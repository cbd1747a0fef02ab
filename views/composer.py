"""Where the next message is written."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import QEvent, QMimeData, QSize, Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDragMoveEvent, QFocusEvent, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from views.intents import ChatIntents
from views.keys import FieldKeys
from views.theme import CAPTION, READING, Theme

SendKey = Literal["enter", "ctrl-enter"]
_MOST_LINES = 9


_WORDS = "Ask, or drop a model or a document anywhere"
_FEW_WORDS = "Ask, or drop a file anywhere"
#: Width from which the whole hint about the keys is shown, px.
_HINT_WIDTH = 420


class Composer(QWidget):
    """The input with its send button, which is a stop button while a reply is written.

    Emits ``send_requested`` of the intents and empties itself; :meth:`restore` puts back what could not be
    sent.

    Signals:
        think_requested: Whether the model is to think before it answers.
    """

    think_requested = Signal(bool)

    def __init__(self, intents: ChatIntents, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._intents = intents
        self._busy = False
        self._box = QFrame(self)
        self._box.setObjectName("composerBox")
        self.field = _Field(theme, self._box)
        self.field.send_pressed.connect(self.send)
        self.field.textChanged.connect(self._changed)
        self.field.focused.connect(self._show_focus)
        attach = self._button("attachButton", "Attach a document or open a model", "attach", theme)
        attach.clicked.connect(intents.attach_requested)
        self.think = QCheckBox("Think first", self._box)
        self.think.setObjectName("thinkFirst")
        self.think.setToolTip(
            "The model's chat template can ask for thinking before the answer, or for none."
        )
        self.think.setFont(theme.font(CAPTION))
        self.think.clicked.connect(self.think_requested)
        self.set_thinking(None)
        self._hint = QLabel(self._box)
        self._hint.setProperty("tone", "faint")
        self._hint.setFont(theme.font(CAPTION))
        self._hint.setMinimumWidth(1)  # a narrow window cuts it
        self.send_button = self._button("sendButton", "Send", "send", theme)
        self.send_button.setProperty("kind", "send")
        theme.set_icon(self.send_button, "send", "on_accent")
        self.send_button.clicked.connect(self.send)
        self.stop_button = self._button("stopButton", "Stop (Esc)", "stop", theme)
        self.stop_button.setProperty("kind", "stop")
        theme.set_icon(self.stop_button, "stop", "on_accent")
        self.stop_button.clicked.connect(intents.stop_requested)
        buttons = QHBoxLayout()
        buttons.setContentsMargins(0, 0, 0, 0)
        buttons.setSpacing(8)
        for widget in (attach, self.think, self._hint):
            buttons.addWidget(widget)
        buttons.addStretch(1)
        buttons.addWidget(self.send_button)
        buttons.addWidget(self.stop_button)
        inner = QVBoxLayout(self._box)
        inner.setContentsMargins(12, 10, 8, 8)
        inner.setSpacing(4)
        inner.addWidget(self.field)
        inner.addLayout(buttons)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self._box)
        #: What the Tab key walks, in order.
        self.tab_stops: list[QWidget] = [self.field, attach, self.think, self.send_button, self.stop_button]
        self.set_send_key("enter")
        self.set_busy(False)
        self._changed()

    @property
    def busy(self) -> bool:
        """Whether a reply is being written."""
        return self._busy

    def text(self) -> str:
        """What is written."""
        return self.field.toPlainText()

    def set_text(self, text: str) -> None:
        """Put another text in, with the cursor at its end."""
        self.field.setPlainText(text)
        self.field.moveCursor(self.field.textCursor().MoveOperation.End)

    def restore(self, text: str) -> None:
        """Put a text back that could not be sent, before what was written since."""
        since = self.text()
        self.set_text(f"{text}\n{since}" if since else text)

    def send(self) -> None:
        """Send what is written, if there is anything and no reply is being written."""
        text = self.text()
        if text.strip() and not self._busy:
            self.field.clear()
            self._intents.send_requested.emit(text)

    def set_busy(self, busy: bool) -> None:
        """A reply is being written: stop takes the place of send."""
        self._busy = busy
        had_focus = self.send_button.hasFocus() or self.stop_button.hasFocus()
        self.send_button.setVisible(not busy)
        self.stop_button.setVisible(busy)
        if had_focus:
            self.field.setFocus()
        self._changed()

    def set_thinking(self, on: bool | None) -> None:
        """How the template's switch for thinking stands; None: it has none, and none is shown."""
        self.think.setVisible(on is not None)
        self.think.setChecked(bool(on))

    def set_send_key(self, key: SendKey) -> None:
        """Send with Enter (Shift+Enter breaks the line) or with Ctrl+Enter (Enter breaks it)."""
        self.field.send_key = key
        self._show_hint()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._show_hint()

    def _show_hint(self) -> None:
        sends, breaks = (
            ("Enter", "Shift+Enter") if self.field.send_key == "enter" else ("Ctrl+Enter", "Enter")
        )
        words = f"{sends} sends"
        self._hint.setText(f"{words}, {breaks} breaks the line" if self.width() >= _HINT_WIDTH else words)

    def _button(self, name: str, words: str, icon: str, theme: Theme) -> QToolButton:
        button = QToolButton(self._box)
        button.setObjectName(name)
        button.setToolTip(words)
        button.setAccessibleName(words)
        button.setIconSize(QSize(16, 16))
        button.setFixedSize(28, 28)
        theme.set_icon(button, icon, "muted")
        return button

    def _changed(self) -> None:
        self.send_button.setEnabled(bool(self.text().strip()) and not self._busy)

    def _show_focus(self, focused: bool) -> None:
        self._box.setProperty("active", "true" if focused else "false")
        self._box.style().unpolish(self._box)
        self._box.style().polish(self._box)


class _Field(QPlainTextEdit):
    """Grows with its text; leaves dropped files to the window."""

    send_pressed = Signal()
    focused = Signal(bool)

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("composer")
        self.setAccessibleName("Message")
        self.setPlaceholderText(_WORDS)
        self.setFont(theme.font(READING))
        self.document().setDocumentMargin(0)
        self.setTabChangesFocus(True)
        FieldKeys(self)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.send_key: SendKey = "enter"
        self.textChanged.connect(self._grow)
        self._grow()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() not in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            super().keyPressEvent(event)
            return
        control = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        shift = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        if control or (self.send_key == "enter" and not shift):
            self.send_pressed.emit()
        else:
            self.insertPlainText("\n")
            self.ensureCursorVisible()

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self.focused.emit(True)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.focused.emit(False)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasUrls():
            event.ignore()
        else:
            super().dragEnterEvent(event)

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:
        if event.mimeData().hasUrls():
            event.ignore()
        else:
            super().dragMoveEvent(event)

    def insertFromMimeData(self, source: QMimeData) -> None:
        if source.hasText():
            self.insertPlainText(source.text())

    def resizeEvent(self, event: object) -> None:
        super().resizeEvent(event)  # type: ignore[arg-type]
        fits = self.fontMetrics().horizontalAdvance(_WORDS) < self.viewport().width() - 8
        self.setPlaceholderText(_WORDS if fits else _FEW_WORDS)
        self._grow()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self._grow()

    def _grow(self) -> None:
        lines = max(1, round(self.document().size().height()))
        height = min(lines, _MOST_LINES) * self.fontMetrics().lineSpacing() + 8
        policy = (
            Qt.ScrollBarPolicy.ScrollBarAsNeeded
            if lines > _MOST_LINES
            else Qt.ScrollBarPolicy.ScrollBarAlwaysOff
        )
        self.setVerticalScrollBarPolicy(policy)
        if height != self.height():
            self.setFixedHeight(height)
