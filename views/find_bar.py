"""Looks for words in the document that is shown."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt, QTimer
from PySide6.QtGui import QKeyEvent, QTextCursor, QTextDocument
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QTextBrowser, QWidget

from views.document_intents import DocumentIntents
from views.models.page import PageModel
from views.panel_parts import Ink, tool_button
from views.theme import CAPTION, GRID, Theme

_PAUSE_MS = 250  # in typing, before a search


class FindBar(QWidget):
    """Enter goes to the next place, Shift+Enter to the one before, Esc closes.

    Args:
        model: Whose document is searched; pictures are searched by the app, which fills in the places.
        intents: Told of the words.
        text: Shows documents that have no pictures; searched here.
        theme: Colours and icons.
        parent: Its owner.
    """

    def __init__(
        self,
        model: PageModel,
        intents: DocumentIntents,
        text: QTextBrowser,
        theme: Theme,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName("findBar")
        self._model, self._intents, self._text = model, intents, text
        self.field = QLineEdit()
        self.field.setObjectName("findInDocument")
        self.field.setAccessibleName("Find in this document")
        self.field.setPlaceholderText("Find in this document")
        self.field.textEdited.connect(self._typed)
        self.words = Ink("", theme, tone="muted", size=CAPTION)
        self.words.setObjectName("foundCount")
        self.previous = tool_button(theme, "previous", "The place before (Shift+Enter)", "findPrevious")
        self.next = tool_button(theme, "next", "The next place (Enter)", "findNext")
        close = tool_button(theme, "close", "Close (Esc)", "closeFind")
        self.previous.clicked.connect(lambda: self._step(-1))
        self.next.clicked.connect(lambda: self._step(1))
        close.clicked.connect(self.close_bar)
        row = QHBoxLayout(self)
        row.setContentsMargins(3 * GRID, 0, 2 * GRID, 2 * GRID)
        row.setSpacing(GRID)
        row.addWidget(self.field, 1)
        for widget in (self.words, self.previous, self.next, close):
            row.addWidget(widget)
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_PAUSE_MS)
        self._pause.timeout.connect(self._look)
        self.field.installEventFilter(self)
        model.found_changed.connect(self._show)
        self._show()
        self.hide()

    def open_bar(self) -> None:
        """Show it, with what is selected on the page as the words."""
        self.show()
        selected = " ".join(self._model.selected_text.split())
        if 0 < len(selected) <= 80:
            self.field.setText(selected)
            self._look()
        self.field.setFocus()
        self.field.selectAll()

    def close_bar(self) -> None:
        """Hide it and forget the places."""
        self._pause.stop()
        self.hide()
        self._intents.find_requested.emit("")

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ShortcutOverride and event.key() == Qt.Key.Key_Escape:  # type: ignore[attr-defined]
            event.accept()  # here it closes the bar, and not what it does in the rest of the window
            return True
        return super().eventFilter(watched, event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.close_bar()
            return
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            if self._pause.isActive() or self._sought() != self._model.wanted:
                self._look()
            else:
                self._step(-1 if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else 1)
            return
        super().keyPressEvent(event)

    def _sought(self) -> str:
        return self.field.text().strip()

    def _typed(self) -> None:
        self._pause.start()

    def _look(self) -> None:
        self._pause.stop()
        if self._model.state == "text":
            self._model.look_for(self._sought())
            self._text.moveCursor(QTextCursor.MoveOperation.Start)
            self._step(1)
        else:
            self._intents.find_requested.emit(self._sought())

    def _step(self, by: int) -> None:
        if self._model.state != "text":
            self._model.show_found(self._model.found_at + by)
            return
        backwards = QTextDocument.FindFlag.FindBackward if by < 0 else QTextDocument.FindFlag(0)
        sought = self._sought()
        if sought and not self._text.find(sought, backwards):  # once more from the other end
            ends = QTextCursor.MoveOperation.End if by < 0 else QTextCursor.MoveOperation.Start
            self._text.moveCursor(ends)
            found = self._text.find(sought, backwards)
            self.words.setText("" if found else "not found")

    def _show(self) -> None:
        model = self._model
        done, pages = model.searched
        if not model.wanted:
            words = ""
        elif model.found:
            words = f"{model.found_at + 1} of {len(model.found):,}"
            words += "" if done >= pages else "…"
        elif done < pages or not pages:
            words = f"page {done:,} of {pages:,}…" if pages else "…"
        else:
            words = "not found"
        self.words.setText(words)
        for button in (self.previous, self.next):
            button.setEnabled(bool(model.found) or model.state == "text")
