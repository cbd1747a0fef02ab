"""A field that finds a token by its text."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QStringListModel, QTimer, Signal
from PySide6.QtWidgets import QCompleter, QLineEdit, QWidget

from inference.events import FoundToken
from views.models.candidates import visible_token
from views.theme import Theme

_MILLISECONDS = 150


class TokenFinder(QLineEdit):
    """Type a part of a token's text and choose from the list.

    Signals:
        wanted: Look for this text.
        chosen: A token was chosen: its id and its text.
    """

    wanted = Signal(str)
    chosen = Signal(int, str)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("tokenFinder")
        self.setAccessibleName("Find a token by its text")
        self.setPlaceholderText("Find a token, for example cat")
        self.setToolTip("The text of the token, or # and its id.")
        self.setFont(theme.mono())
        self._matches: tuple[FoundToken, ...] = ()
        self._list = QStringListModel(self)
        completer = QCompleter(self._list, self)
        completer.setCompletionMode(QCompleter.CompletionMode.UnfilteredPopupCompletion)
        completer.setMaxVisibleItems(10)
        popup = self._popup = completer.popup()
        if popup is not None:
            popup.setObjectName("foundTokens")
            popup.setFont(theme.mono())
        completer.activated.connect(self._take)
        self.setCompleter(completer)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_MILLISECONDS)
        self._soon.timeout.connect(self._look)
        self.textEdited.connect(self._soon.start)
        self.returnPressed.connect(self._take_first)

    @property
    def matches(self) -> tuple[FoundToken, ...]:
        """What can be chosen now."""
        return self._matches

    def show_matches(self, text: str, matches: Sequence[FoundToken]) -> None:
        """Offer the tokens that were found for a text; those for an older one are dropped."""
        if text != self.text():
            return
        self._matches = tuple(matches)
        self._list.setStringList([_words(match) for match in self._matches])
        if self._matches and self.hasFocus():
            self.completer().complete()

    def _look(self) -> None:
        self.wanted.emit(self.text())

    def _take(self, words: str) -> None:
        found = next((match for match in self._matches if _words(match) == words), None)
        if found is not None:
            self.chosen.emit(found.id, found.text)
            # The completer writes the words into the field after this.
            QTimer.singleShot(0, self, self.clear)

    def _take_first(self) -> None:
        """Enter takes the best match, once there is one."""
        if self._matches and (self._popup is None or not self._popup.isVisible()):
            self._take(_words(self._matches[0]))


def _words(match: FoundToken) -> str:
    return f"{visible_token(match.text, match.id)}   id {match.id}"
