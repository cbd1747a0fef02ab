"""The bar across the top: the model, the mode, how fast it goes, how full the context is, and the menu."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QMenu, QToolButton, QWidget

from views.context_gauge import ContextGauge
from views.segments import Segments
from views.theme import BODY, CAPTION, Theme

#: Narrower than this (px) the bar leaves out the speed, which stands below each reply, and the model's size.
_RATE_WIDTH = 860


class HeaderBar(QFrame):
    """Signals: the model's button was pressed, or another mode was chosen (its name)."""

    model_clicked = Signal()
    mode_changed = Signal(str)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.setObjectName("headerBar")
        self.setFixedHeight(48)
        self.model_button = QToolButton(self)
        self.model_button.setObjectName("modelButton")
        self.model_button.setAccessibleName("Choose a model")
        self.model_button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.model_button.setIconSize(QSize(18, 18))
        self.model_button.clicked.connect(self.model_clicked)
        theme.set_icon(self.model_button, "cpu", "muted")
        self._modes = Segments(theme, self)
        self._modes.setObjectName("modes")
        self._modes.setAccessibleName("Mode")
        self._modes.chosen.connect(self.mode_changed)
        self._rate = QLabel(self)
        self._rate.setObjectName("tokenRate")
        self._rate.setAccessibleName("Speed")
        self._rate.setFont(theme.mono(CAPTION))
        self._rate.setProperty("tone", "muted")
        self.context = ContextGauge(theme, self)
        self.menu_button = QToolButton(self)
        self.menu_button.setObjectName("menuButton")
        self.menu_button.setAccessibleName("Menu")
        self.menu_button.setToolTip("Menu")
        self.menu_button.setIconSize(QSize(20, 20))
        self.menu_button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        theme.set_icon(self.menu_button, "menu", "muted")
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 0, 8, 0)
        row.setSpacing(12)
        row.addWidget(self.model_button, 1, Qt.AlignmentFlag.AlignLeft)
        row.addWidget(self._modes, 0, Qt.AlignmentFlag.AlignVCenter)
        right = QHBoxLayout()
        right.setSpacing(16)
        right.addStretch(1)
        right.addWidget(self._rate)
        right.addWidget(self.context)
        right.addWidget(self.menu_button)
        row.addLayout(right, 1)
        self._model = ("", "")
        self.set_model("", "")
        self.set_rate(None)

    def set_model(self, name: str, detail: str) -> None:
        """Show the loaded model ("Llama 3 8B", "NF4 · 5.2 GB"), or that there is none (empty name)."""
        self._model = (name, detail)
        words = f"{name}  ·  {detail}" if detail else name
        self.model_button.setToolTip(
            f"{words}\nChoose another model (Ctrl+O)" if name else "Choose a model (Ctrl+O)"
        )
        self.model_button.setAccessibleName(f"Model: {words}" if name else "Choose a model")
        self._fit_model()

    def add_mode(self, name: str, title: str) -> None:
        """Offer another mode; the tabs appear with the second one."""
        self._modes.add(name, title)
        self._modes.setVisible(self._modes.count > 1)

    def set_mode(self, name: str) -> None:
        """Mark a mode as the one that is shown."""
        self._modes.choose(name)

    def set_rate(self, tokens_per_second: float | None) -> None:
        """Show the speed of the reply; None: nothing was generated yet."""
        self._rate.setText("" if tokens_per_second is None else f"{tokens_per_second:,.0f} tok/s")
        self._rate.setVisible(bool(self._rate.text()) and self.width() >= _RATE_WIDTH)

    def set_context(self, used: int, total: int) -> None:
        """Show how many tokens of the context are in use."""
        self.context.set_fill(used, total)

    def set_menu(self, menu: QMenu) -> None:
        """The menu behind the button at the right."""
        self.menu_button.setMenu(menu)

    def resizeEvent(self, event: object) -> None:
        super().resizeEvent(event)  # type: ignore[arg-type]
        self._fit_model()

    def _fit_model(self) -> None:
        self._rate.setVisible(bool(self._rate.text()) and self.width() >= _RATE_WIDTH)
        self.context.set_short(self.width() < _RATE_WIDTH)
        name, detail = self._model
        if self.width() < _RATE_WIDTH:
            detail = ""
        metrics = QFontMetrics(self._theme.font(BODY))
        room = max(120, self.width() // 3 - 60)
        tail = f"   {detail}" if detail else ""
        name = metrics.elidedText(
            name or "Choose a model",
            Qt.TextElideMode.ElideMiddle,
            max(80, room - metrics.horizontalAdvance(tail)),
        )
        self.model_button.setText(f" {name}{tail}  ▾")
