"""What stands in the chat before the first message: what it is for, and what to try."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QGridLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from views.theme import Theme

#: Example prompts: a title, and the text that goes into the input.
EXAMPLES = (
    ("Tell a story", "Tell a short story about a lighthouse keeper and a storm."),
    ("Answer a question", "Which is the longest river in the world, and how do people measure it?"),
    ("Explain something", "Explain to a child why the sky is blue."),
    ("Write code", "Write a Python function that counts the vowels in a text."),
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
        self._title.setProperty("size", "title")
        self._title.setFont(theme.font(20, bold=True))
        self._title.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self._text = QLabel(self)
        self._text.setProperty("tone", "muted")
        self._text.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self._text.setWordWrap(True)
        self._open = QPushButton("Choose a model", self)
        self._open.setObjectName("emptyChooseModel")
        self._open.setProperty("kind", "primary")
        self._open.clicked.connect(self.model_wanted)
        self._grid = QGridLayout()
        self._grid.setSpacing(8)
        self._examples: list[QPushButton] = []
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 24, 24, 24)
        column.setSpacing(12)
        column.addStretch(2)
        column.addWidget(self._title)
        column.addWidget(self._text)
        column.addSpacing(12)
        column.addWidget(self._open, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addLayout(self._grid)
        column.addStretch(3)
        self.set_examples(EXAMPLES)
        self.set_state("ready")

    def set_examples(self, examples: Sequence[tuple[str, str]]) -> None:
        """Offer these prompts, two in a row: title and text."""
        for button in self._examples:
            button.deleteLater()
        self._examples = []
        for number, (title, text) in enumerate(examples):
            button = QPushButton(f"{title}\n{text}", self)
            button.setObjectName(f"example{number}")
            button.setProperty("kind", "example")
            button.setAccessibleName(f"Example: {text}")
            button.setToolTip(text)
            button.setMinimumWidth(120)
            button.clicked.connect(self._choose(text))
            self._grid.addWidget(button, number // 2, number % 2)
            self._examples.append(button)

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
        for button in self._examples:
            button.setVisible(state != "no-model")

    def _choose(self, text: str) -> Callable[[], None]:
        def chosen() -> None:
            self.example_chosen.emit(text)

        return chosen
