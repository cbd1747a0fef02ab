"""The system prompt: folded to one line, opened to be edited, with presets.

The fold button, :attr:`SystemPrompt.fold`, is placed by the owner; the widget itself is what it opens.
"""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QSize, Qt, QTimer, Signal
from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from views.intents import ChatIntents
from views.keys import FieldKeys
from views.models.steering import SYSTEM
from views.models.text_range import TextRange
from views.theme import BODY, Theme

#: Presets that are always there; the user's own come after them.
BUILTIN_PROMPTS: dict[str, str] = {
    "None": "",
    "Brief": "Answer in one or two sentences. If you are not sure, say so.",
    "Explain step by step": "Explain your answer step by step, in plain words, and name your assumptions.",
    "Proofreader": "Correct spelling and grammar in the user's text. Return only the corrected text.",
    "Translator to English": "Translate the user's text into English. Return only the translation.",
    "Programmer": "You are an experienced programmer. Give short, working code, then explain it briefly.",
}


class SystemPrompt(QWidget):
    """Emits ``system_prompt_changed`` of the intents when the text was changed by the user."""

    #: The user saved the text under a name: name, text.
    preset_saved = Signal(str, str)
    #: The user removed a preset of their own: name.
    preset_deleted = Signal(str)

    def __init__(self, intents: ChatIntents, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("systemPrompt")
        self._intents = intents
        self._theme = theme
        self._presets = dict(BUILTIN_PROMPTS)
        self._told = ""
        self._room = 160
        self.fold = QToolButton()
        self.fold.setObjectName("systemPromptFold")
        self.fold.setCheckable(True)
        self.fold.setProperty("kind", "fold")
        self.fold.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.fold.setIconSize(QSize(12, 12))
        self.fold.setAccessibleName("System prompt")
        self.fold.toggled.connect(self._open)
        self.editor = QPlainTextEdit(self)
        self.editor.setObjectName("systemPromptEditor")
        self.editor.setAccessibleName("Text of the system prompt")
        self.editor.setPlaceholderText("What the model should know and how it should answer")
        self.editor.setTabChangesFocus(True)
        FieldKeys(self.editor)
        self.editor.setFixedHeight(96)
        self.editor.textChanged.connect(self._edited)
        self.editor.selectionChanged.connect(self._selected)
        self.presets = QComboBox(self)
        self.presets.setObjectName("systemPromptPresets")
        self.presets.setAccessibleName("Presets of the system prompt")
        self.presets.activated.connect(self._choose)
        self._save = QPushButton("Save as preset…", self)
        self._save.setObjectName("saveSystemPromptPreset")
        self._save.clicked.connect(self._save_preset)
        self._name = QLineEdit(self)
        self._name.setObjectName("systemPromptName")
        self._name.setAccessibleName("Name of the new preset")
        self._name.setPlaceholderText("Name of the preset")
        self._name.returnPressed.connect(self._save_preset)
        self._name.textChanged.connect(self._show_preset)
        self._name.hide()
        self._delete = QPushButton("Remove preset", self)
        self._delete.setObjectName("deleteSystemPromptPreset")
        self._delete.setProperty("kind", "quiet")
        self._delete.clicked.connect(self._delete_preset)
        tools = QHBoxLayout()
        tools.setSpacing(8)
        tools.addWidget(self.presets)
        tools.addWidget(self._name)
        tools.addWidget(self._save)
        tools.addWidget(self._delete)
        tools.addStretch(1)
        body = QVBoxLayout(self)
        body.setContentsMargins(0, 0, 0, 8)
        body.setSpacing(8)
        body.addWidget(self.editor)
        body.addLayout(tools)
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(400)
        self._pause.timeout.connect(self.flush)
        self._fill()
        self._open(False)

    def text(self) -> str:
        """The system prompt as it stands."""
        return self.editor.toPlainText()

    def set_text(self, text: str) -> None:
        """Show another conversation's system prompt; nothing is emitted."""
        self._told = text
        if text != self.text():
            self.editor.setPlainText(text)
        self._pause.stop()
        self._show_preset()

    def set_presets(self, presets: Mapping[str, str]) -> None:
        """The user's own presets, by name; built-in ones stay."""
        self._presets = BUILTIN_PROMPTS | dict(presets)
        self._fill()

    def flush(self) -> None:
        """Tell a change now instead of after the pause."""
        self._pause.stop()
        if self.text() != self._told:
            self._told = self.text()
            self._intents.system_prompt_changed.emit(self._told)

    def _open(self, opened: bool) -> None:
        self.setVisible(opened)
        self._theme.set_icon(self.fold, "collapse" if opened else "expand", "muted")
        self._title()
        if opened:
            self.editor.setFocus()
        else:
            self._name.hide()
            self.flush()

    def _title(self) -> None:
        text = " ".join(self.text().split())
        folded = bool(text) and not self.fold.isChecked()
        short = QFontMetrics(self._theme.font(BODY)).elidedText(text, Qt.TextElideMode.ElideRight, self._room)
        self.fold.setText(f" System prompt:  {short}" if folded else " System prompt")
        self.fold.setToolTip("" if not folded else self.text())

    def _edited(self) -> None:
        self._pause.start()
        self._show_preset()
        self._title()

    def _selected(self) -> None:
        """Tell what is selected, counted in characters (Qt counts in UTF-16)."""
        cursor, text = self.editor.textCursor(), self.text()
        units = text.encode("utf-16-le")
        start, end = (
            len(units[: 2 * place].decode("utf-16-le", errors="ignore"))
            for place in (cursor.selectionStart(), cursor.selectionEnd())
        )
        if end > start:
            self.flush()
            self._intents.text_selected.emit(TextRange(SYSTEM, start, end))

    def _fill(self) -> None:
        self.presets.clear()
        self.presets.addItem("Presets")
        for name in self._presets:
            self.presets.addItem(name)
        self._show_preset()

    def _show_preset(self) -> None:
        text = self.text()
        name = next((known for known, words in self._presets.items() if words == text), "")
        self.presets.setCurrentIndex(max(0, self.presets.findText(name)) if name else 0)
        self._delete.setVisible(bool(name) and name not in BUILTIN_PROMPTS)
        new, naming = self._name.text().strip(), not self._name.isHidden()
        named = bool(new) and new not in BUILTIN_PROMPTS
        self._save.setText("Save" if naming else "Save as preset…")
        self._save.setEnabled(bool(text.strip()) and (named if naming else not name))

    def _choose(self, row: int) -> None:
        if row > 0:
            self.editor.setPlainText(self._presets[self.presets.itemText(row)])
            self.flush()

    def _save_preset(self) -> None:
        """Ask for a name first, then save under it."""
        if self._name.isHidden():
            self._name.clear()
            self._name.show()
            self._name.setFocus()
            self._show_preset()
        elif self._save.isEnabled():
            name = self._name.text().strip()
            self._presets[name] = self.text()
            self._name.hide()
            self._fill()
            self.editor.setFocus()
            self.preset_saved.emit(name, self.text())

    def _delete_preset(self) -> None:
        name = self.presets.currentText()
        if name in self._presets and name not in BUILTIN_PROMPTS:
            del self._presets[name]
            self._fill()
            self.preset_deleted.emit(name)

    def set_room(self, width: int) -> None:
        """How wide the beginning of the text beside the fold button may be."""
        if width != self._room:
            self._room = width
            self._title()
