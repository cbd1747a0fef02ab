"""The page that a citation leads to: beside the answer, at the right place, with the passage marked."""

from __future__ import annotations

import html
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtGui import QFontMetrics, QGuiApplication, QKeySequence, QResizeEvent, QShortcut
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QStackedWidget,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from inference.events import Source
from views.document_intents import DocumentIntents
from views.find_bar import FindBar
from views.models.page import PageModel
from views.page_canvas import PageCanvas
from views.panel_parts import Ink, tool_button
from views.theme import BODY, CAPTION, GRID, Theme

_EMPTY = "Click a citation or a passage: its page opens here, with the words marked."


class PageView(QWidget):
    """A picture of a PDF's page, the text of a passage of another document, or what is in the way."""

    def __init__(
        self, model: PageModel, intents: DocumentIntents, theme: Theme, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("pageView")
        self.setAccessibleName("Page")
        self._model, self._intents, self._theme = model, intents, theme
        self._name = Ink("", theme, bold=True)
        self._name.setObjectName("pageFile")
        self._place = Ink("", theme, tone="muted", size=CAPTION, mono=True)
        self._place.setObjectName("pageNumber")
        self._zoom = Ink("", theme, tone="muted", size=CAPTION, mono=True)
        self.previous = tool_button(theme, "previous", "Page up (Page Up)", "previousPage")
        self.next = tool_button(theme, "next", "Page down (Page Down)", "nextPage")
        self.smaller = tool_button(theme, "remove", "Smaller (Ctrl+-)", "zoomOut")
        self.larger = tool_button(theme, "new", "Larger (Ctrl++)", "zoomIn")
        self.back = tool_button(theme, "reset", "Back to the passage, as wide as the view", "backToPassage")
        self.copy = tool_button(theme, "copy", "Copy the passage", "copyPassage")
        self.search = tool_button(theme, "search", "Find in this document (Ctrl+F)", "findWords")
        self.canvas = PageCanvas(model, theme)
        self.text = QTextBrowser()
        self.text.setObjectName("passageText")
        self.text.setAccessibleName("Passage")
        self.text.setFrameShape(QFrame.Shape.NoFrame)
        self.text.document().setDocumentMargin(4 * GRID)
        self.find_bar = FindBar(model, intents, self.text, theme)
        self._words = Ink("", theme, tone="muted", wrap=True)
        self._words.setObjectName("pageNote")
        self._password = _PagePassword(model, intents)
        self._stack = QStackedWidget()
        self._stack.addWidget(self.canvas)
        self._stack.addWidget(self.text)
        self._stack.addWidget(self._note_page())
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._bar())
        column.addWidget(self.find_bar)
        column.addWidget(self._stack, 1)
        self._connect()
        self._show()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._show_name()

    def _bar(self) -> QWidget:
        bar = QWidget()
        row = QHBoxLayout(bar)
        row.setContentsMargins(3 * GRID, 2 * GRID, 2 * GRID, 2 * GRID)
        row.setSpacing(2)
        self._name.setMinimumWidth(48)
        row.addWidget(self._name, 1)
        for widget in (self.previous, self._place, self.next, self.smaller, self._zoom, self.larger):
            row.addWidget(widget)
        for widget in (self.back, self.search, self.copy):
            row.addWidget(widget)
        return bar

    def _note_page(self) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(5 * GRID, 8 * GRID, 5 * GRID, 8 * GRID)
        column.setSpacing(3 * GRID)
        column.addWidget(self._words)
        column.addWidget(self._password)
        column.addStretch(1)
        return page

    def _connect(self) -> None:
        model = self._model
        self.previous.clicked.connect(lambda: model.go_to(model.number - 1))
        self.next.clicked.connect(lambda: model.go_to(model.number + 1))
        self.smaller.clicked.connect(lambda: model.zoom_by(-1))
        self.larger.clicked.connect(lambda: model.zoom_by(1))
        self.back.clicked.connect(self._back)
        self.copy.clicked.connect(self._copy)
        self.search.clicked.connect(self._toggle_find)
        for keys, slot in (
            ("PgUp", lambda: model.go_to(model.number - 1)),
            ("PgDown", lambda: model.go_to(model.number + 1)),
            ("Ctrl++", lambda: model.zoom_by(1)),
            ("Ctrl+=", lambda: model.zoom_by(1)),
            ("Ctrl+-", lambda: model.zoom_by(-1)),
            ("Ctrl+F", self._open_find),
            ("Ctrl+C", self._copy),
            ("Ctrl+A", self._select_all),
        ):
            shortcut = QShortcut(QKeySequence(keys), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(slot)
        model.changed.connect(self._show)
        model.zoom_changed.connect(self._show_bar)
        model.selected.connect(self._show_copy)
        self.canvas.picture_wanted.connect(self._intents.picture_wanted)

    def _show(self) -> None:
        model = self._model
        self._show_bar()
        note = {"empty": _EMPTY}.get(model.state, "")
        if model.fault is not None:
            note = f"{model.fault.message} {model.fault.hint}"
        self._words.setText(note)
        self._password.setVisible(model.state == "password")
        if model.state == "text" and model.source is not None:
            self.text.setHtml(passage_html(model.source, self._theme))
            self._stack.setCurrentWidget(self.text)
        elif model.state in ("picture", "drawing"):
            self._stack.setCurrentWidget(self.canvas)
        else:
            self._stack.setCurrentIndex(2)
        if model.state == "drawing":
            self._intents.picture_wanted.emit(self.canvas.wanted_width())

    def _show_bar(self, *_: object) -> None:
        model = self._model
        paged = model.state in ("picture", "drawing")
        for widget in (
            self.previous, self.next, self.smaller, self.larger, self.back, self._zoom,
        ):  # fmt: skip
            widget.setVisible(paged)
        self.copy.setVisible(model.source is not None)
        self.search.setVisible(paged or model.state == "text")
        if model.state == "empty" and not self.find_bar.isHidden():
            self.find_bar.close_bar()
        self._place.setVisible(model.state != "empty")
        self.previous.setEnabled(model.number > 1)
        self.next.setEnabled(model.number < model.pages)
        self._zoom.setText(f"{model.zoom:.0%}")
        unit = model.source.unit if model.source is not None else "page"
        self._place.setText(f"{model.number} / {model.pages}" if model.pages else f"{unit} {model.number}")
        self._show_name()

    def _show_name(self) -> None:
        name = Path(self._model.file).name
        room = max(40, self._name.width() - 2)
        self._name.setText(
            QFontMetrics(self._name.font()).elidedText(name, Qt.TextElideMode.ElideMiddle, room)
        )
        self._name.setToolTip(self._model.file)

    def _back(self) -> None:
        self._model.set_zoom(1.0)
        if self._model.source is not None:
            self._model.open_source(self._model.source, as_picture=self._model.state != "text")

    def _copy(self) -> None:
        """What is selected, or else the passage."""
        model = self._model
        selected = self.text.textCursor().selectedText().replace("\u2029", "\n")
        words = selected if model.state == "text" else model.selected_text
        if not words and model.source is not None:
            words = model.source.text
        if words:
            QGuiApplication.clipboard().setText(words)

    def _show_copy(self) -> None:
        words = "Copy what is selected (Ctrl+C)" if self._model.selected_text else "Copy the passage (Ctrl+C)"
        self.copy.setToolTip(words)

    def _select_all(self) -> None:
        if self._model.state == "text":
            self.text.selectAll()
        elif self._model.characters is not None:
            self._model.select(0, len(self._model.characters.text))

    def _open_find(self) -> None:
        if self._model.state != "empty":
            self.find_bar.open_bar()

    def _toggle_find(self) -> None:
        if self.find_bar.isHidden():
            self._open_find()
        else:
            self.find_bar.close_bar()


class _PagePassword(QWidget):
    """Asks for the password of the document that is to be shown."""

    def __init__(self, model: PageModel, intents: DocumentIntents) -> None:
        super().__init__()
        self._model, self._intents = model, intents
        self.field = QLineEdit()
        self.field.setObjectName("pagePassword")
        self.field.setAccessibleName("Password of the document")
        self.field.setEchoMode(QLineEdit.EchoMode.Password)
        self.field.setPlaceholderText("Password")
        self.field.returnPressed.connect(self._give)
        button = QPushButton("Show the page")
        button.setObjectName("showProtectedPage")
        button.clicked.connect(self._give)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.field, 1)
        row.addWidget(button)

    def _give(self) -> None:
        if self.field.text():
            self._intents.password_given.emit(self._model.file, self.field.text())
            self.field.clear()


def passage_html(source: Source, theme: Theme) -> str:
    """The text of a passage with the sentences that match marked."""
    text, marked = source.text, source.marked
    at = text.find(marked) if marked and marked != text else -1
    if at < 0:
        body = _lines(text)
    else:
        colors = theme.colors
        style = f"background-color: {colors.selection}; color: {colors.text}"
        end = at + len(marked)
        body = f'{_lines(text[:at])}<span style="{style}">{_lines(marked)}</span>{_lines(text[end:])}'
    heading = f"<p><b>{html.escape(source.heading)}</b></p>" if source.heading else ""
    return f'<div style="font-size: {BODY + 1}px">{heading}<p style="line-height: 140%">{body}</p></div>'


def _lines(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")
