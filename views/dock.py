"""A dock with a slim title bar: it can be moved, floated and hidden."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QDockWidget, QFrame, QHBoxLayout, QLabel, QToolButton, QWidget

from views.theme import CAPTION, Theme


class Dock(QDockWidget):
    """``name`` is its objectName, by which the layout is saved."""

    def __init__(self, name: str, title: str, content: QWidget, theme: Theme, parent: QWidget) -> None:
        super().__init__(title, parent)
        self.setObjectName(name)
        self.setWidget(content)
        self.setTitleBarWidget(_TitleBar(title, self, theme))

    def toggle(self) -> None:
        """Show the dock, or hide it."""
        self.setVisible(not self.isVisible())
        if self.isVisible():
            self.raise_()


class _TitleBar(QFrame):
    """Mouse events that it does not take move the dock."""

    def __init__(self, title: str, dock: QDockWidget, theme: Theme) -> None:
        super().__init__(dock)
        self._dock = dock
        self.setFixedHeight(28)
        label = QLabel(title, self)
        label.setFont(theme.font(CAPTION, bold=True))
        label.setProperty("tone", "muted")
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 0, 4, 0)
        row.setSpacing(0)
        row.addWidget(label, 1)
        for name, words, icon, slot in (
            ("float", f"Float {title}", "float", self._toggle_floating),
            ("hide", f"Hide {title}", "close", dock.close),
        ):
            button = QToolButton(self)
            button.setObjectName(f"{dock.objectName()}_{name}")
            button.setToolTip(words)
            button.setAccessibleName(words)
            button.setIconSize(QSize(12, 12))
            button.setFixedSize(22, 22)
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            theme.set_icon(button, icon, "faint")
            button.clicked.connect(slot)
            row.addWidget(button)

    def _toggle_floating(self) -> None:
        self._dock.setFloating(not self._dock.isFloating())
