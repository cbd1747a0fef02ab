"""One sentence above the input, with at most one thing to do about it."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QToolButton,
    QWidget,
)

from views.theme import Theme


class NoticeBar(QFrame):
    """One sentence above the input, with at most one thing to do about it."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("noticeBar")
        self._act: Callable[[], object] | None = None
        self._text = QLabel(self)
        self._text.setObjectName("noticeText")
        self._text.setWordWrap(True)
        self._button = QPushButton(self)
        self._button.setObjectName("noticeAction")
        self._button.clicked.connect(self._acted)
        close = QToolButton(self)
        close.setObjectName("noticeClose")
        close.setAccessibleName("Close")
        theme.set_icon(close, "close", "muted")
        close.clicked.connect(self.hide)
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 4, 4, 4)
        row.setSpacing(8)
        row.addWidget(self._text, 1)
        row.addWidget(self._button)
        row.addWidget(close)
        self.hide()

    def show_notice(self, text: str, action: str = "", act: Callable[[], object] | None = None) -> None:
        """Say something that stays until it is closed; ``act`` is called when ``action`` is pressed."""
        self._text.setText(text)
        self._button.setText(action)
        self._button.setVisible(bool(action))
        self._act = act
        self.show()

    def _acted(self) -> None:
        self.hide()
        if self._act is not None:
            self._act()
