"""The list of keyboard shortcuts (Ctrl+/), read off the actions themselves."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QGridLayout, QLineEdit, QWidget

from views.actions import ACTIONS, VIEW_KEYS
from views.panel_parts import Ink, ScrollPage, heading
from views.sheet import Sheet
from views.theme import GRID, Theme


class ShortcutsView(Sheet):
    """Shortcuts by group, with a field to search them.

    Args:
        actions: Actions of the window; those without a shortcut, and those that are hidden now, are left out.
        theme: Colours and fonts.
        parent: The window that it opens over.
    """

    def __init__(self, actions: Iterable[QAction], theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__("Keyboard shortcuts", theme, width=130 * GRID, height=150 * GRID, parent=parent)
        self.setObjectName("shortcutsView")
        self._actions, self._theme = tuple(actions), theme
        self.search = QLineEdit()
        self.search.setObjectName("searchShortcuts")
        self.search.setAccessibleName("Search the shortcuts")
        self.search.setPlaceholderText("Search")
        self.search.textChanged.connect(self._fill)
        self.column.addWidget(self.search)
        self._page = ScrollPage()
        self.column.addWidget(self._page, 1)

    def first_focus(self) -> QWidget:
        """The search."""
        return self.search

    def open_sheet(self, anchor: QWidget | None = None) -> None:
        """Show all shortcuts as they are now."""
        self.search.clear()
        self._fill()
        super().open_sheet(anchor)

    def rows(self) -> list[tuple[str, str, str]]:
        """(group, what it does, keys) of everything that fits the search, sorted by group."""
        groups = {spec.name: spec.group for spec in ACTIONS}
        found = [
            (
                groups.get(action.objectName(), "Inspector"),
                action.text().replace("&", "").rstrip("…"),
                ", ".join(key.toString(QKeySequence.SequenceFormat.NativeText) for key in action.shortcuts()),
            )
            for action in self._actions
            if action.shortcuts() and action.isVisible()
        ]
        found += [("Inspector", "First, second, … tab of the inspector", "Alt+1 … Alt+9")]
        found += [(group, title, keys) for keys, title, group in VIEW_KEYS]
        wanted = self.search.text().casefold()
        order = list(dict.fromkeys([spec.group for spec in ACTIONS] + [group for group, _, _ in found]))
        fitting = [row for row in found if wanted in " ".join(row).casefold()]
        return sorted(fitting, key=lambda row: order.index(row[0]))

    def _fill(self) -> None:
        old = self._page.takeWidget()
        if old is not None:
            old.deleteLater()
        body = QWidget()
        grid = QGridLayout(body)
        grid.setContentsMargins(0, 0, 2 * GRID, 0)
        grid.setVerticalSpacing(GRID)
        grid.setColumnStretch(0, 1)
        line = 0
        for group, rows in groupby(self.rows(), key=lambda row: row[0]):
            title = heading(group, self._theme)
            title.setContentsMargins(0, 2 * GRID if line else 0, 0, 0)
            grid.addWidget(title, line, 0, 1, 2)
            line += 1
            for _, words, keys in rows:
                grid.addWidget(Ink(words, self._theme), line, 0)
                shown = Ink(keys, self._theme, tone="muted", mono=True)
                grid.addWidget(shown, line, 1, Qt.AlignmentFlag.AlignRight)
                line += 1
        if not line:
            grid.addWidget(Ink("No shortcut is called that.", self._theme, tone="muted"), 0, 0)
        grid.setRowStretch(line + 1, 1)
        self._page.setWidget(body)
