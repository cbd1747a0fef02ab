"""The report of a session that ended unexpectedly: to be read, copied, saved or deleted."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QHBoxLayout, QPlainTextEdit, QPushButton, QWidget

from views.panel_parts import note
from views.sheet import Sheet
from views.theme import CAPTION, GRID, Theme

_PROMISE = (
    "It was made on this machine and is never sent. It holds versions, places in the program and what the"
    " program did; no word of your conversations or documents."
)


class CrashView(Sheet):
    """The report's text, exactly as it is copied or saved.

    Args:
        theme: Colours and fonts.
        parent: The window that it opens over.

    Signals:
        save_requested: The user wants to keep a copy at a place of choice.
        delete_requested: The user wants it gone.
    """

    save_requested = Signal()
    delete_requested = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(
            "Report of the last session", theme, width=190 * GRID, height=130 * GRID, parent=parent
        )
        self.setObjectName("crashView")
        self.text = QPlainTextEdit()
        self.text.setObjectName("crashReport")
        self.text.setAccessibleName("Report of the last session")
        self.text.setReadOnly(True)
        self.text.setFont(theme.mono(CAPTION))
        self.copy = QPushButton("Copy")
        self.copy.setObjectName("copyCrashReport")
        save = QPushButton("Save as…")
        save.setObjectName("saveCrashReport")
        delete = QPushButton("Delete")
        delete.setObjectName("deleteCrashReport")
        delete.setProperty("kind", "quiet")
        self.column.addWidget(note(_PROMISE, theme))
        self.column.addWidget(self.text, 1)
        buttons = QHBoxLayout()
        buttons.addWidget(self.copy)
        buttons.addWidget(save)
        buttons.addStretch(1)
        buttons.addWidget(delete)
        self.column.addLayout(buttons)
        self.copy.clicked.connect(self._copy)
        save.clicked.connect(self.save_requested)
        delete.clicked.connect(self.delete_requested)

    def first_focus(self) -> QWidget:
        """The text."""
        return self.text

    def show_report(self, text: str) -> None:
        """Show a report."""
        self.text.setPlainText(text)
        self.open_sheet()

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self.text.toPlainText())
