"""Small parts that every panel uses: headings, notes, tool buttons, and the page of an empty panel."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QSize, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent, QShowEvent
from PySide6.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QFrame,
    QLabel,
    QPushButton,
    QScrollArea,
    QScrollBar,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from views.theme import BODY, CAPTION, GRID, READING, Theme, Tone


class Ink(QLabel):
    """A label in one of the theme's tones and sizes; long texts wrap."""

    def __init__(
        self,
        text: str,
        theme: Theme,
        *,
        tone: Tone = "text",
        size: int = BODY,
        bold: bool = False,
        mono: bool = False,
        wrap: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(text, parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(wrap)
        self.setFont(theme.mono(size) if mono else theme.font(size, bold=bold))
        self.setProperty("tone", tone)

    def set_tone(self, tone: Tone) -> None:
        """Show the text in another tone."""
        if tone != self.property("tone"):
            self.setProperty("tone", tone)
            self.style().unpolish(self)
            self.style().polish(self)


class LiveLine(QWidget):
    """A line of text that changes many times a second: neither a layout nor a parent's background is done
    anew for it.
    """

    def __init__(self, theme: Theme, *, bold: bool = False, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme, self._bold, self._text = theme, bold, ""
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        theme.changed.connect(self.update)

    @property
    def text(self) -> str:
        """What it says."""
        return self._text

    def set_text(self, text: str) -> None:
        """Say something else."""
        if text != self._text:
            self._text = text
            self.setAccessibleName(text)
            self.update()

    def sizeHint(self) -> QSize:
        """One line, as wide as there is room."""
        return QSize(15 * GRID, self.fontMetrics().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the text, with dots where it does not fit."""
        painter = QPainter(self)
        painter.fillRect(event.rect(), self._theme.color("window"))
        painter.setFont(self._theme.font(bold=self._bold))
        painter.setPen(self._theme.color("text"))
        words = painter.fontMetrics().elidedText(self._text, Qt.TextElideMode.ElideRight, self.width())
        painter.drawText(self.rect(), Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, words)


def heading(text: str, theme: Theme) -> Ink:
    """The title of a section of a panel."""
    return Ink(text, theme, bold=True)


def note(text: str, theme: Theme) -> Ink:
    """A quiet explanation that wraps."""
    return Ink(text, theme, tone="muted", size=CAPTION, wrap=True)


def tool_button(theme: Theme, icon: str, name: str, object_name: str, *, tone: Tone = "muted") -> QToolButton:
    """A flat button with an icon; ``name`` is its tooltip and accessible name."""
    button = QToolButton()
    button.setObjectName(object_name)
    button.setAutoRaise(True)
    button.setToolTip(name)
    button.setAccessibleName(name)
    theme.set_icon(button, icon, tone)
    return button


class EmptyPage(QWidget):
    """What a panel shows while it has nothing: what it is for, and one button.

    Signals:
        clicked: The button was pressed.
    """

    clicked = Signal()

    def __init__(
        self,
        title: str,
        text: str,
        button: str,
        object_name: str,
        theme: Theme,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        column = QVBoxLayout(self)
        column.setContentsMargins(5 * GRID, 8 * GRID, 5 * GRID, 8 * GRID)
        column.setSpacing(3 * GRID)
        self.title = Ink(title, theme, size=READING, bold=True, wrap=True)
        self.text = Ink(text, theme, tone="muted", wrap=True)
        self.button = QPushButton(button)
        self.button.setObjectName(object_name)
        self.button.setVisible(bool(button))
        self.button.clicked.connect(self.clicked)
        column.addWidget(self.title)
        column.addWidget(self.text)
        column.addWidget(self.button, 0, Qt.AlignmentFlag.AlignLeft)
        column.addStretch(1)


class WheelGuard(QObject):
    """Leaves the wheel to the page: a control that passes below the pointer must not change by it. One that
    has the keyboard was meant.
    """

    _KINDS = (QAbstractSpinBox, QAbstractSlider, QComboBox)

    def watch(self, root: QWidget) -> None:
        """Guard everything below ``root`` that is there now and would take the wheel."""
        for widget in root.findChildren(QWidget):
            if isinstance(widget, self._KINDS) and not isinstance(widget, QScrollBar):
                widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
                widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Wheel and isinstance(watched, QWidget) and not watched.hasFocus():
            event.ignore()
            return True
        return False


class ScrollPage(QScrollArea):
    """A panel's column of sections; scrolls up and down, never sideways. The wheel scrolls it, wherever the
    pointer is.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        body = QWidget()
        self.column = QVBoxLayout(body)
        self.column.setContentsMargins(3 * GRID, 3 * GRID, 3 * GRID, 3 * GRID)
        self.column.setSpacing(2 * GRID)
        self.setWidget(body)
        self._guard = WheelGuard(self)

    def showEvent(self, event: QShowEvent) -> None:
        """What is in the page is known by now."""
        super().showEvent(event)
        self._guard_wheel()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Controls that come later are seen by the layout that they ask for."""
        if event.type() == QEvent.Type.LayoutRequest:
            self._guard_wheel()
        return super().eventFilter(watched, event)

    def _guard_wheel(self) -> None:
        body = self.widget()
        if body is not None:
            self._guard.watch(body)

    def minimumSizeHint(self) -> QSize:
        """Never narrower than what it holds: nothing is cut off at the side."""
        body = self.widget()
        wide = body.minimumSizeHint().width() if body is not None else 0
        return QSize(wide + self.verticalScrollBar().sizeHint().width(), 20 * GRID)
