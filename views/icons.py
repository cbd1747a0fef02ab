"""Icons, all from one set: Phosphor, as QtAwesome brings it.

Only the set's font is read from the package. Importing ``qtawesome`` itself would import a second Qt
binding layer and cost a third of a second before the window is painted.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

from PySide6.QtCore import QPoint, QRect, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontDatabase, QIcon, QIconEngine, QPainter, QPixmap

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
    """Draws icons of :data:`NAMES` in any colour. Needs a QGuiApplication."""

    def __init__(self) -> None:
        folder = _font_folder()
        (font,) = folder.glob("phosphor-[0-9]*.ttf")
        (charmap,) = folder.glob("phosphor-charmap-*.json")
        codes: dict[str, str] = json.loads(charmap.read_text(encoding="utf-8"))
        self._characters = {name: chr(int(codes[icon], 16)) for name, icon in NAMES.items()}
        number = QFontDatabase.addApplicationFont(str(font))
        self._family = QFontDatabase.applicationFontFamilies(number)[0]

    def icon(self, name: str, color: QColor, disabled: QColor) -> QIcon:
        """The icon ``name`` in ``color``; ``disabled`` is its colour on a disabled button."""
        return QIcon(_Engine(self._characters[name], self._family, color, disabled))


class _Engine(QIconEngine):
    """Paints one character of the icon font, sharp at every size."""

    def __init__(self, character: str, family: str, color: QColor, disabled: QColor) -> None:
        super().__init__()
        self._character, self._family = character, family
        self._color, self._disabled = QColor(color), QColor(disabled)
        self._pixmaps: dict[tuple[int, int, bool], QPixmap] = {}

    def paint(self, painter: QPainter, rect: QRect, mode: QIcon.Mode, state: QIcon.State) -> None:
        font = QFont(self._family)
        font.setPixelSize(max(1, round(rect.height() * 0.9)))
        painter.save()
        painter.setFont(font)
        painter.setPen(self._disabled if mode == QIcon.Mode.Disabled else self._color)
        painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, self._character)
        painter.restore()

    def pixmap(self, size: QSize, mode: QIcon.Mode, state: QIcon.State) -> QPixmap:
        key = size.width(), size.height(), mode == QIcon.Mode.Disabled
        pixmap = self._pixmaps.get(key)
        if pixmap is None:
            pixmap = QPixmap(size)
            pixmap.fill(Qt.GlobalColor.transparent)
            painter = QPainter(pixmap)
            self.paint(painter, QRect(QPoint(0, 0), size), mode, state)
            painter.end()
            self._pixmaps[key] = pixmap
        return pixmap

    def clone(self) -> QIconEngine:
        return _Engine(self._character, self._family, self._color, self._disabled)


def _font_folder() -> Path:
    spec = find_spec("qtawesome")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("QtAwesome is not installed")
    return Path(spec.submodule_search_locations[0]) / "fonts"
