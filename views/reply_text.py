"""A reply beside another one: what differs is underlined, its colour says how likely a token is there."""

from __future__ import annotations

from collections.abc import Set

from PySide6.QtGui import QTextCharFormat, QTextCursor
from PySide6.QtWidgets import QTextEdit, QWidget

from views.models.side_by_side import Side
from views.paint import diverging
from views.theme import READING, Theme

#: A token this much likelier (in nats) has the full colour.
FULL = 4.0


class ReplyText(QTextEdit):
    """Read only; a token's tool tip has both probabilities."""

    def __init__(self, name: str, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setReadOnly(True)
        self.setAccessibleName(name)
        self.setFont(theme.font(READING))
        self._theme = theme

    def show_side(self, side: Side, different: Set[int]) -> None:
        """Show a reply; ``different`` are the tokens without a counterpart."""
        colors = self._theme.colors
        self.clear()
        cursor = QTextCursor(self.document())
        for index, token in enumerate(side.tokens):
            look = QTextCharFormat()
            shift = side.shift(index)
            if shift is not None:
                look.setBackground(diverging(shift / FULL, colors.surface, colors.text).background)
            look.setToolTip(side.words(index))
            look.setFontUnderline(index in different)
            cursor.insertText(token.text, look)
