"""The loaded model's chat template, as it is shown and edited."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from inference.events import ChatTemplate


class ChatTemplateModel(QObject):
    """What is known of the template, and what became of the last attempt to replace it.

    Signals:
        changed: Another template acts, or an attempt failed.
    """

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.shown: ChatTemplate | None = None
        self.refused = ""

    def show(self, template: ChatTemplate | None) -> None:
        """This template acts now; None: no model is loaded."""
        self.shown, self.refused = template, ""
        self.changed.emit()

    def refuse(self, why: str) -> None:
        """The template that was tried can't be used; the one before it acts."""
        self.refused = why
        self.changed.emit()

    def words(self) -> str:
        """What there is to know, a sentence or two."""
        if self.refused:
            return f"Not used: {self.refused}"
        if self.shown is None:
            return "Load a model first."
        if self.shown.problem:
            return f"{self.shown.problem} Write one here, or use raw mode."
        whose = "Your own template acts; it is kept for this model." if self.shown.edited else ""
        return " ".join(part for part in (whose, *self.shown.notes) if part)
