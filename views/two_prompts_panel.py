"""Two versions of a prompt side by side: their words, the replies, and what carried each."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QTextCharFormat, QTextCursor
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QTextEdit,
    QVBoxLayout,
    QWidget,
)

from views.keys import FieldKeys
from views.models.explaining import ExplanationModel
from views.models.text_range import TextRange
from views.models.text_units import to_units
from views.models.two_prompts import TwoPromptsModel
from views.panel_parts import Ink, heading, note
from views.reply_text import ReplyText
from views.score_legend import ScoreLegend
from views.score_ranking import ScoreRanking
from views.theme import BODY, GRID, Theme
from views.throttle import Throttle
from views.tinted_text import TintedText

_NAMES = ("A", "B")
_HINTS = (
    "Write a prompt",
    "The same prompt with a change, in one fact or one word. Both are answered under the same settings; the "
    "replies are compared token by token and explained.",
)


class TwoPromptsPanel(QWidget):
    """The window's mode for comparing.

    Args:
        model: Versions and results; the versions are changed by the widgets here.
        theme: Colours and fonts.

    Signals:
        run_requested: Have both answered.
        cancel_requested: Stop; what was computed stays.
        question_requested: Take the last question of the open chat as both versions.
        example_requested: Show what this is on an example.
    """

    run_requested = Signal()
    cancel_requested = Signal()
    question_requested = Signal()
    example_requested = Signal()

    def __init__(self, model: TwoPromptsModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("compareView")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._model, self._theme = model, theme
        self.columns = tuple(_Version(number, model, theme) for number in range(2))
        column = QVBoxLayout(self)
        column.setContentsMargins(4 * GRID, 3 * GRID, 4 * GRID, 3 * GRID)
        column.setSpacing(2 * GRID)
        column.addLayout(self._head())
        body = QWidget()
        sides = QHBoxLayout(body)
        sides.setContentsMargins(0, 0, 0, 0)
        sides.setSpacing(6 * GRID)
        for side in self.columns:
            sides.addWidget(side, 1)
        area = QScrollArea()
        area.setWidget(body)
        area.setWidgetResizable(True)
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        column.addWidget(area, 1)
        column.addLayout(self._foot())
        self._throttle = Throttle(self._show, 100, self)
        model.changed.connect(self._throttle.call)
        model.texts_changed.connect(self._show_texts)
        self._show_texts()
        self._show()

    def _head(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.addWidget(heading("Two versions of a prompt", self._theme))
        row.addStretch(1)
        self.example = QPushButton("Show an example")
        self.example.setObjectName("compareExample")
        self.example.clicked.connect(self.example_requested)
        self.question = QPushButton("Take the last question")
        self.question.setObjectName("compareQuestion")
        self.question.setToolTip("Puts the last question of the open chat into both versions.")
        self.question.clicked.connect(self.question_requested)
        self.kind = QComboBox()
        self.kind.setObjectName("compareKind")
        self.kind.setAccessibleName("How the versions are read")
        self.kind.addItem("As a message of a chat", "chat")
        self.kind.addItem("As raw text to continue", "raw")
        self.kind.activated.connect(lambda _: self._model.set_kind(self.kind.currentData()))
        for part in (self.example, self.question, self.kind):
            row.addWidget(part)
        return row

    def _foot(self) -> QVBoxLayout:
        self.run = QPushButton("Run both")
        self.run.setObjectName("compareRun")
        self.run.setProperty("kind", "primary")
        self.run.setToolTip("The same settings and the same seed for both.")
        self.run.clicked.connect(self.run_requested)
        self.stop = QPushButton("Stop")
        self.stop.setObjectName("compareStop")
        self.stop.clicked.connect(self.cancel_requested)
        self.explain = QCheckBox("and explain both replies")
        self.explain.setObjectName("compareExplain")
        self.explain.setChecked(self._model.explain)
        self.explain.toggled.connect(self._set_explain)
        self._bar = QProgressBar()
        self._bar.setRange(0, 0)
        self._bar.setTextVisible(False)
        self._stage = Ink("", self._theme, tone="muted")
        self._problem = Ink("", self._theme, tone="warning", wrap=True)
        self._problem.setObjectName("compareProblem")
        row = QHBoxLayout()
        for part in (self.run, self.explain, self.stop):
            row.addWidget(part)
        row.addWidget(self._stage)
        row.addWidget(self._bar, 1)
        row.addStretch(1)
        column = QVBoxLayout()
        column.addWidget(
            note(
                "Underlined: not in the other one. Teal: likelier here than under the other prompt; orange: "
                "less likely (full colour from 4 nats on). Point at a token for both probabilities.",
                self._theme,
            )
        )
        column.addWidget(self._problem)
        column.addLayout(row)
        return column

    def _show_texts(self) -> None:
        for side, ranges in zip(self.columns, self._model.differing_words(), strict=True):
            side.show_text(ranges)
        with QSignalBlocker(self.kind):
            self.kind.setCurrentIndex(self.kind.findData(self._model.kind))
        self._show_state()

    def _show(self) -> None:
        for side, different in zip(self.columns, self._model.differing_tokens(), strict=True):
            side.show_reply(different)
        self._show_state()

    def _show_state(self) -> None:
        model = self._model
        self.run.setVisible(not model.running)
        self.run.setEnabled(model.ready)
        self.explain.setVisible(not model.running)
        self.stop.setVisible(model.running)
        self._bar.setVisible(model.running)
        self._stage.setText(model.stage)
        self._stage.setVisible(model.running)
        self._problem.setText(model.problem)
        self._problem.setVisible(bool(model.problem))
        self.example.setVisible(not any(model.texts))

    def _set_explain(self, on: bool) -> None:
        self._model.explain = on


class _Version(QWidget):
    """One version: its editor, the reply, and the explanation."""

    def __init__(self, number: int, model: TwoPromptsModel, theme: Theme) -> None:
        super().__init__()
        self._number, self._model, self._theme = number, model, theme
        name = _NAMES[number]
        self.editor = QPlainTextEdit()
        self.editor.setObjectName(f"prompt{name}")
        self.editor.setAccessibleName(f"Version {name} of the prompt")
        self.editor.setPlaceholderText(_HINTS[number])
        self.editor.setFont(theme.font(BODY))
        self.editor.setTabChangesFocus(True)
        self.editor.setFixedHeight(36 * GRID)
        self.editor.textChanged.connect(lambda: model.set_text(number, self.editor.toPlainText()))
        FieldKeys(self.editor)
        self.reply = ReplyText(f"Reply to {name}", theme)
        self.reply.setObjectName(f"reply{name}")
        self.reply.setFixedHeight(30 * GRID)
        self._sum = note("", theme)
        self._why = _Explanation(name, model.explanations[number], theme)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(GRID)
        column.addWidget(_title(f"Version {name}", self.editor, theme))
        column.addWidget(self.editor)
        column.addSpacing(GRID)
        column.addWidget(_title(f"Reply to {name}", self.reply, theme))
        column.addWidget(self.reply)
        column.addWidget(self._sum)
        column.addWidget(self._why)
        column.addStretch(1)

    def show_text(self, different: list[TextRange]) -> None:
        """Show the version, with the words that only it has underlined."""
        text = self._model.texts[self._number]
        if text != self.editor.toPlainText():
            with QSignalBlocker(self.editor):
                self.editor.setPlainText(text)
        other = self._model.texts[1 - self._number]
        marks = []
        for each in different if other.strip() else ():
            look = QTextCharFormat()
            look.setFontUnderline(True)
            look.setBackground(self._theme.color("selection"))
            cursor = QTextCursor(self.editor.document())
            start, end = to_units(text, each.start, each.end)
            cursor.setPosition(start)
            cursor.setPosition(end, QTextCursor.MoveMode.KeepAnchor)
            mark = QTextEdit.ExtraSelection()
            mark.cursor, mark.format = cursor, look
            marks.append(mark)
        self.editor.setExtraSelections(marks)

    def show_reply(self, different: set[int]) -> None:
        """Show the reply as far as it goes, and how likely it is."""
        side = self._model.sides[self._number]
        self.reply.show_side(side, different)
        self._sum.setText(side.summary)
        self._sum.setVisible(bool(side.summary))


class _Explanation(QWidget):
    """Which words carried a reply; shown once there are scores."""

    def __init__(self, name: str, model: ExplanationModel, theme: Theme) -> None:
        super().__init__()
        self._model = model
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 2 * GRID, 0, 0)
        column.setSpacing(GRID)
        column.addWidget(heading("What carried it", theme))
        column.addWidget(ScoreLegend(model, theme))
        text, ranking = TintedText(model, theme), ScoreRanking(model, theme)
        text.setObjectName(f"explanationText{name}")
        ranking.setObjectName(f"explanationRanking{name}")
        column.addWidget(text)
        column.addWidget(ranking)
        self._problem = note("", theme)
        column.addWidget(self._problem)
        model.result_changed.connect(self._show)
        model.state_changed.connect(self._show)
        self._show()

    def _show(self) -> None:
        self.setVisible(self._model.result is not None)
        self._problem.setText(self._model.problem)
        self._problem.setVisible(bool(self._model.problem))


def _title(text: str, buddy: QWidget, theme: Theme) -> QLabel:
    label = heading(text, theme)
    label.setBuddy(buddy)
    return label
