"""Which keys a field takes for itself and which it leaves to the window's shortcuts."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject
from PySide6.QtGui import QKeyEvent, QKeySequence
from PySide6.QtWidgets import QWidget

#: Keys that text fields of some desktops take for editing, and that are shortcuts here.
WINDOW_KEYS = ("Ctrl+K", "Ctrl+E")


class FieldKeys(QObject):
    """Makes ``widget`` take ``own`` keys even if they are shortcuts, and leave :data:`WINDOW_KEYS`."""

    def __init__(self, widget: QWidget, own: tuple[str, ...] = ()) -> None:
        super().__init__(widget)
        self._own = own
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent):
            keys = QKeySequence(event.keyCombination()).toString(QKeySequence.SequenceFormat.PortableText)
            if keys in self._own:
                event.accept()
                return True
            if keys in WINDOW_KEYS:
                event.ignore()
                return True
        return False
