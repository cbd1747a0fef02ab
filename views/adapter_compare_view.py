"""What adapters change in a conversation: the reply tinted by it, and two distributions side by side."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QTextCharFormat, QTextCursor
from PySide6.QtWidgets import (
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QTextEdit,
    QVBoxLayout,
    QWidget,
)

from views.legend import Legend, LegendItem
from views.models.adapters import AdaptersModel
from views.paint import diverging
from views.pair_bars import PairBars
from views.panel_parts import Ink, heading, note
from views.reply_text import FULL
from views.sheet import Sheet
from views.theme import GRID, READING, Theme


class AdapterCompareView(Sheet):
    """A sheet over the window.

    Signals:
        cancel_requested: Stop reading.
    """

    cancel_requested = Signal()

    def __init__(self, model: AdaptersModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__("Without and with the adapters", theme, width=980, height=560, parent=parent)
        self.setObjectName("adapterCompareView")
        self._model, self._theme = model, theme
        self.text = _ComparedText(model, theme)
        self.bars = PairBars(theme)
        self._which = heading("", theme)
        self._which.setObjectName("comparedWhich")
        self._words = note("", theme)
        self._words.setObjectName("comparedWords")
        left, right = QVBoxLayout(), QVBoxLayout()
        left.addWidget(heading("The reply", theme))
        left.addWidget(self.text, 1)
        left.addWidget(
            note(
                "Teal: likelier with the adapters, orange: less likely (full colour from 4 nats on). Click a "
                "token, or walk with left and right, for its candidates.",
                theme,
            )
        )
        right.addWidget(self._which)
        right.addWidget(Legend((LegendItem("without", "raw"), LegendItem("with adapters", "sampled")), theme))
        area = QScrollArea()
        area.setWidget(self.bars)
        area.setWidgetResizable(True)
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        right.addWidget(area, 1)
        self.following = QPushButton("What comes next")
        self.following.setObjectName("comparedFollowing")
        self.following.clicked.connect(lambda: model.choose(None))
        right.addWidget(self.following, 0, Qt.AlignmentFlag.AlignLeft)
        row = QHBoxLayout()
        row.setSpacing(4 * GRID)
        row.addLayout(left, 3)
        row.addLayout(right, 2)
        self.column.addLayout(row, 1)
        self.column.addWidget(self._words)
        self._bar, self._stop = QProgressBar(), QPushButton("Stop")
        self._bar.setRange(0, 0)
        self._bar.setTextVisible(False)
        self._stop.clicked.connect(self.cancel_requested)
        below = QHBoxLayout()
        below.addWidget(self._bar, 1)
        below.addWidget(self._stop)
        self.column.addLayout(below)
        self._problem = Ink("", theme, tone="warning", wrap=True)
        self.column.addWidget(self._problem)
        model.comparison_changed.connect(self._show)
        theme.changed.connect(self._show)
        self._show()

    def first_focus(self) -> QWidget:
        """The reply, where the arrow keys walk."""
        return self.text

    def _show(self) -> None:
        model, found = self._model, self._model.compared
        working = model.state == "working"
        self._bar.setVisible(working)
        self._stop.setVisible(working)
        self._problem.setText(model.failure)
        self._problem.setVisible(bool(model.failure))
        self.text.refresh()
        self.following.setVisible(model.token is not None)
        if found is None:
            self._which.setText("")
            self._words.setText("")
            self.bars.show_rows((), None)
            return
        if model.token is None:
            self._which.setText("What comes next")
            self.bars.show_rows(found.following, None)
        else:
            token = found.tokens[model.token]
            self._which.setText("In the place of " + repr(token.text))
            self.bars.show_rows(token.candidates, token.id)
        self._words.setText(_summary(model))


class _ComparedText(QTextEdit):
    """The reply, each token tinted by its difference; read only."""

    def __init__(self, model: AdaptersModel, theme: Theme) -> None:
        super().__init__()
        self.setObjectName("comparedReply")
        self.setAccessibleName("The reply, tinted by what the adapters change")
        self.setReadOnly(True)
        self.setFont(theme.font(READING))
        self._model, self._theme = model, theme
        self._ends: list[int] = []

    def refresh(self) -> None:
        """Write the tokens anew."""
        found, colors = self._model.compared, self._theme.colors
        scrolled = self.verticalScrollBar().value()
        self.clear()
        self._ends = []
        cursor = QTextCursor(self.document())
        for place, token in enumerate(found.tokens if found is not None else ()):
            look = QTextCharFormat()
            shift = (token.adapted - token.base) / FULL
            look.setBackground(diverging(shift, colors.surface, colors.text).background)
            look.setToolTip(self._model.token_words(place))
            look.setFontUnderline(place == self._model.token)
            cursor.insertText(token.text, look)
            self._ends.append(cursor.position())
        self.verticalScrollBar().setValue(scrolled)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Choose the token that was clicked."""
        super().mouseReleaseEvent(event)
        at = self.cursorForPosition(event.position().toPoint()).position()
        place = next((place for place, end in enumerate(self._ends) if at < end), None)
        if place is not None and not self.textCursor().hasSelection():
            self._model.choose(place)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Left and right walk the tokens; beyond the last one is what comes next."""
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()))
        if step is None or not self._ends:
            super().keyPressEvent(event)
            return
        place = len(self._ends) if self._model.token is None else self._model.token
        place = min(max(0, place + step), len(self._ends))
        self._model.choose(None if place == len(self._ends) else place)


def _summary(model: AdaptersModel) -> str:
    found = model.compared
    assert found is not None
    names = ", ".join(f"{each.name} × {each.scale:g}" for each in found.adapters)
    shift = sum(token.adapted - token.base for token in found.tokens)
    count = len(found.tokens)
    reply = (
        f" The whole reply is {abs(shift):.2f} nats {'likelier' if shift >= 0 else 'less likely'} with "
        f"{'it' if len(found.adapters) == 1 else 'them'} ({shift / count:+.2f} a token)."
        if count
        else ""
    )
    chosen = f" {model.token_words(model.token)}." if model.token is not None else ""
    return f"{names}.{reply} The next token's distribution moves by {found.divergence:.3f} nats (KL).{chosen}"
