"""Two lists among the controls: stop strings, and tokens that are made more or less likely."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import (
    QDoubleSpinBox,
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from inference.events import SamplingControls
from views.models.candidates import visible_token
from views.models.controls import ControlsModel
from views.panel_parts import heading, note
from views.theme import GRID, Theme
from views.token_finder import TokenFinder

_ESCAPES = {"\\n": "\n", "\\t": "\t", "\\\\": "\\"}


def read_escapes(text: str) -> str:
    r"""Turn ``\n``, ``\t`` and ``\\`` as typed into the characters that they stand for."""
    out, position = [], 0
    while position < len(text):
        pair = text[position : position + 2]
        out.append(_ESCAPES.get(pair, text[position]))
        position += 2 if pair in _ESCAPES else 1
    return "".join(out)


def write_escapes(text: str) -> str:
    """The other way round: what to show for a stop string."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")


class _EntryList(QListWidget):
    """A short list that is as high as its rows and not there when it is empty; Delete takes a row away."""

    def __init__(self, object_name: str, name: str) -> None:
        super().__init__()
        self.setObjectName(object_name)
        self.setAccessibleName(name)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def refill(self, rows: list[tuple[str, object]]) -> None:
        """Show rows of (text, value)."""
        chosen = self.currentRow()
        with QSignalBlocker(self):
            self.clear()
            for text, value in rows:
                item = QListWidgetItem(text, self)
                item.setData(Qt.ItemDataRole.UserRole, value)
            self.setCurrentRow(min(chosen, self.count() - 1))
        self.setVisible(bool(rows))
        if rows:
            self.setFixedHeight(min(6, len(rows)) * max(20, self.sizeHintForRow(0)) + 4)

    def chosen(self) -> object | None:
        """Value of the row that is chosen."""
        item = self.currentItem()
        value: object = item.data(Qt.ItemDataRole.UserRole) if item is not None else None
        return value


