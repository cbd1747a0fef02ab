"""The tabs beside the text: each explains the text in its own way."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QApplication, QTabWidget, QWidget

from views.theme import Theme


class Inspector(QTabWidget):
    """Panels by name, in the order they were added; Alt+1 shows the first."""

    #: Another panel is shown: its name.
    shown = Signal(str)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("inspector")
        self.setAccessibleName("Inspector")
        self.setDocumentMode(True)
        self.setMinimumWidth(320)
        self._names: list[str] = []
        self._theme = theme
        self.currentChanged.connect(self._tell)

    @property
    def current(self) -> str:
        """Name of the panel that is shown."""
        return self._names[self.currentIndex()] if self._names else ""

    @property
    def has_keyboard(self) -> bool:
        """Whether the keyboard is in the panel that is shown."""
        shown, focused = self.currentWidget(), QApplication.focusWidget()
        return shown is not None and focused is not None and shown.isAncestorOf(focused)

    def add_panel(self, name: str, title: str, panel: QWidget) -> None:
        """Add a panel as the last tab."""
        self._names.append(name)
        self.addTab(panel, title)
        self.setTabToolTip(len(self._names) - 1, f"{title} (Alt+{len(self._names)})")

    def show_panel(self, name: str) -> None:
        """Bring a panel to the front; unknown names are ignored."""
        if name in self._names:
            self.setCurrentIndex(self._names.index(name))

    def show_number(self, number: int) -> None:
        """Bring the panel at this place (from 0) to the front, if there is one."""
        if 0 <= number < len(self._names):
            self.setCurrentIndex(number)

    def _tell(self, index: int) -> None:
        if 0 <= index < len(self._names):
            self.shown.emit(self._names[index])
