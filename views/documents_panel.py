"""The documents: library, question and answer, page; side by side."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from views.answer_view import AnswerView
from views.document_intents import DocumentIntents
from views.library_panel import LibraryPanel
from views.models.answers import AnswersModel
from views.models.library import LibraryModel
from views.models.page import PageModel
from views.models.sources import SourcesModel
from views.page_view import PageView
from views.panel_parts import EmptyPage, Ink
from views.question_bar import QuestionBar
from views.source_list import SourceList
from views.theme import CAPTION, GRID, Theme

_EMPTY = (
    "Add documents on the left. Every statement of an answer names its source, and a click opens the page "
    "with the passage marked. All of it happens on this computer."
)


class DocumentsPanel(QWidget):
    """The window's second mode."""

    def __init__(
        self,
        library: LibraryModel,
        answers: AnswersModel,
        sources: SourcesModel,
        page: PageModel,
        intents: DocumentIntents,
        theme: Theme,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName("documentsTab")
        self._library, self._answers, self._sources = library, answers, sources
        self.library = LibraryPanel(library, intents, theme)
        self.question = QuestionBar(answers, library, intents, theme)
        self.answer = AnswerView(answers, intents, theme)
        self.sources = SourceList(sources, intents, theme)
        self.page = PageView(page, intents, theme)
        self.empty = EmptyPage(
            "Ask your documents", _EMPTY, "Try it with the sample document", "trySample", theme
        )
        self.empty.clicked.connect(intents.sample_requested)
        self._title = Ink("", theme, tone="muted", size=CAPTION, wrap=True)
        self._title.setObjectName("sourceTitle")
        self._title.setContentsMargins(3 * GRID, 2 * GRID, 3 * GRID, GRID)
        self.explain = QPushButton("What carried this answer?")
        self.explain.setObjectName("explainAnswerButton")
        self.explain.setProperty("kind", "link")
        self.explain.setToolTip(
            "Turns down the attention to each sentence of the prompt in turn, and measures how much less "
            "likely the answer gets, in nats (AtMan)"
        )
        self.explain.clicked.connect(intents.explain_requested)
        self._middle = QStackedWidget()
        self._middle.addWidget(self.empty)
        self._middle.addWidget(self._results())
        centre = QWidget()
        column = QVBoxLayout(centre)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.question)
        column.addWidget(self._middle, 1)
        split = QSplitter(Qt.Orientation.Horizontal)
        split.setObjectName("documentsSplitter")
        split.setHandleWidth(1)
        split.setChildrenCollapsible(False)
        for widget, least in ((self.library, 224), (centre, 276), (self.page, 208)):
            widget.setMinimumWidth(least)
            split.addWidget(widget)
        for at, stretch in enumerate((0, 3, 3)):
            split.setStretchFactor(at, stretch)
        split.setSizes([296, 492, 492])
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(split)
        self._connect()
        self._show()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.question.field.setFocus()

    def _results(self) -> QWidget:
        found = QWidget()
        column = QVBoxLayout(found)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        top = QHBoxLayout()
        top.setContentsMargins(0, 0, 2 * GRID, 0)
        top.addWidget(self._title, 1)
        top.addWidget(self.explain)
        column.addLayout(top)
        column.addWidget(self.sources, 1)
        split = QSplitter(Qt.Orientation.Vertical)
        split.setHandleWidth(1)
        split.setChildrenCollapsible(False)
        split.addWidget(self.answer)
        split.addWidget(found)
        split.setSizes([360, 300])
        return split

    def _connect(self) -> None:
        self._library.changed.connect(self._show)
        documents = self._library.documents
        for signal in (documents.modelReset, documents.rowsInserted, self._answers.changed):
            signal.connect(self._show)
        self._sources.titled.connect(self._show)

    def _show(self, *_: object) -> None:
        begun = bool(self._library.documents.entries or self._answers.turns)
        waiting = self._library.state in ("opening", "indexing")
        self._middle.setCurrentIndex(1 if begun or waiting else 0)
        self.answer.setVisible(bool(self._answers.turns))
        explaining = self._answers.explaining
        self.explain.setText(f"{explaining}: stop" if explaining else "What carried this answer?")
        shown = any(row.kind == "read" for row in self._sources.rows)
        self.explain.setVisible(shown and self._answers.explainable)
        self._title.setText(self._sources.title or _hint(self._library))


def _hint(library: LibraryModel) -> str:
    """What stands where passages will be."""
    if library.searchable:
        return "Type: passages that match appear here. Enter has the question answered."
    if library.state in ("opening", "indexing"):
        return "As soon as a document is read, it can be searched and asked."
    return "None of these documents could be read." if library.documents.entries else ""
