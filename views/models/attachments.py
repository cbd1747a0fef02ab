"""Documents that are attached to the chat: the best passages of them go along with each message."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PySide6.QtCore import QObject, Signal

#: "unreadable": ``words`` says why.
AttachmentState = Literal["reading", "ready", "unreadable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A document on its way into the chat."""

    file: str
    state: AttachmentState = "reading"
    words: str = "reading…"

    @property
    def name(self) -> str:
        """Its file's name."""
        return Path(self.file).name


class AttachmentsModel(QObject):
    """What is attached, in the order in which it was.

    Signals:
        changed: Other documents, or another state of one.
    """

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._items: dict[str, Attachment] = {}

    @property
    def items(self) -> tuple[Attachment, ...]:
        """All of them."""
        return tuple(self._items.values())

    @property
    def ready(self) -> tuple[str, ...]:
        """Files whose passages can go along."""
        return tuple(item.file for item in self.items if item.state == "ready")

    @property
    def reading(self) -> bool:
        """Whether a document is still being read."""
        return any(item.state == "reading" for item in self.items)

    def put(self, items: Iterable[Attachment]) -> None:
        """Add documents, or bring them up to date."""
        self._items |= {item.file: item for item in items}
        self.changed.emit()

    def remove(self, file: str) -> None:
        """Take a document away."""
        if self._items.pop(file, None) is not None:
            self.changed.emit()
