"""The question: hits come while it is typed, Enter has it answered."""

from __future__ import annotations

from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QPushButton, QWidget

from views.document_intents import DocumentIntents
from views.models.answers import AnswersModel
from views.models.library import LibraryModel
from views.theme import GRID, Theme


class QuestionBar(QWidget):
    """One line, and a button that asks, or stops what is being written."""

    def __init__(
        self,
        answers: AnswersModel,
        library: LibraryModel,
        intents: DocumentIntents,
        theme: Theme,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._answers, self._library, self._intents = answers, library, intents
        self.field = QLineEdit()
        self.field.setObjectName("questionInput")
        self.field.setAccessibleName("Question")
        self.field.setMinimumHeight(34)
        self.field.textEdited.connect(intents.query_changed)
        self.field.returnPressed.connect(self._ask)
        self.ask = QPushButton("Ask")
        self.ask.setObjectName("askButton")
        self.ask.setProperty("kind", "primary")
        self.ask.setMinimumHeight(24)
        self.ask.clicked.connect(self._ask)
        self.stop = QPushButton("Stop")
        self.stop.setObjectName("stopAnswer")
        self.stop.setMinimumHeight(24)
        self.stop.clicked.connect(intents.stop_requested)
        self.fresh = QPushButton("New question")
        self.fresh.setObjectName("newThread")
        self.fresh.setProperty("kind", "quiet")
        self.fresh.setToolTip("Forget the questions before: the next one stands alone")
        self.fresh.clicked.connect(self._begin_anew)
        row = QHBoxLayout(self)
        row.setContentsMargins(3 * GRID, 3 * GRID, 3 * GRID, 2 * GRID)
        row.setSpacing(2 * GRID)
        row.addWidget(self.field, 1)
        for button in (self.ask, self.stop, self.fresh):
            row.addWidget(button)
        answers.changed.connect(self._show)
        library.changed.connect(self._show)
        library.documents.modelReset.connect(self._show)
        library.documents.dataChanged.connect(self._show)
        library.documents.rowsInserted.connect(self._show)
        self.field.textChanged.connect(self._show)
        self._show()

    def _show(self, *_: object) -> None:
        running, some = self._answers.running, bool(self._answers.turns)
        self.ask.setVisible(not running)
        self.stop.setVisible(running)
        self.fresh.setVisible(some and not running)
        self.ask.setEnabled(bool(self.field.text().strip()) and self._library.searchable)
        if not self._library.searchable:
            words = "Add documents, then ask about them"
        else:
            words = "Ask a follow-up question" if some else "Ask your documents"
        self.field.setPlaceholderText(words)

    def _ask(self) -> None:
        question = self.field.text().strip()
        if question and not self._answers.running and self._library.searchable:
            self.field.clear()
            self._intents.ask_requested.emit(question)

    def _begin_anew(self) -> None:
        self._intents.new_thread_requested.emit()
        self.field.setFocus()
