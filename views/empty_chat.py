"""What stands in the chat before the first message: what it is for, and what to try."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from views.theme import TITLE, Theme

#: Example prompts that the built-in model can take, too: a title, and the text that goes into the input.
EXAMPLES = (
    ("Tell a fable", "Write a fable about a fox and a crow."),
    (
        "Answer from a text",
        "[1] The Nile is 6,650 kilometres long.\n[2] The Danube is 2,850 kilometres long.\n\n"
        "How long is the Danube?",
    ),
    ("Make a list", "Name five animals."),
    ("Write a recipe", "How do I make tomato soup?"),
)


class EmptyChat(QWidget):
    """Examples as buttons; the text of a chosen one is put into the input."""

    example_chosen = Signal(str)
    #: The one thing that helps when no model is loaded: choose one.
    model_wanted = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("emptyChat")
        self._title = QLabel(self)
        self._title.setFont(theme.font(TITLE, bold=True))
        self._title.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self._text = QLabel(self)
        self._text.setProperty("tone", "muted")
        self._text.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self._text.setWordWrap(True)
        self._text.setMaximumWidth(480)
        self._open = QPushButton("Choose a model", self)
        self._open.setObjectName("emptyChooseModel")
        self._open.setProperty("kind", "primary")
        self._open.clicked.connect(self.model_wanted)
        self._grid = QGridLayout()
        self._grid.setSpacing(8)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setColumnStretch(0, 1)
        self._grid.setColumnStretch(1, 1)
        self._examples: list[ExampleCard] = []
        self._column = column = QVBoxLayout(self)
        column.setContentsMargins(24, 24, 24, 24)
        column.setSpacing(12)
        column.addStretch(2)
        column.addWidget(self._title)
        words = QHBoxLayout()
        words.addStretch(1)
        words.addWidget(self._text, 100)
        words.addStretch(1)
        column.addLayout(words)
        column.addSpacing(12)
        column.addWidget(self._open, 0, Qt.AlignmentFlag.AlignHCenter)
        self._cards = QWidget(self)
        self._cards.setMaximumWidth(600)
        self._cards.setLayout(self._grid)
        self._row = row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(self._cards, 100)
        row.addStretch(1)
        column.addLayout(row)
        column.addStretch(3)
        self.set_examples(EXAMPLES)
        self.set_state("ready")

    def set_examples(self, examples: Sequence[tuple[str, str]]) -> None:
        """Offer these prompts, two in a row: title and text."""
        for button in self._examples:
            button.deleteLater()
        self._examples = []
        for number, (title, text) in enumerate(examples):
            card = ExampleCard(title, text, self)
            card.setObjectName(f"example{number}")
            card.chosen.connect(self.example_chosen)
            self._grid.addWidget(card, number // 2, number % 2)
            self._examples.append(card)

    def set_state(self, state: str, detail: str = "") -> None:
        """ "ready", "loading" (``detail``: the model's name) or "no-model" (``detail``: why, if known)."""
        titles = {
            "ready": "Ask something",
            "loading": "Getting the model ready",
            "no-model": "No model is loaded",
        }
        texts = {
            "ready": "Then switch to Tokens: see how sure the model was of every word, "
            "and what else it could have said.",
            "loading": f"{detail or 'The model'} is being loaded. "
            "You can write already; it answers as soon as it can.",
            "no-model": detail
            or "Choose the built-in model, or drop a model's folder or a GGUF file on this window.",
        }
        self._title.setText(titles[state])
        self._text.setText(texts[state])
        self._open.setVisible(state == "no-model")
        self._cards.setVisible(state != "no-model")
        self._fit_examples()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit_examples()

    def _fit_examples(self) -> None:
        """In a low window there are fewer examples (the last ones are short), but their words are whole."""
        for first in (0, 2, len(self._examples)):
            for number, card in enumerate(self._examples):
                card.setVisible(number >= first)
            for layout in (self._grid, self._row, self._column):
                layout.invalidate()
            self._cards.updateGeometry()
            if self._column.totalHeightForWidth(self.width()) <= self.height():
                break


class ExampleCard(QPushButton):
    """A button with a title and a text that wraps."""

    chosen = Signal(str)

    def __init__(self, title: str, text: str, parent: QWidget) -> None:
        super().__init__(parent)
        self._words = text
        self.setProperty("kind", "example")
        self.setAccessibleName(f"Example: {text}")
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 8, 12, 10)
        column.setSpacing(4)
        for words, tone in ((title, "text"), (text, "muted")):
            label = QLabel(words, self)
            label.setProperty("tone", tone)
            if tone == "text":
                label.setProperty("weight", "strong")
            label.setWordWrap(True)
            label.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
            column.addWidget(label)
        column.addStretch(1)
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.clicked.connect(self._tell)

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        layout = self.layout()
        return layout.totalHeightForWidth(width) if layout is not None else 0

    def sizeHint(self) -> QSize:
        return QSize(240, self.heightForWidth(240))

    def minimumSizeHint(self) -> QSize:
        return QSize(120, self.heightForWidth(max(120, self.width())))

    def _tell(self) -> None:
        self.chosen.emit(self._words)
