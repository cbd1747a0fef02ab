"""The documents that go along with the next message."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from views.intents import ChatIntents
from views.models.attachments import Attachment, AttachmentsModel
from views.panel_parts import Ink, tool_button
from views.theme import CAPTION, GRID, Theme


class AttachmentBar(QWidget):
    """One line for each document: its name, how far it is, and a button that takes it away."""

    def __init__(
        self, model: AttachmentsModel, intents: ChatIntents, theme: Theme, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("attachmentBar")
        self.setAccessibleName("Attached documents")
        self._model, self._intents, self._theme = model, intents, theme
        self._rows: list[QWidget] = []
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, GRID)
        self._column.setSpacing(GRID)
        model.changed.connect(self._show)
        self._show()

    def _show(self) -> None:
        for row in self._rows:
            self._column.removeWidget(row)
            row.setParent(None)
            row.deleteLater()
        self._rows = [self._row(item) for item in self._model.items]
        for row in self._rows:
            self._column.addWidget(row)
        self.setVisible(bool(self._rows))

    def _row(self, item: Attachment) -> QWidget:
        frame = QFrame()
        frame.setObjectName("attachment")
        frame.setToolTip(f"{item.file}\nThe passages of it that fit the message best go along with it.")
        row = QHBoxLayout(frame)
        row.setContentsMargins(2 * GRID, 0, 0, 0)
        row.setSpacing(2 * GRID)
        name = Ink(item.name, self._theme, size=CAPTION, bold=True)
        name.setTextInteractionFlags(Qt.TextInteractionFlag.NoTextInteraction)
        words = Ink(
            item.words, self._theme, tone="danger" if item.state == "unreadable" else "muted", size=CAPTION
        )
        words.setObjectName("attachmentState")
        remove = tool_button(self._theme, "close", f"Take {item.name} away", "removeAttachment")
        remove.clicked.connect(lambda: self._intents.attachment_removed.emit(item.file))
        row.addWidget(name)
        row.addWidget(words, 1)
        row.addWidget(remove)
        return frame
