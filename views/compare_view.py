"""Two replies side by side: what differs, and how likely each token was under the other setting."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from views.models.side_by_side import SideBySideModel
from views.panel_parts import Ink, heading, note
from views.reply_text import ReplyText
from views.sheet import Sheet
from views.theme import Theme
from views.throttle import Throttle


class CompareView(Sheet):
    """A sheet over the window.

    Signals:
        cancel_requested: Stop writing.
    """

    cancel_requested = Signal()

    def __init__(self, model: SideBySideModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__("With and without", theme, width=980, height=520, parent=parent)
        self.setObjectName("withWithoutView")
        self._model, self._theme = model, theme
        self._texts: list[ReplyText] = []
        row = QHBoxLayout()
        for side in model.sides:
            column = QVBoxLayout()
            column.addWidget(heading(side.title, theme))
            text = ReplyText(f"Reply {side.title.lower()} the factors", theme)
            text.setObjectName(f"reply{side.title}")
            self._texts.append(text)
            column.addWidget(text, 1)
            row.addLayout(column, 1)
        self.column.addLayout(row, 1)
        self._legend = note(
            "Underlined: not in the other reply. Teal: likelier here than under the other setting; orange: "
            "less likely (full colour from 4 nats on). Point at a token for both probabilities.",
            theme,
        )
        self.column.addWidget(self._legend)
        self._bar, self._stop = QProgressBar(), QPushButton("Stop")
        self._bar.setRange(0, 0)
        self._bar.setTextVisible(False)
        self._stop.clicked.connect(self.cancel_requested)
        self._problem = Ink("", theme, tone="warning", wrap=True)
        below = QHBoxLayout()
        below.addWidget(self._bar, 1)
        below.addWidget(self._stop)
        self.column.addLayout(below)
        self.column.addWidget(self._problem)
        self._throttle = Throttle(self._show, 100, self)
        model.changed.connect(self._throttle.call)
        theme.changed.connect(self._throttle.call)
        self._show()

    def _show(self) -> None:
        self._bar.setVisible(self._model.running)
        self._stop.setVisible(self._model.running)
        self._problem.setText(self._model.problem)
        self._problem.setVisible(bool(self._model.problem))
        ended = self._model.sides[0].done and self._model.sides[1].done
        for side, text, different in zip(
            self._model.sides, self._texts, self._model.differing(), strict=True
        ):
            text.show_side(side, different if ended else set())
