"""Where documents are dropped, and two buttons for those who would rather choose."""

from __future__ import annotations

from PySide6.QtCore import QMimeData, Qt
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDropEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from views.document_intents import DocumentIntents
from views.panel_parts import Ink
from views.theme import CAPTION, GRID, Theme


class DropArea(QFrame):
    """Takes files and folders."""

    def __init__(self, intents: DocumentIntents, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("dropArea")
        self.setAccessibleName("Drop documents here")
        self.setAcceptDrops(True)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.setProperty("active", False)
        self._intents = intents
        words = Ink("Drop files or folders here", theme)
        kinds = Ink(
            "PDF, Office, EPUB, HTML, text, code",
            theme,
            tone="muted",
            size=CAPTION,
            wrap=True,
        )
        for label in (words, kinds):
            label.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self.files = QPushButton("Files…")
        self.files.setObjectName("addFiles")
        self.files.setAccessibleName("Add files")
        self.files.clicked.connect(intents.choose_files_requested)
        self.folder = QPushButton("Folder…")
        self.folder.setObjectName("addFolder")
        self.folder.setAccessibleName("Add a folder")
        self.folder.clicked.connect(intents.choose_folder_requested)
        buttons = QHBoxLayout()
        buttons.setSpacing(2 * GRID)
        buttons.addStretch(1)
        buttons.addWidget(self.files)
        buttons.addWidget(self.folder)
        buttons.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(2 * GRID, 3 * GRID, 2 * GRID, 3 * GRID)
        column.setSpacing(GRID)
        column.addWidget(words)
        column.addWidget(kinds)
        column.addSpacing(GRID)
        column.addLayout(buttons)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if _paths(event.mimeData()):
            event.acceptProposedAction()
            self._set_active(True)

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self._set_active(False)

    def dropEvent(self, event: QDropEvent) -> None:
        self._set_active(False)
        paths = _paths(event.mimeData())
        if paths:
            event.acceptProposedAction()
            self._intents.add_requested.emit(paths)

    def _set_active(self, active: bool) -> None:
        self.setProperty("active", active)
        self.style().unpolish(self)
        self.style().polish(self)


def _paths(data: QMimeData) -> list[str]:
    return [url.toLocalFile() for url in data.urls() if url.isLocalFile()]
