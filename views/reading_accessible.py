"""What assistive technology sees of the painted conversation: a list with one item for each message.

Qt knows widgets only; the text of a message is painted. The interfaces made here read the column when they
are asked, so nothing has to be kept in step.
"""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, QPoint, QRect
from PySide6.QtGui import QAccessible, QAccessibleInterface
from PySide6.QtWidgets import QWidget
from shiboken6 import isValid

from views.reading_area import ReadingArea
from views.reading_column import Item

#: Qt's cache deletes interfaces itself; Python must not do it a second time.
_KEPT: list[QAccessibleInterface] = []


def install() -> None:
    """Have Qt ask here for the interfaces of conversations; once, after the application is made."""
    QAccessible.installFactory(interface_of)


def interface_of(key: str, watched: QObject | None) -> QAccessibleInterface | None:
    """The list of messages, for the viewport of a conversation; None for every other object."""
    if not isinstance(watched, QWidget):
        return None
    area = watched.parentWidget()
    if not isinstance(area, ReadingArea) or area.viewport() is not watched:
        return None
    made = _Conversation(area)
    _KEPT.append(made)
    return made


class _Interface(QAccessibleInterface):
    """What both kinds have in common: nothing can be written, nothing has a text or a table of its own."""

    def __init__(self, area: ReadingArea) -> None:
        super().__init__()
        self._area = area

    def isValid(self) -> bool:
        return isValid(self._area)

    def setText(self, kind: QAccessible.Text, text: str) -> None:
        """Messages are edited through their buttons."""

    def interface_cast(self, kind: QAccessible.InterfaceType) -> Any:
        return None

    def _visible(self) -> QRect:
        viewport = self._area.viewport()
        return QRect(viewport.mapToGlobal(QPoint(0, 0)), viewport.size())


class _Conversation(_Interface):
    """The viewport: its messages, then the widgets that lie on them."""

    def __init__(self, area: ReadingArea) -> None:
        super().__init__(area)
        self._messages: list[_Message] = []

    def object(self) -> QObject:
        return self._area.viewport()

    def parent(self) -> Any:
        return QAccessible.queryAccessibleInterface(self._area)

    def role(self) -> QAccessible.Role:
        return QAccessible.Role.List

    def state(self) -> QAccessible.State:
        return QAccessible.State()

    def rect(self) -> QRect:
        return self._visible()

    def text(self, kind: QAccessible.Text) -> str:
        return self._area.accessibleName() if kind == QAccessible.Text.Name else ""

    def childCount(self) -> int:
        return len(self._area.column.items) + len(self._widgets())

    def child(self, index: int) -> Any:
        count = len(self._area.column.items)
        if 0 <= index < count:
            while len(self._messages) <= index:
                made = _Message(self._area, self, len(self._messages))
                QAccessible.registerAccessibleInterface(made)
                _KEPT.append(made)
                self._messages.append(made)
            return self._messages[index]
        widgets = self._widgets()
        if count <= index < count + len(widgets):
            return QAccessible.queryAccessibleInterface(widgets[index - count])
        return None

    def childAt(self, x: int, y: int) -> Any:
        for number in range(self.childCount() - 1, -1, -1):  # widgets lie above the text
            child = self.child(number)
            if child is not None and child.rect().contains(x, y):
                return child
        return None

    def indexOfChild(self, child: QAccessibleInterface) -> int:
        if isinstance(child, _Message):
            return child.number
        wanted = child.object()
        widgets = self._widgets()
        return len(self._area.column.items) + widgets.index(wanted) if wanted in widgets else -1

    def _widgets(self) -> list[QWidget]:
        found = self._area.viewport().children()
        return [child for child in found if isinstance(child, QWidget) and child.isVisible()]


class _Message(_Interface):
    """A message by its number, whichever message that is now."""

    def __init__(self, area: ReadingArea, conversation: _Conversation, number: int) -> None:
        super().__init__(area)
        self._conversation, self.number = conversation, number

    @property
    def _item(self) -> Item | None:
        items = self._area.column.items
        return items[self.number] if self.number < len(items) else None

    def isValid(self) -> bool:
        return super().isValid() and self._item is not None

    def object(self) -> Any:
        return None

    def parent(self) -> QAccessibleInterface:
        return self._conversation

    def role(self) -> QAccessible.Role:
        return QAccessible.Role.ListItem

    def state(self) -> QAccessible.State:
        state = QAccessible.State()
        state.readOnly = True
        state.offscreen = not self.rect().intersects(self._visible())
        return state

    def rect(self) -> QRect:
        item = self._item
        if item is None:
            return QRect()
        column = self._area.column_rect()
        top = round(item.top - self._area.scrolled)
        corner = self._area.viewport().mapToGlobal(QPoint(round(column.left()), top))
        return QRect(corner.x(), corner.y(), round(column.width()), round(item.height))

    def text(self, kind: QAccessible.Text) -> str:
        item = self._item
        if item is None:
            return ""
        message = item.message
        if kind == QAccessible.Text.Name:
            who = "You" if message.role == "user" else message.author or "Model"
            return f"{who}: {message.text}"
        if kind == QAccessible.Text.Description:
            return "; ".join(mark.text for mark in message.marks)
        return ""

    def childCount(self) -> int:
        return 0

    def child(self, index: int) -> Any:
        return None

    def childAt(self, x: int, y: int) -> Any:
        return None

    def indexOfChild(self, child: QAccessibleInterface) -> int:
        return -1
