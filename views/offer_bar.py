"""A bar below the modes that offers something once: what it is about, and a button for each answer."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from views.panel_parts import Ink, tool_button
from views.theme import GRID, Theme


class OfferBar(QFrame):
    """Comes with :meth:`offer`, goes with its cross or :meth:`withdraw`; never takes the keyboard.

    Args:
        name: Object name of the bar; the buttons' are made from it.
        theme: Colours and fonts.

    Signals:
        chosen: The name of the answer whose button was pressed.
    """

    chosen = Signal(str)

    def __init__(self, name: str, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self.setAccessibleName("Offer")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Maximum)
        self._buttons: list[QPushButton] = []
        sign = QLabel()
        theme.set_icon(sign, "info", "muted", size=20)
        self._message = Ink("", theme, bold=True, wrap=True)
        self._hint = Ink("", theme, wrap=True)
        close = tool_button(theme, "close", "Dismiss", f"{name}Dismiss")
        close.clicked.connect(self.withdraw)
        self._row = QHBoxLayout()
        self._row.setSpacing(2 * GRID)
        self._row.addStretch(1)
        words = QVBoxLayout()
        words.setSpacing(2)
        words.addWidget(self._message)
        words.addWidget(self._hint)
        words.addSpacing(GRID)
        words.addLayout(self._row)
        row = QHBoxLayout(self)
        row.setContentsMargins(4 * GRID, 2 * GRID, 2 * GRID, 2 * GRID)
        row.setSpacing(3 * GRID)
        row.addWidget(sign, 0, Qt.AlignmentFlag.AlignTop)
        row.addLayout(words, 1)
        row.addWidget(close, 0, Qt.AlignmentFlag.AlignTop)
        self.hide()

    def offer(self, message: str, hint: str, answers: Sequence[tuple[str, str]]) -> None:
        """Show the bar.

        Args:
            message: What it is about.
            hint: What can be done.
            answers: Name and text of each button.
        """
        self._message.setText(message)
        self._hint.setText(hint)
        self.setAccessibleDescription(f"{message} {hint}")
        while self._buttons:
            button = self._buttons.pop()
            self._row.removeWidget(button)
            button.deleteLater()
        for name, text in answers:
            button = QPushButton(text)
            button.setObjectName(f"{self.objectName()}-{name}")
            button.setProperty("answer", name)
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            button.clicked.connect(self._choose)
            self._row.addWidget(button)
            self._buttons.append(button)
        self.show()

    def withdraw(self) -> None:
        """Hide the bar."""
        self.hide()

    def _choose(self) -> None:
        self.chosen.emit(self.sender().property("answer"))
