"""Icons, all from one set: Phosphor, as QtAwesome brings it. Only that font is loaded."""

from __future__ import annotations

import os

os.environ.setdefault("QT_API", "pyside6")

from PySide6.QtGui import QColor, QIcon
from qtawesome.iconic_font import IconicFont

#: What an icon stands for -> its name in the set. Views use the left side.
NAMES = {
    "attach": "paperclip",
    "branch": "git-branch",
    "chat": "chat-circle",
    "check": "check",
    "close": "x",
    "code": "code",
    "collapse": "caret-down",
    "continue": "arrow-bend-down-right",
    "copy": "copy",
    "cpu": "cpu",
    "delete": "trash",
    "document": "file-text",
    "download": "download-simple",
    "edit": "pencil-simple",
    "end": "arrow-down",
    "error": "warning-circle",
    "expand": "caret-right",
    "float": "arrow-square-out",
    "export": "export",
    "eye": "eye",
    "folder": "folder-open",
    "info": "info",
    "keyboard": "keyboard",
    "lens": "magnifying-glass-plus",
    "menu": "list",
    "monitor": "activity",
    "more": "dots-three",
    "new": "plus",
    "next": "caret-right",
    "pause": "pause",
    "play": "play",
    "previous": "caret-left",
    "raw": "brackets-curly",
    "regenerate": "arrow-clockwise",
    "remove": "minus",
    "reset": "arrow-counter-clockwise",
    "save": "floppy-disk",
    "search": "magnifying-glass",
    "send": "arrow-up",
    "settings": "gear",
    "sliders": "sliders-horizontal",
    "stop": "stop-fill",
    "sun": "sun",
    "text": "text-aa",
    "tokens": "squares-four",
    "undo": "arrow-u-up-left",
    "warning": "warning",
    "why": "lightbulb",
}


class IconSet:
    """Draws icons of :data:`NAMES` in any colour."""

    def __init__(self) -> None:
        self._font = IconicFont(("ph", "phosphor-1.3.0.ttf", "phosphor-charmap-1.3.0.json"))

    def icon(self, name: str, color: QColor, disabled: QColor) -> QIcon:
        """The icon ``name`` in ``color``; ``disabled`` is its colour on a disabled button."""
        icon: QIcon = self._font.icon(f"ph.{NAMES[name]}", color=color, color_disabled=disabled)
        return icon
