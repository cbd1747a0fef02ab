"""Entering a server: its address, its key, and which of its models to use."""

from __future__ import annotations

from typing import Final, get_args

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QWidget,
)

from inference.events import Server, ServerKind
from views.models.servers import ServersModel
from views.panel_parts import Ink, note
from views.sheet import Sheet
from views.theme import GRID, Theme

_WIDTH, _HEIGHT = 150 * GRID, 126 * GRID
_KINDS: Final[dict[str, str]] = {
    "vllm": "vLLM",
    "llama.cpp": "llama.cpp server",
    "llama-cpp-python": "llama-cpp-python",
    "lm-studio": "LM Studio",
    "ollama": "Ollama",
    "openai": "OpenAI",
    "transformers": "transformers serve",
    "unknown": "Another one",
}
assert set(_KINDS) == set(get_args(ServerKind))
_SECONDS: Final = (
    ("connect_seconds", "to connect", 1.0, "How long to wait until the server answers at all."),
    ("first_seconds", "to begin", 1.0, "How long it may read the prompt."),
    ("pause_seconds", "between words", 1.0, "How long it may pause in the middle of a reply."),
)


class ServerSheet(Sheet):
    """A form. Nothing is sent anywhere before a button is pressed.

    Args:
        model: What is known of the server.
        theme: Colours and fonts.
        parent: The window that it opens over.

    Signals:
        address_edited: What stands in the address field.
        look_requested: Ask this :class:`~inference.events.Server` for its models, with this key (None: the
            one that is kept).
        look_cancelled: Ask no longer.
        save_requested: Keep this server, with this key (None: as it is).
        remove_requested: Forget the server that is being changed.
    """

    address_edited = Signal(str)
    look_requested = Signal(object, object)
    look_cancelled = Signal()
    save_requested = Signal(object, object)
    remove_requested = Signal()

    def __init__(self, model: ServersModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__("A model on a server", theme, width=_WIDTH, height=_HEIGHT, parent=parent)
        self.setObjectName("serverSheet")
        self._model, self._theme = model, theme
        self._key_typed = False
        self.url = _field("serverUrl", "Address of the server", "http://127.0.0.1:8080/v1")
        self.key = _field("serverKey", "API key", "")
        self.key.setEchoMode(QLineEdit.EchoMode.Password)
        self.name = _field("serverName", "Name in the list of models", "the model's own name")
        self.model_name = QComboBox()
        self.kind = QComboBox()
        self.seconds: dict[str, QDoubleSpinBox] = {}
        self.look = _button("serverLook", "Look for its models")
        self.save = _button("saveServer", "Save")
        self.remove = _button("removeServer", "Remove")
        self.notice = Ink("", theme, wrap=True)
        self.notice.setObjectName("serverNotice")
        self._problem = Ink("", theme, tone="danger", wrap=True)
        self._problem.setObjectName("serverProblem")
        self._where = note("", theme)
        self._lay_out()
        self._connect()
        self._open()

    def _lay_out(self) -> None:
        self.column.addWidget(
            note(
                "Any server with an OpenAI-compatible API: vLLM, llama.cpp, LM Studio, Ollama and others. "
                "The model runs there; steering, the lens and attention maps work with models on this "
                "machine only.",
                self._theme,
            )
        )
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setHorizontalSpacing(4 * GRID)
        form.setVerticalSpacing(2 * GRID)
        form.addRow("Address", self.url)
        form.addRow("", self.notice)
        form.addRow("API key", self.key)
        form.addRow("", self._where)
        self.model_name.setObjectName("serverModel")
        self.model_name.setAccessibleName("Model on the server")
        self.model_name.setEditable(True)
        self.model_name.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        row = QHBoxLayout()
        row.setSpacing(2 * GRID)
        row.addWidget(self.model_name, 1)
        row.addWidget(self.look)
        form.addRow("Model", row)
        form.addRow("Name", self.name)
        self.kind.setObjectName("serverKind")
        self.kind.setAccessibleName("Program that serves the model")
        self.kind.setToolTip("What the server takes and tells depends on it.")
        self.kind.addItem("Found out when connecting", None)
        for kind, title in _KINDS.items():
            self.kind.addItem(title, kind)
        form.addRow("Program", self.kind)
        form.addRow("Seconds", self._timeouts())
        self.column.addLayout(form)
        self.column.addWidget(self._problem)
        self.column.addStretch(1)
        self.save.setProperty("kind", "primary")
        self.remove.setProperty("kind", "quiet")
        buttons = QHBoxLayout()
        buttons.addWidget(self.save)
        buttons.addStretch(1)
        buttons.addWidget(self.remove)
        self.column.addLayout(buttons)

    def _timeouts(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(2 * GRID)
        for name, words, least, tip in _SECONDS:
            box = QDoubleSpinBox()
            box.setObjectName("server" + name.title().replace("_", ""))
            box.setAccessibleName(f"Seconds {words}")
            box.setToolTip(tip)
            box.setDecimals(0)
            box.setRange(least, 3600.0)
            box.lineEdit().setTextMargins(GRID, 0, GRID, 0)
            box.setFixedWidth(self.fontMetrics().horizontalAdvance("3600") + 8 * GRID)
            self.seconds[name] = box
            row.addWidget(box)
            row.addWidget(QLabel(words))
        row.addStretch(1)
        return row

    def _connect(self) -> None:
        self.url.textChanged.connect(self._address_changed)
        self.key.textEdited.connect(self._key_edited)
        self.model_name.editTextChanged.connect(self._show_buttons)
        self.look.clicked.connect(self._look)
        self.save.clicked.connect(self._save)
        self.remove.clicked.connect(self.remove_requested)
        self._model.opened.connect(self._open)
        self._model.changed.connect(self._show)

    def first_focus(self) -> QWidget:
        """The address."""
        return self.url

    def entered(self) -> Server:
        """What stands in the form."""
        return Server(
            name=self.name.text().strip(),
            url=self.url.text().strip(),
            model=self.model_name.currentText().strip(),
            kind=self.kind.currentData(),
            **{name: box.value() for name, box in self.seconds.items()},
        )

    # --- showing

    def _open(self) -> None:
        """Fill the form."""
        shown = self._model.server or Server(url="", model="")
        self._key_typed = False
        self.key.clear()
        with QSignalBlocker(self.model_name):
            self.model_name.clear()
            self.model_name.setEditText(shown.model)
        self.url.setText(shown.url)
        self.name.setText(shown.name)
        self.kind.setCurrentIndex(max(0, self.kind.findData(shown.kind)))
        for name, box in self.seconds.items():
            box.setValue(getattr(shown, name))
        self.address_edited.emit(self.url.text())
        self._show()

    def _show(self) -> None:
        model = self._model
        self.key.setPlaceholderText("kept; type another one" if model.has_key else "none")
        self._where.setText(f"Kept in {model.key_file}, which only you may read; sent to this server only.")
        self.notice.setText(model.notice)
        self.notice.set_tone("warning" if model.warns else "muted")
        self.notice.setVisible(bool(model.notice))
        if model.found is not None:
            self._offer(model.found.models)
        words = f"{model.fault.message} {model.fault.hint}".strip() if model.fault is not None else ""
        if model.found is not None and not words and not model.found.models:
            words = "The server lists no models: type the name of one."
        self._problem.setText(words)
        self._problem.setVisible(bool(words))
        self.remove.setVisible(model.server is not None)
        self._show_buttons()

    def _offer(self, names: tuple[str, ...]) -> None:
        chosen = self.model_name.currentText()
        if [self.model_name.itemText(row) for row in range(self.model_name.count())] == list(names):
            return
        with QSignalBlocker(self.model_name):
            self.model_name.clear()
            self.model_name.addItems(list(names))
            self.model_name.setEditText(chosen or next(iter(names), ""))

    def _show_buttons(self) -> None:
        entered = self.entered()
        self.look.setText("Stop looking" if self._model.looking else "Look for its models")
        self.look.setEnabled(bool(entered.url))
        self.save.setEnabled(bool(entered.url and entered.model))

    # --- what the user does

    def _address_changed(self, text: str) -> None:
        self.address_edited.emit(text)
        self._show_buttons()

    def _key_edited(self) -> None:
        self._key_typed = True

    def _key(self) -> str | None:
        return self.key.text().strip() if self._key_typed else None

    def _look(self) -> None:
        if self._model.looking:
            self.look_cancelled.emit()
        else:
            self.look_requested.emit(self.entered(), self._key())

    def _save(self) -> None:
        self.save_requested.emit(self.entered(), self._key())


def _field(object_name: str, title: str, placeholder: str) -> QLineEdit:
    field = QLineEdit()
    field.setObjectName(object_name)
    field.setAccessibleName(title)
    field.setPlaceholderText(placeholder)
    return field


def _button(object_name: str, text: str) -> QPushButton:
    button = QPushButton(text)
    button.setObjectName(object_name)
    return button
