"""The questions and their answers."""

from __future__ import annotations

from PySide6.QtCore import QUrl
from PySide6.QtGui import QTextCursor
from PySide6.QtWidgets import QFrame, QTextBrowser, QWidget

from views.answer_document import write_turns
from views.document_intents import DocumentIntents
from views.models.answers import AnswersModel
from views.theme import GRID, Theme


class AnswerView(QTextBrowser):
    """Follows what is written while the reader is at its end; a click on [n] opens that source."""

    def __init__(
        self, model: AnswersModel, intents: DocumentIntents, theme: Theme, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("answerView")
        self.setAccessibleName("Answer")
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setOpenLinks(False)
        self.setUndoRedoEnabled(False)
        self.document().setDocumentMargin(3 * GRID)
        self._model, self._intents, self._theme = model, intents, theme
        self.anchorClicked.connect(self._clicked)
        model.changed.connect(self._write)
        theme.changed.connect(self._write)
        self._count = 0
        self._write()

    def _write(self) -> None:
        bar = self.verticalScrollBar()
        turns = self._model.turns
        following = bar.value() >= bar.maximum() - 2 * GRID or len(turns) != self._count
        place, self._count = bar.value(), len(turns)
        document = self.document()
        self.setUpdatesEnabled(False)
        document.clear()
        write_turns(QTextCursor(document), turns, self._theme)
        self.setUpdatesEnabled(True)
        bar.setValue(bar.maximum() if following else place)

    def _clicked(self, url: QUrl) -> None:
        kind, _, rest = url.toString().partition(":")
        if kind == "source":
            turn, _, number = rest.partition(":")
            self._intents.citation_opened.emit(int(turn), int(number))
        elif kind == "anyway":
            self._intents.answer_anyway_requested.emit()
