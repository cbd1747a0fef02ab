"""Light and dark: colours, fonts, spacing, and the style sheet made of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib import resources
from string import Template
from typing import Literal
from weakref import WeakKeyDictionary

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QAction, QColor, QFont, QFontDatabase, QGuiApplication, QIcon, QPalette
from PySide6.QtWidgets import QAbstractButton, QApplication, QLabel
from shiboken6 import isValid

from views.icons import IconSet

ThemeChoice = Literal["system", "light", "dark"]
#: Which of the theme's colours an icon or a text takes.
Tone = Literal["text", "muted", "faint", "accent", "on_accent", "danger", "warning", "success"]

#: All distances are multiples of this, in device-independent pixels.
GRID = 4
#: The type scale in px: captions, interface, reading, titles.
CAPTION, BODY, READING, TITLE = 12, 13, 15, 20
#: Longest line of running text, in characters.
TEXT_COLUMNS = 76


@dataclass(frozen=True, slots=True, kw_only=True)
class Colors:
    """One theme's colours as "#rrggbb"."""

    window: str
    surface: str
    raised: str
    hover: str
    pressed: str
    border: str
    text: str
    muted: str
    faint: str
    disabled: str
    accent: str
    accent_hover: str
    on_accent: str
    selection: str
    bubble: str
    code: str
    danger: str
    warning: str
    success: str

    def color(self, name: str) -> QColor:
        """The colour of this name."""
        return QColor(getattr(self, name))


LIGHT = Colors(
    window="#f4f4f2",
    surface="#ffffff",
    raised="#ffffff",
    hover="#eaeae7",
    pressed="#dededa",
    border="#dcdcd8",
    text="#1d2024",
    muted="#5b6168",
    faint="#636970",
    disabled="#8b9097",
    accent="#2b5fb8",
    accent_hover="#234f9c",
    on_accent="#ffffff",
    selection="#cfdff7",
    bubble="#f1f2f4",
    code="#f5f5f3",
    danger="#b3261e",
    warning="#8a5a00",
    success="#20713a",
)
DARK = Colors(
    window="#17191c",
    surface="#1d2024",
    raised="#25292e",
    hover="#2d3237",
    pressed="#383e45",
    border="#34393f",
    text="#e4e6e9",
    muted="#a3a9b1",
    faint="#939aa3",
    disabled="#777e87",
    accent="#7fa9f0",
    accent_hover="#9abcf5",
    on_accent="#10151d",
    selection="#263c5f",
    bubble="#282c32",
    code="#16181b",
    danger="#ff8a80",
    warning="#e3b341",
    success="#6cc58a",
)