class StopEditor(QWidget):
    """Add and remove stop strings.

    Args:
        controls: Where the stop strings are.
        theme: Tones.
    """

    def __init__(self, controls: ControlsModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._controls = controls
        self.text = QLineEdit()
        self.text.setObjectName("stopStrings")
        self.text.setAccessibleName("New stop string")
        self.text.setPlaceholderText("Text that ends the reply, for example \\n\\n")
        self.text.setToolTip("The reply ends before this text; \\n is a line break, \\t a tab.")
        self.add = QPushButton("Add")
        self.add.setObjectName("stopAdd")
        self.remove = QPushButton("Remove")
        self.remove.setObjectName("stopRemove")
        self.list = _EntryList("stopList", "Stop strings")
        self.list.setFont(theme.mono())
        column = _column(self)
        column.addWidget(heading("Stop strings", theme))
        column.addLayout(_row(self.text, self.add))
        column.addWidget(self.list)
        self.remove.setProperty("kind", "quiet")
        column.addWidget(self.remove, 0, Qt.AlignmentFlag.AlignRight)
        self.text.returnPressed.connect(self._add)
        self.add.clicked.connect(self._add)
        self.remove.clicked.connect(self._remove)
        controls.changed.connect(self._show)
        self._show(controls.controls)

    def _show(self, controls: SamplingControls) -> None:
        self.list.refill([(write_escapes(stop), stop) for stop in controls.stop])
        self.remove.setVisible(bool(controls.stop))

    def _add(self) -> None:
        if text := read_escapes(self.text.text()):
            self._controls.set_stop((*self._controls.controls.stop, text))
            self.text.clear()

    def _remove(self) -> None:
        stops = self._controls.controls.stop
        chosen = self.list.chosen()
        gone = chosen if chosen in stops else stops[-1]
        self._controls.set_stop(tuple(stop for stop in stops if stop != gone))


class BiasEditor(QWidget):
    """Add and remove a bias, in logits, for single tokens.

    Args:
        controls: Where the biases are.
        theme: Tones.
    """

    def __init__(self, controls: ControlsModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._controls = controls
        self.finder = TokenFinder(theme)
        self.finder.chosen.connect(self._found)
        self._texts: dict[int, str] = {}
        self.token_id = QSpinBox()
        self.token_id.setObjectName("logitBias")
        self.token_id.setAccessibleName("Token id")
        self.token_id.setRange(0, 10_000_000)
        self.token_id.setPrefix("id ")
        self.bias = QDoubleSpinBox()
        self.bias.setObjectName("logitBiasValue")
        self.bias.setAccessibleName("Bias in logits")
        self.bias.setRange(-100.0, 100.0)
        self.bias.setDecimals(1)
        for number in (self.token_id, self.bias):
            number.setMinimumWidth(16 * GRID)
            number.lineEdit().setTextMargins(GRID, 0, GRID, 0)
            number.setAlignment(Qt.AlignmentFlag.AlignRight)
            number.lineEdit().returnPressed.connect(self._add)
        self.bias.setValue(-100.0)
        self.bias.setToolTip("Added to the token's logit: -100 forbids it, 5 makes it 148 times likelier.")
        self.add = QPushButton("Set")
        self.add.setObjectName("logitBiasAdd")
        self.remove = QPushButton("Remove")
        self.remove.setObjectName("logitBiasRemove")
        self.list = _EntryList("logitBiasList", "Biased tokens")
        self.list.setFont(theme.mono())
        column = _column(self)
        column.addWidget(heading("Logit bias", theme))
        column.addWidget(note("Or right-click a candidate in the Token tab.", theme))
        column.addWidget(self.finder)
        column.addLayout(_row(self.token_id, self.bias, self.add))
        column.addWidget(self.list)
        self.remove.setProperty("kind", "quiet")
        column.addWidget(self.remove, 0, Qt.AlignmentFlag.AlignRight)
        self.add.clicked.connect(self._add)
        self.remove.clicked.connect(self._remove)
        self.list.currentItemChanged.connect(self._chosen)
        controls.changed.connect(self._show)
        self._show(controls.controls)

    def _show(self, controls: SamplingControls) -> None:
        rows: list[tuple[str, object]] = []
        for token_id, bias in controls.logit_bias:
            text = self._controls.token_text(token_id)
            shown = f"{visible_token(text, token_id)}  " if text else ""
            rows.append((f"{shown}id {token_id}  {bias:+.1f} logits", token_id))
        self.list.refill(rows)
        self.remove.setVisible(bool(rows))

    def _add(self) -> None:
        token_id = self.token_id.value()
        self._controls.set_bias(token_id, self.bias.value(), self._texts.get(token_id, ""))

    def _found(self, token_id: int, text: str) -> None:
        self._texts[token_id] = text
        self.token_id.setValue(token_id)
        self.bias.setFocus()
        self.bias.selectAll()

    def set_vocabulary(self, size: int) -> None:
        """Ids go from 0 to one less than this."""
        self.token_id.setMaximum(max(0, size - 1))

    def _chosen(self) -> None:
        token_id = self.list.chosen()
        bias = dict(self._controls.controls.logit_bias).get(token_id) if isinstance(token_id, int) else None
        if isinstance(token_id, int) and bias is not None:
            self.token_id.setValue(token_id)
            self.bias.setValue(bias)

    def _remove(self) -> None:
        entries = self._controls.controls.logit_bias
        chosen = self.list.chosen()
        self._controls.set_bias(chosen if isinstance(chosen, int) else entries[-1][0], 0.0)


def _column(widget: QWidget) -> QVBoxLayout:
    column = QVBoxLayout(widget)
    column.setContentsMargins(0, 2 * GRID, 0, 0)
    column.setSpacing(GRID)
    return column


def _row(main: QWidget, *others: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setSpacing(GRID)
    row.addWidget(main, 1)
    for other in others:
        row.addWidget(other)
    return row
