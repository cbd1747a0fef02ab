"""Raw mode: the exact text that the model reads, to be edited and continued from its end."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeyEvent, QTextCursor
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from views.intents import ChatIntents
from views.keys import FieldKeys
from views.theme import BODY, Theme


class RawPrompt(QWidget):
    """An editor for the template's text; what the model writes is appended to it."""

    def __init__(self, intents: ChatIntents, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("rawPrompt")
        self._intents = intents
        self._writing = False
        self._note = QLabel("The exact text that the model reads. Edit it and continue from its end.", self)
        self._note.setProperty("tone", "muted")
        self._note.setWordWrap(True)
        self._count = QLabel(self)
        self._count.setObjectName("rawTokenCount")
        self._count.setProperty("tone", "faint")
        self._count.setFont(theme.mono(BODY))
        self.editor = _Editor(self)
        self.editor.setObjectName("rawPromptEditor")
        self.editor.setAccessibleName("Raw text of the prompt")
        FieldKeys(self.editor, own=("Ctrl+Return", "Ctrl+Enter"))
        self.editor.setFont(theme.mono(BODY))
        self.editor.document().setDocumentMargin(0)
        self.editor.setPlaceholderText("Write a text that the model should continue")
        self.editor.textChanged.connect(self._changed)
        self._render = QPushButton("Take from the chat", self)
        self._render.setObjectName("renderRaw")
        self._render.setToolTip("Replace the text by what the chat template makes of the conversation")
        self._render.clicked.connect(intents.raw_text_wanted)
        self._send = QPushButton("Continue", self)
        self._send.setObjectName("sendRaw")
        self._send.setProperty("kind", "primary")
        self._send.setToolTip("Let the model go on writing (Ctrl+Enter)")
        self._send.clicked.connect(self.send)
        self._stop = QPushButton("Stop", self)
        self._stop.setObjectName("stopRaw")
        self._stop.clicked.connect(intents.stop_requested)
        tools = QHBoxLayout()
        tools.setContentsMargins(16, 8, 16, 12)
        tools.setSpacing(8)
        tools.addWidget(self._count)
        tools.addStretch(1)
        for button in (self._render, self._send, self._stop):
            tools.addWidget(button)
        top = QHBoxLayout()
        top.setContentsMargins(16, 0, 16, 8)
        top.addWidget(self._note)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(top)
        column.addWidget(self.editor, 1)
        column.addLayout(tools)
        self.set_writing(False)

    def text(self) -> str:
        """The text as it stands."""
        return self.editor.toPlainText()

    def set_rendered(self, text: str, tokens: int) -> None:
        """Show what the chat template made, and how many tokens that is."""
        self.editor.setPlainText(text)
        self.editor.moveCursor(QTextCursor.MoveOperation.End)
        self._count.setText(f"{tokens:,} tokens")

    def append_text(self, text: str) -> None:
        """What the model wrote since the last call; the view follows only from the end."""
        bar = self.editor.verticalScrollBar()
        at_end = bar.value() >= bar.maximum() - 4
        cursor = QTextCursor(self.editor.document())
        cursor.movePosition(QTextCursor.MoveOperation.End)
        cursor.insertText(text)
        if at_end:
            bar.setValue(bar.maximum())

    def set_writing(self, writing: bool) -> None:
        """The model is writing: the text cannot be edited meanwhile."""
        self._writing = writing
        self.editor.setReadOnly(writing)
        self._stop.setVisible(writing)
        self._send.setVisible(not writing)
        self._render.setEnabled(not writing)
        self._changed()

    def send(self) -> None:
        """Let the model continue the text."""
        if not self._writing and self.text():
            self._intents.send_raw_requested.emit(self.text())

    def _changed(self) -> None:
        self._send.setEnabled(bool(self.text()))
        self._count.setText("")


class _Editor(QPlainTextEdit):
    def keyPressEvent(self, event: QKeyEvent) -> None:
        enter = event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
        panel = self.parentWidget()
        if enter and event.modifiers() & Qt.KeyboardModifier.ControlModifier and isinstance(panel, RawPrompt):
            panel.send()
        else:
            super().keyPressEvent(event)
