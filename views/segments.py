"""A few buttons of which one is down."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QButtonGroup, QFrame, QHBoxLayout, QToolButton, QWidget

from views.theme import Theme


class Segments(QFrame):
    """A few buttons of which one is down."""

    chosen = Signal(str)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "segments")
        self._theme = theme
        self._group = QButtonGroup(self)
        self._buttons: dict[str, QToolButton] = {}
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(2, 2, 2, 2)
        self._row.setSpacing(2)

    @property
    def buttons(self) -> list[QToolButton]:
        """The buttons, from left to right."""
        return list(self._buttons.values())

    @property
    def count(self) -> int:
        """How many buttons there are."""
        return len(self._buttons)

    @property
    def current(self) -> str:
        """Name of the button that is down."""
        return next((name for name, button in self._buttons.items() if button.isChecked()), "")

    def add(self, name: str, title: str, tip: str = "") -> QToolButton:
        """Add a button; the first one is down."""
        button = QToolButton(self)
        button.setObjectName(f"{name}Segment")
        button.setText(title)
        button.setToolTip(tip)
        button.setAccessibleName(title)
        button.setCheckable(True)
        button.setProperty("kind", "segment")
        button.setChecked(not self._buttons)
        button.clicked.connect(self._clicked)
        self._group.addButton(button)
        self._buttons[name] = button
        self._row.addWidget(button)
        return button

    def choose(self, name: str) -> None:
        """Put this button down, without a signal."""
        if name in self._buttons:
            self._buttons[name].setChecked(True)

    def _clicked(self) -> None:
        self.chosen.emit(self.current)
