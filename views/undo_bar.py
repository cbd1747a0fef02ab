"""The bar that brings back what was deleted."""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QToolButton,
    QWidget,
)

from views.models.conversations import ConversationId
from views.theme import Theme

#: How long a deletion can be undone.
UNDO_MS = 10_000


class UndoBar(QFrame):
    """Offers to bring back what was deleted, for a while."""

    undone = Signal(object)
    settled = Signal(object)

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("undoBar")
        self._theme = theme
        self._id: ConversationId | None = None
        self._title = ""
        self._label = QLabel(self)
        self._label.setMinimumWidth(40)
        button = QToolButton(self)
        button.setObjectName("undoDelete")
        button.setText("Undo")
        button.setAccessibleName("Bring the conversation back")
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        button.clicked.connect(self._undo)
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 4, 4, 4)
        row.addWidget(self._label, 1)
        row.addWidget(button)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(UNDO_MS)
        self._timer.timeout.connect(self.settle)
        self.hide()

    def offer(self, conversation_id: ConversationId, title: str) -> None:
        """Show the bar for this conversation; an earlier one is settled."""
        self.settle()
        self._id = conversation_id
        self._label.setToolTip(title)
        self._title = title
        self.show()
        self._fit()
        self._timer.start()

    def settle(self) -> None:
        """The deletion stands."""
        gone = self._take()
        if gone is not None:
            self.settled.emit(gone)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        words = f"Deleted “{self._title}”"
        metrics = self._label.fontMetrics()
        self._label.setText(metrics.elidedText(words, Qt.TextElideMode.ElideRight, self._label.width()))

    def _undo(self) -> None:
        back = self._take()
        if back is not None:
            self.undone.emit(back)

    def _take(self) -> ConversationId | None:
        taken, self._id = self._id, None
        self._timer.stop()
        self.hide()
        return taken
