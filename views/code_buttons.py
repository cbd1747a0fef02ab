"""The copy buttons that lie on the code blocks of a reply."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QRectF, QSize
from PySide6.QtWidgets import QToolButton, QWidget

from views.reading_column import Item
from views.theme import Theme
from views.transcript_blocks import BlockPiece


class CodeButtons:
    """One button for each code block that is seen; ``copy`` is called with the whole code of its block."""

    def __init__(self, viewport: QWidget, theme: Theme, copy: Callable[[str], object]) -> None:
        self._viewport, self._theme, self._copy = viewport, theme, copy
        self._buttons: dict[BlockPiece, QToolButton] = {}
        self._seen: set[BlockPiece] = set()

    def place(self, item: Item, piece: BlockPiece, rect: QRectF) -> None:
        """Put the button of a block at the right of its bar; ``rect`` is the block in the viewport."""
        button = self._buttons.get(piece)
        if button is None:
            button = self._buttons[piece] = self._make(item, piece)
        self._seen.add(piece)
        hint = button.sizeHint()
        button.setGeometry(round(rect.right() - hint.width() - 4), round(rect.top() + 2), hint.width(), 24)
        button.show()

    def drop_unseen(self) -> None:
        """Remove the buttons of blocks that were not placed since the last call."""
        for piece in [known for known in self._buttons if known not in self._seen]:
            button = self._buttons.pop(piece)
            button.hide()
            button.deleteLater()
        self._seen = set()

    def _make(self, item: Item, piece: BlockPiece) -> QToolButton:
        button = QToolButton(self._viewport)
        button.setObjectName("copyCode")
        button.setToolTip("Copy this code")
        button.setAccessibleName("Copy this code")
        button.setIconSize(QSize(14, 14))
        self._theme.set_icon(button, "copy", "muted")
        button.clicked.connect(lambda: self._copy(whole_code(item, piece)))
        return button


def whole_code(item: Item, piece: BlockPiece) -> str:
    """The code of a block and of the pieces that continue it."""
    parts = [piece.source]
    at = item.pieces.index(piece)
    for following in item.pieces[at + 1 :]:
        if not (isinstance(following, BlockPiece) and following.block.joined):
            break
        parts.append(following.source)
    return "".join(parts)