class Theme(QObject):
    """The look that holds now. Widgets that paint themselves read :attr:`colors` and repaint on
    :attr:`changed`.

    Args:
        app: the application that the look is applied to.
        choice: "system" follows the desktop while the app runs.
    """

    changed = Signal()

    def __init__(self, app: QApplication, choice: ThemeChoice = "system") -> None:
        super().__init__(app)
        self._app = app
        self._choice = choice
        self._icons = IconSet()
        self._icon_targets: WeakKeyDictionary[QObject, tuple[str, Tone, int]] = WeakKeyDictionary()
        self.colors = LIGHT
        self._fonts: dict[tuple[int, bool, bool], QFont] = {}
        app.setStyle("Fusion")
        font = QFont(app.font())
        font.setPixelSize(BODY)
        app.setFont(font)
        QGuiApplication.styleHints().colorSchemeChanged.connect(self._follow)
        self._apply()

    @property
    def choice(self) -> ThemeChoice:
        """What the user set."""
        return self._choice

    @property
    def dark(self) -> bool:
        """Whether the dark colours are shown."""
        return self.colors is DARK

    def set_choice(self, choice: ThemeChoice) -> None:
        """Follow the system, or stay light or dark."""
        if choice != self._choice:
            self._choice = choice
            self._apply()

    def color(self, name: str) -> QColor:
        """The colour of this name in the theme that holds now."""
        return self.colors.color(name)

    def font(self, size: int = BODY, *, bold: bool = False) -> QFont:
        """The system's text font in one of the four sizes."""
        key = (size, bold, False)
        if key not in self._fonts:
            font = QFont(self._app.font())
            font.setPixelSize(size)
            if bold:
                font.setWeight(QFont.Weight.DemiBold)
            self._fonts[key] = font
        return QFont(self._fonts[key])

    def mono(self, size: int = BODY) -> QFont:
        """The system's monospaced font: tokens, ids, numbers, code."""
        key = (size, False, True)
        if key not in self._fonts:
            font = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
            font.setStyleHint(QFont.StyleHint.Monospace)
            font.setPixelSize(size)
            self._fonts[key] = font
        return QFont(self._fonts[key])

    def icon(self, name: str, tone: Tone = "text") -> QIcon:
        """The icon of this name (see :mod:`views.icons`) in one of the theme's colours."""
        return self._icons.icon(name, self.color(tone), self.color("disabled"))

    def set_icon(
        self, target: QAbstractButton | QAction | QLabel, name: str, tone: Tone = "text", *, size: int = 16
    ) -> None:
        """Give a button, action or label an icon that changes with the theme."""
        self._icon_targets[target] = (name, tone, size)
        self._put_icon(target, name, tone, size)

    def _put_icon(self, target: QObject, name: str, tone: Tone, size: int) -> None:
        icon = self.icon(name, tone)
        if isinstance(target, QLabel):
            target.setPixmap(icon.pixmap(size, size))
        elif isinstance(target, (QAbstractButton, QAction)):
            target.setIcon(icon)

    def _follow(self) -> None:
        if self._choice == "system":
            self._apply()

    def _apply(self) -> None:
        system_dark = QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Dark
        dark = system_dark if self._choice == "system" else self._choice == "dark"
        self.colors = DARK if dark else LIGHT
        self._fonts.clear()
        self._app.setPalette(_palette(self.colors))
        self._app.setStyleSheet(style_sheet(self.colors))
        for target, (name, tone, size) in list(self._icon_targets.items()):
            if isValid(target):
                self._put_icon(target, name, tone, size)
        self.changed.emit()


def style_sheet(colors: Colors) -> str:
    """``resources/styles/app.qss`` with the theme's colours and sizes filled in."""
    styles = resources.files("resources").joinpath("styles")
    source = styles.joinpath("app.qss").read_text(encoding="utf-8")
    look = "dark" if colors is DARK else "light"
    images = {
        name: str(styles.joinpath(f"{name}-{look}.svg")).replace("\\", "/") for name in ("caret", "check")
    }
    sizes = {"caption": f"{CAPTION}px", "body": f"{BODY}px", "reading": f"{READING}px", "title": f"{TITLE}px"}
    return Template(source).substitute(asdict(colors) | sizes | images)


def _palette(colors: Colors) -> QPalette:
    role = QPalette.ColorRole
    palette = QPalette()
    for target, name in {
        role.Window: "window",
        role.WindowText: "text",
        role.Base: "surface",
        role.AlternateBase: "bubble",
        role.Text: "text",
        role.Button: "raised",
        role.ButtonText: "text",
        role.BrightText: "danger",
        role.Highlight: "accent",
        role.HighlightedText: "on_accent",
        role.ToolTipBase: "raised",
        role.ToolTipText: "text",
        role.PlaceholderText: "faint",
        role.Link: "accent",
        role.LinkVisited: "accent",
        role.Accent: "accent",
        role.Light: "raised",
        role.Midlight: "border",
        role.Mid: "border",
        role.Dark: "border",
        role.Shadow: "border",
    }.items():
        palette.setColor(target, colors.color(name))
    for target in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, target, colors.color("disabled"))
    return palette
