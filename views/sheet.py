"""A sheet: a panel that opens over the window without blocking it."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QPoint, Qt
from PySide6.QtGui import QHideEvent, QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QApplication, QFrame, QHBoxLayout, QVBoxLayout, QWidget

from views.panel_parts import heading, tool_button
from views.theme import GRID, Theme


class Sheet(QFrame):
    """Closes with Esc, its cross, or a click elsewhere in the window; the keyboard goes back to where it was.

    Args:
        title: Shown at the top and read by screen readers.
        theme: Icons.
        width: In px; less where the window is narrower.
        height: In px; less where the window is lower.
        parent: The window that it covers in part. Without one it is an ordinary widget.
    """

    def __init__(
        self, title: str, theme: Theme, *, width: int, height: int, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setAccessibleName(title)
        self.setProperty("kind", "sheet")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._wanted = width, height
        self._anchor: QWidget | None = None
        self._before: QWidget | None = None
        self._watching = False
        close = tool_button(theme, "close", "Close (Esc)", "closeSheet")
        close.clicked.connect(self.close_sheet)
        self.head = QHBoxLayout()
        self.head.addWidget(heading(title, theme))
        self.head.addStretch(1)
        self.head.addWidget(close)
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(4 * GRID, 2 * GRID, 4 * GRID, 4 * GRID)
        self.column.setSpacing(2 * GRID)
        self.column.addLayout(self.head)
        if parent is not None:
            self.hide()

    def open_sheet(self, anchor: QWidget | None = None) -> None:
        """Show the sheet: below ``anchor`` (a widget of the same window), or in the middle of the window."""
        self._anchor = anchor
        if not self.isVisible():
            self._before = QApplication.focusWidget()
        self._place()
        self.show()
        self.raise_()
        self.first_focus().setFocus(Qt.FocusReason.PopupFocusReason)
        app = QApplication.instance()
        if app is not None and not self._watching:
            app.installEventFilter(self)
            self._watching = True

    def close_sheet(self) -> None:
        """Hide the sheet."""
        focused = QApplication.focusWidget()
        had_focus = focused is None or focused is self or self.isAncestorOf(focused)
        self.hide()
        if had_focus and self._before is not None and self._before.isVisible():
            self._before.setFocus(Qt.FocusReason.PopupFocusReason)

    def first_focus(self) -> QWidget:
        """The widget that gets the keyboard when the sheet opens."""
        return self

    def hideEvent(self, event: QHideEvent) -> None:
        """Stop watching for clicks elsewhere."""
        super().hideEvent(event)
        app = QApplication.instance()
        if self._watching and app is not None:
            app.removeEventFilter(self)
            self._watching = False

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Close on a click elsewhere; follow the window's size."""
        kind = event.type()
        if kind == QEvent.Type.Resize and watched is self.parentWidget():
            self._place()
        elif (
            kind == QEvent.Type.MouseButtonPress
            and isinstance(event, QMouseEvent)
            and isinstance(watched, QWidget)
            and watched.window() is self.window()
            and self._is_elsewhere(event.globalPosition().toPoint())
        ):
            self.close_sheet()
        return False

    def event(self, event: QEvent) -> bool:
        """Keep Esc from the window's actions while the sheet has the keyboard."""
        if (
            event.type() == QEvent.Type.ShortcutOverride
            and isinstance(event, QKeyEvent)
            and event.key() == Qt.Key.Key_Escape
        ):
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Esc closes."""
        if event.key() == Qt.Key.Key_Escape:
            self.close_sheet()
        else:
            super().keyPressEvent(event)

    def _is_elsewhere(self, point: QPoint) -> bool:
        # By place, not by widget: a click that the sheet ignores goes on to the window behind it.
        inside = [self] if self._anchor is None else [self, self._anchor]
        return not any(widget.rect().contains(widget.mapFromGlobal(point)) for widget in inside)

    def _place(self) -> None:
        parent = self.parentWidget()
        if parent is None:
            return
        width = min(self._wanted[0], parent.width() - 4 * GRID)
        if self._anchor is None:
            height = min(self._wanted[1], parent.height() - 4 * GRID)
            self.setGeometry((parent.width() - width) // 2, (parent.height() - height) // 2, width, height)
            return
        corner = self._anchor.mapTo(parent, QPoint(0, self._anchor.height() + GRID))
        x = max(2 * GRID, min(corner.x(), parent.width() - width - 2 * GRID))
        height = min(self._wanted[1], parent.height() - corner.y() - 2 * GRID)
        self.setGeometry(x, corner.y(), width, height)
