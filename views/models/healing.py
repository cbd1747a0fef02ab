"""The end of the raw prompt under token healing."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from inference.events import HealingBoundary


class HealingModel(QObject):
    """Whether healing is on, and what it would do to the text as it stands.

    Signals:
        switched: It was switched on or off: whether it is on.
        changed: The boundary, or the reason why there is none, is another.
    """

    switched = Signal(bool)
    changed = Signal()

    def __init__(self, *, on: bool = False, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.on = on
        self.boundary: HealingBoundary | None = None
        self.problem = ""

    def switch(self, on: bool) -> None:
        """Switch healing on or off."""
        if on != self.on:
            self.on = on
            self.set_boundary(None)
            self.switched.emit(on)

    def set_boundary(self, boundary: HealingBoundary | None, problem: str = "") -> None:
        """What was found at the end of the text, or why nothing was."""
        if (boundary, problem) != (self.boundary, self.problem):
            self.boundary, self.problem = boundary, problem
            self.changed.emit()

    @property
    def words(self) -> str:
        """What is cut back, in words."""
        if self.problem or not self.on:
            return self.problem
        found = self.boundary
        if found is None:
            return "Looking at the end of the text …"
        if not found.taken:
            return "Nothing is cut back: no token reaches across the end of this text."
        count = len(found.taken)
        cut = "the last token is" if count == 1 else f"the last {count} tokens are"
        return (
            f"“{found.text}” is cut back ({cut} chosen anew) and the reply has to begin with it. "
            f"{found.fitting:,} tokens fit, with {found.mass:.1%} of the model's own probability:"
        )
