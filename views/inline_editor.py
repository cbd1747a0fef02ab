"""A message's text, opened for editing in its place."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QHBoxLayout, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from views.keys import FieldKeys
from views.theme import READING, Theme


class _Field(QPlainTextEdit):
    accepted = Signal()
    cancelled = Signal()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        enter = event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
        if event.key() == Qt.Key.Key_Escape:
            self.cancelled.emit()
        elif enter and event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.accepted.emit()
        else:
            super().keyPressEvent(event)


class InlineEditor(QWidget):
    """Emits ``accepted`` with the new text, or ``cancelled``; grows with its text up to 320 px."""

    accepted = Signal(str)
    cancelled = Signal()
    height_changed = Signal()

    def __init__(self, text: str, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("inlineEditor")
        self._field = _Field(self)
        self._field.setObjectName("editMessageField")
        self._field.setAccessibleName("Text of the message")
        self._field.setFont(theme.font(READING))
        self._field.setStyleSheet(f"font-size: {READING}px")
        self._field.setTabChangesFocus(True)
        FieldKeys(self._field, own=("Esc", "Ctrl+Return", "Ctrl+Enter"))
        self._field.setPlainText(text)
        self._field.moveCursor(self._field.textCursor().MoveOperation.End)
        self._field.accepted.connect(self._accept)
        self._field.cancelled.connect(self.cancelled)
        self._field.textChanged.connect(self.height_changed)
        save = QPushButton("Save as a branch", self)
        save.setObjectName("saveEdit")
        save.setProperty("kind", "primary")
        save.setToolTip("Ctrl+Enter")
        save.clicked.connect(self._accept)
        cancel = QPushButton("Cancel", self)
        cancel.setObjectName("cancelEdit")
        cancel.clicked.connect(self.cancelled)
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        buttons.addWidget(cancel)
        buttons.addWidget(save)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        column.addWidget(self._field)
        column.addLayout(buttons)

    def take_keyboard(self) -> None:
        """Write here. (With a focus proxy Tab would skip what lies before the field in its chain.)"""
        self._field.setFocus()

    def wanted_height(self) -> int:
        """Height that shows the whole text, within limits."""
        lines = self._field.document().size().height()
        text = round(lines * self._field.fontMetrics().lineSpacing()) + 24
        return min(max(text, 56), 320) + 40

    def _accept(self) -> None:
        self.accepted.emit(self._field.toPlainText())
