"""Small parts of the library panel: the embedder of a new library, and the way back to a deleted one."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QWidget

from views.document_intents import DocumentIntents
from views.models.library import LibraryModel
from views.panel_parts import Ink
from views.theme import CAPTION, GRID, Theme

#: How long a deletion can be undone.
UNDO_MS = 20_000


def embedder_words(embedder: str) -> str:
    """What an embedder is called."""
    return "all-MiniLM-L6-v2 (built in)" if embedder == "builtin" else Path(embedder).name


class EmbedderRow(QWidget):
    """Says what a new library will be searched by meaning with, and lets the user choose another one."""

    def __init__(self, model: LibraryModel, intents: DocumentIntents, theme: Theme) -> None:
        super().__init__()
        self._model = model
        self._words = Ink("", theme, tone="muted", size=CAPTION, wrap=True)
        self._words.setObjectName("nextEmbedder")
        self.choose = QPushButton("Other…")
        self.choose.setObjectName("chooseEmbedder")
        self.choose.setAccessibleName("Choose another embedder for the new library")
        self.choose.setToolTip(
            "The folder of any sentence-transformers model; the library remembers it, and can't change it"
        )
        self.choose.setProperty("kind", "quiet")
        self.choose.clicked.connect(intents.choose_embedder_requested)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(GRID)
        row.addWidget(self._words, 1)
        row.addWidget(self.choose, 0, Qt.AlignmentFlag.AlignTop)
        model.changed.connect(self._show)
        self._show()
        self.hide()

    def _show(self) -> None:
        self._words.setText(f"By meaning with {embedder_words(self._model.next_embedder)}")


class DeletedLibraryBar(QFrame):
    """Offers to bring back the library that was deleted, for a while."""

    def __init__(self, model: LibraryModel, intents: DocumentIntents, theme: Theme) -> None:
        super().__init__()
        self.setObjectName("deletedLibraryBar")
        self._model = model
        self._words = Ink("", theme, size=CAPTION)
        undo = QPushButton("Undo")
        undo.setObjectName("undoDeleteLibrary")
        undo.setAccessibleName("Bring the library back")
        undo.setProperty("kind", "link")
        undo.clicked.connect(intents.undo_delete_requested)
        row = QHBoxLayout(self)
        row.setContentsMargins(2 * GRID, GRID, GRID, GRID)
        row.addWidget(self._words, 1)
        row.addWidget(undo)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(UNDO_MS)
        self._timer.timeout.connect(intents.delete_settled)
        model.changed.connect(self._show)
        self._show()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _show(self) -> None:
        name = self._model.deleted
        if name and self.isHidden():
            self._timer.start()
        elif not name:
            self._timer.stop()
        self.setVisible(bool(name))
        self._fit()

    def _fit(self) -> None:
        words = f"Deleted “{self._model.deleted}”"
        metrics = self._words.fontMetrics()
        self._words.setToolTip(self._model.deleted)
        self._words.setText(
            metrics.elidedText(words, Qt.TextElideMode.ElideRight, max(self._words.width(), 80))
        )
