"""The inspector: tabs that explain the text."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QTabWidget, QWidget

_KEYS = 9


class Inspector(QTabWidget):
    """A host of named tabs; Alt+1, Alt+2, ... choose them in the order in which they were added.

    Signals:
        tab_shown: Name of the tab that came to the front.
    """

    tab_shown = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("inspectorTabs")
        self.setAccessibleName("Inspector")
        self.setDocumentMode(True)
        self.setUsesScrollButtons(True)
        self.tabBar().setExpanding(False)
        self._names: list[str] = []
        self._actions: list[QAction] = []
        self.currentChanged.connect(self._changed)

    @property
    def tab_actions(self) -> tuple[QAction, ...]:
        """One action a tab, with its shortcut; for menus and the list of shortcuts."""
        return tuple(self._actions)

    @property
    def current_name(self) -> str:
        """Name of the tab in front; empty while there is none."""
        return self._names[self.currentIndex()] if self._names else ""

    def add_tab(self, name: str, widget: QWidget, tip: str = "") -> None:
        """Add a tab at the end.

        Args:
            name: Title, and what :meth:`show_tab` takes.
            widget: What the tab shows.
            tip: What it is for, one sentence.
        """
        if name in self._names:
            raise ValueError(f"there is a tab {name!r} already")
        number = len(self._names) + 1
        self._names.append(name)
        self.addTab(widget, name)
        action = QAction(f"{name} (inspector)", self)
        action.setObjectName(f"show{name}")
        if number <= _KEYS:
            action.setShortcut(QKeySequence(f"Alt+{number}"))
            tip = f"{tip} (Alt+{number})" if tip else f"Alt+{number}"
        action.setShortcutContext(Qt.ShortcutContext.WindowShortcut)
        action.triggered.connect(lambda: self._bring(name))
        self.setTabToolTip(number - 1, tip)
        self.addAction(action)
        self._actions.append(action)

    def has_tab(self, name: str) -> bool:
        """Whether there is a tab of this name."""
        return name in self._names

    def show_tab(self, name: str) -> None:
        """Bring a tab to the front; the keyboard focus stays where it is."""
        self.setCurrentIndex(self._names.index(name))

    def _bring(self, name: str) -> None:
        self.show_tab(name)
        widget = self.currentWidget()
        if widget is not None:
            target = widget if widget.focusPolicy() != Qt.FocusPolicy.NoFocus else widget.nextInFocusChain()
            target.setFocus(Qt.FocusReason.ShortcutFocusReason)

    def _changed(self, index: int) -> None:
        if 0 <= index < len(self._names):
            self.tab_shown.emit(self._names[index])
