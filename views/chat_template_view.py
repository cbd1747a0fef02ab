"""The chat template of the loaded model: shown, edited, tried on a short chat."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QPlainTextEdit, QPushButton, QWidget

from views.keys import FieldKeys
from views.models.chat_template import ChatTemplateModel
from views.panel_parts import Ink, heading, note
from views.sheet import Sheet
from views.theme import CAPTION, Theme


class ChatTemplateView(Sheet):
    """An editor for the template, and what it makes of a short chat.

    Args:
        model: What is shown.
        theme: Colours and fonts.
        parent: The window that it opens over.

    Signals:
        use_requested: Use this template for the model from now on.
        restore_requested: Use the model's own again.
    """

    use_requested = Signal(str)
    restore_requested = Signal()

    def __init__(self, model: ChatTemplateModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__("Chat template", theme, width=820, height=640, parent=parent)
        self.setObjectName("chatTemplateView")
        self._model = model
        self.editor, self._sample = _text(theme), _text(theme)
        self.editor.setObjectName("chatTemplateEditor")
        self.editor.setAccessibleName("Template, in Jinja")
        FieldKeys(self.editor)
        self._sample.setObjectName("chatTemplateSample")
        self._sample.setAccessibleName("What it makes of a short chat")
        self._sample.setReadOnly(True)
        self._words = Ink("", theme, wrap=True)
        self._words.setObjectName("chatTemplateWords")
        self._use = QPushButton("Use this template")
        self._use.setObjectName("useChatTemplate")
        self._use.setProperty("kind", "primary")
        self._use.clicked.connect(lambda: self.use_requested.emit(self.editor.toPlainText()))
        self._restore = QPushButton("Use the model's own")
        self._restore.setObjectName("restoreChatTemplate")
        self._restore.clicked.connect(self.restore_requested)
        about = "A program in Jinja that turns a chat's messages into the one text that the model reads."
        self.column.addWidget(note(about, theme))
        self.column.addWidget(self.editor, 3)
        self.column.addWidget(self._words)
        self.column.addWidget(heading("A short chat, as the model reads it", theme))
        self.column.addWidget(self._sample, 2)
        row = QHBoxLayout()
        row.addWidget(self._use)
        row.addWidget(self._restore)
        row.addStretch(1)
        self.column.addLayout(row)
        self.editor.textChanged.connect(self._show_buttons)
        model.changed.connect(self._show)
        self._show()

    def first_focus(self) -> QWidget:
        """The editor."""
        return self.editor

    def _show(self) -> None:
        shown = self._model.shown
        if not self._model.refused:  # what was refused stays, to be mended
            self.editor.setPlainText(shown.template if shown is not None else "")
        self._sample.setPlainText(shown.sample if shown is not None else "")
        failed = bool(self._model.refused or (shown is not None and shown.problem))
        self._words.set_tone("danger" if failed else "muted")
        self._words.setText(self._model.words())
        self._words.setVisible(bool(self._model.words()))
        self._show_buttons()

    def _show_buttons(self) -> None:
        shown, text = self._model.shown, self.editor.toPlainText()
        self.editor.setEnabled(shown is not None)
        self._use.setEnabled(shown is not None and bool(text.strip()) and text != shown.template)
        self._restore.setEnabled(shown is not None and (shown.edited or text != shown.template))


def _text(theme: Theme) -> QPlainTextEdit:
    field = QPlainTextEdit()
    field.setFont(theme.mono(CAPTION))
    return field
