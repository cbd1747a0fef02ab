"""Raw mode: the exact text that the model reads, to be edited and continued from its end."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtGui import QHideEvent, QKeyEvent, QShowEvent, QTextCharFormat, QTextCursor
from PySide6.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QTextEdit,
    QVBoxLayout,
    QWidget,
)

from views.healing_view import HealingView
from views.intents import ChatIntents
from views.keys import FieldKeys
from views.models.healing import HealingModel
from views.models.steering import RAW
from views.models.text_range import TextRange, TextTint
from views.models.text_units import to_characters, to_units
from views.paint import diverging
from views.theme import BODY, Theme


class RawPrompt(QWidget):
    """An editor for the template's text; what the model writes is appended to it.

    Args:
        intents: Told of the text, of what is selected in it, and of what is to be done.
        healing: Whether the end of the text is healed, and how.
        theme: Colours and fonts.
    """

    def __init__(
        self, intents: ChatIntents, healing: HealingModel, theme: Theme, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("rawPrompt")
        self._intents, self._theme = intents, theme
        self._tints: tuple[TextTint, ...] = ()
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
        self.editor.selectionChanged.connect(self._selected)
        self.heal = QCheckBox("Heal the last token", self)
        self.heal.setObjectName("tokenHealing")
        self.heal.setToolTip(
            "A text that ends inside of a token sets the model on a strange path. Cuts back to where the "
            "tokens fit; the reply has to begin with what was cut back."
        )
        self.heal.setChecked(healing.on)
        self.heal.toggled.connect(healing.switch)
        healing.switched.connect(self._show_healing)
        theme.changed.connect(self._paint_tints)
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
        tools.addWidget(self.heal)
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
        column.addWidget(HealingView(healing, theme, self))
        column.addLayout(tools)
        self.set_writing(False)

    def text(self) -> str:
        """The text as it stands."""
        return self.editor.toPlainText()

    def set_tints(self, tints: Sequence[TextTint]) -> None:
        """Mark what is turned down or up."""
        if tuple(tints) != self._tints:
            self._tints = tuple(tints)
            self._paint_tints()

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

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._intents.raw_edited.emit(self.text())

    def hideEvent(self, event: QHideEvent) -> None:
        self._intents.raw_edited.emit(None)
        super().hideEvent(event)

    def _changed(self) -> None:
        self._send.setEnabled(bool(self.text()))
        self._count.setText("")
        if self.isVisible():
            self._intents.raw_edited.emit(self.text())

    def _selected(self) -> None:
        cursor, text = self.editor.textCursor(), self.text()
        if cursor.hasSelection():
            start, end = to_characters(text, cursor.selectionStart(), cursor.selectionEnd())
            self._intents.text_selected.emit(TextRange(RAW, start, end))

    def _show_healing(self, on: bool) -> None:
        with QSignalBlocker(self.heal):
            self.heal.setChecked(on)

    def _paint_tints(self) -> None:
        colors, text, found = self._theme.colors, self.text(), []
        for tint in self._tints:
            color = diverging(tint.strength, colors.surface, colors.text)
            mark = QTextEdit.ExtraSelection()
            look = QTextCharFormat()
            look.setBackground(color.background)
            look.setUnderlineStyle(QTextCharFormat.UnderlineStyle.DashUnderline)
            look.setUnderlineColor(color.underline)
            start, end = to_units(text, tint.start, tint.end)
            cursor = QTextCursor(self.editor.document())
            cursor.setPosition(start)
            cursor.setPosition(end, QTextCursor.MoveMode.KeepAnchor)
            mark.cursor, mark.format = cursor, look
            found.append(mark)
        self.editor.setExtraSelections(found)


class _Editor(QPlainTextEdit):
    def keyPressEvent(self, event: QKeyEvent) -> None:
        enter = event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
        panel = self.parentWidget()
        if enter and event.modifiers() & Qt.KeyboardModifier.ControlModifier and isinstance(panel, RawPrompt):
            panel.send()
        else:
            super().keyPressEvent(event)
