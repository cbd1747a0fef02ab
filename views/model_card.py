"""The right half of the model picker: what the chosen model is, how to load it, and whether it fits."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QComboBox,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from inference.events import (
    ModelInfo,
    ModelInspected,
    ModelLoaded,
    Progress,
    RopeScaling,
    SingleTokens,
)
from views.draft_choice import DraftChoice
from views.fit_bar import FitBar
from views.models.format import format_bytes, format_count, format_seconds
from views.models.model_choice import ModelChoiceModel
from views.panel_parts import Ink, ScrollPage
from views.server_facts import server_facts, server_words
from views.theme import CAPTION, GRID, TITLE, Theme

QUANTIZATIONS: Final[dict[str, str]] = {
    "none": "As stored",
    "bf16": "16 bit (bf16)",
    "fp16": "16 bit (fp16)",
    "int8": "8 bit (int8)",
    "nf4": "4 bit (NF4)",
    "fp4": "4 bit (FP4)",
}
ROPE_NAMES: Final[dict[str, str]] = {"yarn": "YaRN", "dynamic": "Dynamic NTK", "linear": "Linear"}
#: How positions can be stretched: what the box says, and what it asks for.
STRETCHES: Final[dict[str, RopeScaling | None]] = {"As trained": None} | {
    f"{name} × {factor}": RopeScaling(kind=kind, factor=float(factor))  # type: ignore[arg-type]
    for kind, name in ROPE_NAMES.items()
    for factor in (2, 4, 8)
}
DEVICES: Final[dict[str, str]] = {"auto": "Best there is", "cpu": "CPU", "cuda": "GPU"}


class ModelCard(QWidget):
    """Facts, options, the memory bar, and the buttons that load and unload.

    Args:
        model: The choice and what is known of it.
        theme: Colours and fonts.

    Signals:
        load_requested: The :class:`~views.models.model_choice.LoadChoice`.
        unload_requested, cancel_load_requested.
        template_requested: Show the chat template of the loaded model.
        edit_server_requested: Change the server that the chosen model (its source) is on.
        draft_requested: Source of the model that shall guess ahead for the loaded one; "" for none.
    """

    template_requested = Signal()
    draft_requested = Signal(str)
    edit_server_requested = Signal(str)

    load_requested = Signal(object)
    unload_requested = Signal()
    cancel_load_requested = Signal()

    def __init__(self, model: ModelChoiceModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model, self._theme = model, theme
        self._name = Ink("", theme, size=TITLE, wrap=True)
        self._facts = QGridLayout()
        self._facts_of: ModelInfo | None = None
        self.quantization, self.device = QComboBox(), QComboBox()
        self.context = QSpinBox()
        self.stretch = QComboBox()
        self.fit = FitBar(theme)
        self._state = Ink("", theme, tone="muted", wrap=True)
        self._hint = Ink("", theme, tone="muted", wrap=True)
        self.load = QPushButton("Load")
        self.unload = QPushButton("Unload")
        self.template = QPushButton("Chat template …")
        self.edit_server = QPushButton("Edit …")
        self.cancel = QPushButton("Cancel")
        self.bar = QProgressBar()
        self.draft = DraftChoice(model, theme)
        self._loaded = Ink("", theme, tone="muted", size=CAPTION, wrap=True)
        self._pages = QStackedWidget()
        self._set_up()
        self._lay_out()
        self._connect()
        self._show_choice()
        self._show_loading(model.loading)
        self._show_loaded(model.loaded)

    def _set_up(self) -> None:
        for box, name, title, items, tip in (
            (
                self.quantization,
                "quantization",
                "Weights",
                QUANTIZATIONS,
                "Fewer bits take less memory.",
            ),
            (self.device, "device", "Runs on", DEVICES, "Several GPUs are shared out by themselves."),
        ):
            box.setObjectName(name)
            box.setAccessibleName(title)
            box.setToolTip(tip)
            for value, text in items.items():
                box.addItem(text, value)
        for box in (
            self.quantization,
            self.device,
            self.stretch,
        ):  # as narrow as the card, not as their words
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(12)
        self.stretch.setObjectName("ropeScaling")
        self.stretch.setAccessibleName("Stretched context")
        self.stretch.setToolTip(
            "Stretches rotary positions at load, so that a text may be longer than those that the model was "
            "trained on (RoPE scaling)."
        )
        for words, scaling in STRETCHES.items():
            self.stretch.addItem(words, scaling)
        self.context.setObjectName("contextLength")
        self.context.setAccessibleName("Context length in tokens")
        self.context.setToolTip("Tokens of prompt and reply together; their KV cache takes memory.")
        self.context.setRange(0, 10_000_000)
        self.context.setSingleStep(1024)
        self.context.setSuffix(" tokens")
        self.context.setSpecialValueText("the model's own")
        self.context.setKeyboardTracking(False)
        self.context.lineEdit().setTextMargins(GRID, 0, GRID, 0)
        self.load.setObjectName("loadButton")
        self.load.setProperty("kind", "primary")
        self.unload.setObjectName("unloadButton")
        self.cancel.setObjectName("cancelLoadButton")
        self.template.setObjectName("showTemplateButton")
        self.edit_server.setObjectName("editServer")
        self.edit_server.setAccessibleName("Edit the server")
        self.edit_server.setToolTip("Address, key and model of this server")
        self.bar.setObjectName("loadProgress")
        self.bar.setAccessibleName("Progress of loading")
        self.bar.setTextVisible(False)

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3 * GRID)
        page = ScrollPage()  # in a low window the details are scrolled, the buttons stay
        details = page.column
        details.setContentsMargins(0, 0, GRID, 0)
        details.setSpacing(3 * GRID)
        column.addWidget(page, 1)
        details.addWidget(self._name)
        self._facts.setHorizontalSpacing(4 * GRID)
        self._facts.setVerticalSpacing(GRID)
        self._facts.setColumnStretch(1, 1)
        self._facts.setColumnStretch(3, 1)
        details.addLayout(self._facts)
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setHorizontalSpacing(4 * GRID)
        form.setVerticalSpacing(GRID)
        form.addRow("Weights", self.quantization)
        form.addRow("Runs on", self.device)
        form.addRow("Context", self.context)
        form.addRow("Positions", self.stretch)
        self._options = QWidget()
        self._options.setLayout(form)
        form.setContentsMargins(0, 0, 0, 0)
        details.addWidget(self._options)
        details.addWidget(self.fit)
        details.addWidget(self._state)
        details.addWidget(self._hint)
        details.addStretch(1)
        details.addWidget(self._loaded)
        details.addWidget(self.draft)
        column.addWidget(self.bar)
        buttons = QHBoxLayout()
        buttons.addWidget(self.load)
        buttons.addWidget(self.cancel)
        buttons.addWidget(self.edit_server)
        buttons.addStretch(1)
        buttons.addWidget(self.template)
        buttons.addWidget(self.unload)
        column.addLayout(buttons)

    def _connect(self) -> None:
        self.quantization.activated.connect(self._options_changed)
        self.device.activated.connect(self._options_changed)
        self.context.valueChanged.connect(self._options_changed)
        self.stretch.activated.connect(self._options_changed)
        self.load.clicked.connect(self._load)
        self.unload.clicked.connect(self.unload_requested)
        self.cancel.clicked.connect(self.cancel_load_requested)
        self.template.clicked.connect(self.template_requested)
        self.edit_server.clicked.connect(self._edit_server)
        self._model.choice_changed.connect(self._show_choice)
        self._model.inspection_changed.connect(self._show_choice)
        self._model.loading_changed.connect(self._show_loading)
        self._model.loaded_changed.connect(self._show_loaded)
        self._model.path_changed.connect(lambda: self._show_loaded(self._model.loaded))
        self.draft.draft_requested.connect(self.draft_requested)

    # --- showing --------------------------------------------------------------------------------------------

    def _show_choice(self) -> None:
        choice, inspection, fault = self._model.choice, self._model.inspection, self._model.inspection_fault
        server = choice is not None and choice.model.startswith("openai:")
        self.edit_server.setVisible(server)
        self.template.setVisible(not server)
        self.load.setText("Connect" if server else "Load")
        self._options.setVisible(choice is not None and fault is None and not server)
        self.fit.setVisible(inspection is not None and not server)
        self.load.setEnabled(choice is not None and fault is None and self._model.loading is None)
        if choice is None:
            self._name.setText("Choose a model")
            self._say("Its size, and whether it fits into this machine's memory, is shown here.", "")
            self._show_facts(None)
            return
        with (
            QSignalBlocker(self.quantization),
            QSignalBlocker(self.device),
            QSignalBlocker(self.context),
        ):
            self.quantization.setCurrentIndex(self.quantization.findData(choice.quantization))
            self.device.setCurrentIndex(self.device.findData(choice.device))
            self.context.setValue(choice.context_length or 0)
            self.stretch.setCurrentIndex(list(STRETCHES.values()).index(choice.rope))
        row = self._model.row_of(choice.model)
        entry = self._model.entries[row] if row >= 0 else None
        self._name.setText(entry.name if entry is not None else choice.model)
        self._show_facts(self._known(inspection.info) if inspection is not None else None)
        if fault is not None:
            self._say(fault.message, fault.hint, failed=True)
        elif inspection is None:
            self._say("Reading the model's description …", "")
        elif inspection.info.remote is not None:
            remote = inspection.info.remote
            self._say(server_words(remote), "")
            self._state.set_tone("muted" if remote.this_machine else "warning")
        else:
            trained = inspection.info.context_length
            most = round(trained * (choice.rope.factor if choice.rope is not None else 1))
            self.context.setMaximum(max(most, choice.context_length or 0))
            whose = "the model's own" if choice.rope is None else "stretched"
            self.context.setSpecialValueText(f"{whose} ({most:,} tokens)")
            self._show_ways(inspection)
            self.fit.set_estimate(inspection.estimate)
            warning = "" if choice.rope is None else _STRETCHED.format(trained=trained)
            self._say(warning if inspection.estimate.fits else _ADVICE, "")

    def _known(self, info: ModelInfo) -> ModelInfo:
        """What is known of a model: of one on a server, more once it is connected."""
        loaded = self._model.loaded
        if info.remote is not None and loaded is not None and loaded.info.source == info.source:
            return loaded.info
        return info

    def _show_ways(self, inspection: ModelInspected) -> None:
        """What each precision would take, in the list of them; GGUF files are unpacked as they are read."""
        for way in inspection.ways:
            row = self.quantization.findData(way.quantization)
            unpacked = way.quantization == "none" and inspection.info.format == "gguf"
            name = "Unpacked" if unpacked else QUANTIZATIONS[way.quantization]
            too_big = "" if way.fits else ", too big"
            self.quantization.setItemText(row, f"{name} · {format_bytes(way.total)}{too_big}")

    def _say(self, text: str, hint: str, *, failed: bool = False) -> None:
        self._state.setText(text)
        self._state.set_tone("danger" if failed else "muted")
        self._state.setVisible(bool(text))
        self._hint.setText(hint)
        self._hint.setVisible(bool(hint))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if (event.oldSize().width() < _TWO_FACTS) != (self.width() < _TWO_FACTS):
            self._show_facts(self._facts_of)

    def _show_facts(self, info: ModelInfo | None) -> None:
        self._facts_of = info
        while (item := self._facts.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()  # it is deleted when this loop of events gets to it; the next ones lie there
                widget.deleteLater()
        if info is None:
            return
        # Addresses are long.
        beside = 1 if info.remote is not None or self.width() < _TWO_FACTS else 2
        for number, (title, fact) in enumerate(_facts(info)):
            row, column = divmod(number, beside)
            label = Ink(title, self._theme, tone="muted", size=CAPTION)
            value = QLabel(fact)
            value.setWordWrap(True)
            value.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            value.setAccessibleName(f"{title}: {fact}")
            value.setToolTip(fact)
            self._facts.addWidget(label, row, 2 * column)
            self._facts.addWidget(value, row, 2 * column + 1)

    def _show_loading(self, progress: Progress | None) -> None:
        working = progress is not None
        self.bar.setVisible(working)
        self.cancel.setVisible(working)
        self.load.setVisible(not working)
        self.unload.setEnabled(not working and self._model.loaded is not None)
        if progress is not None:
            self.bar.setRange(0, 1000 if progress.total else 0)
            if progress.total:
                self.bar.setValue(round(1000 * min(progress.done / progress.total, 1)))
            self._loaded.setText(_progress_words(progress))
            self._loaded.show()
        else:
            self._show_loaded(self._model.loaded)
            self.load.setEnabled(self._model.choice is not None and self._model.inspection_fault is None)

    def _show_loaded(self, loaded: ModelLoaded | None) -> None:
        self.unload.setEnabled(loaded is not None and self._model.loading is None)
        self.template.setEnabled(loaded is not None and loaded.info.remote is None)
        inspection = self._model.inspection
        if inspection is not None and inspection.info.remote is not None:
            self._show_facts(self._known(inspection.info))
        if self._model.loading is not None:
            return
        self._loaded.setVisible(loaded is not None)
        if loaded is not None:
            reason = self._model.path_reason
            steps = single_token_words(self._model.single_tokens)
            told = not reason or reason == self._model.single_tokens.reason
            slow = "" if told else f" Replies are decoded step by step, not captured: {reason}"
            self._loaded.setText(f"{loaded_words(loaded)}{slow} {steps}".strip())

    # --- what the user does ---------------------------------------------------------------------------------

    def _options_changed(self) -> None:
        self._model.change_choice(
            quantization=self.quantization.currentData(),
            device=self.device.currentData(),
            context_length=self.context.value() or None,
            rope=self.stretch.currentData(),
        )

    def _edit_server(self) -> None:
        if self._model.choice is not None:
            self.edit_server_requested.emit(self._model.choice.model)

    def _load(self) -> None:
        if self._model.choice is not None:
            self.load_requested.emit(self._model.choice)


#: Width from which two facts stand beside each other, px.
_TWO_FACTS = 400
_STRETCHED = (
    "The model was trained on texts of {trained:,} tokens. With stretched positions its replies may be "
    "weaker, beyond that length most of all."
)
_ADVICE = "Choose fewer bits or a shorter context, or close other programs. You can still try."


def _facts(info: ModelInfo) -> list[tuple[str, str]]:
    if info.remote is not None:
        return server_facts(info, info.remote)
    return [
        ("Architecture", info.architecture),
        ("Parameters", format_count(info.parameters)),
        ("Trained context", f"{info.context_length:,} tokens"),
        ("Licence", info.licence or "not stated"),
        ("Stored as", f"{info.stored_dtype}, {info.format}"),
        ("On disk", format_bytes(info.stored_bytes)),
        ("Layers", f"{info.layers} × {info.hidden_size:,}"),
        ("Vocabulary", f"{info.vocabulary:,} tokens"),
        ("Chat", "has a template" if info.has_chat_template else "no template: use raw mode"),
        *_expert_facts(info),
    ]


def _expert_facts(info: ModelInfo) -> list[tuple[str, str]]:
    """How much of a mixture of experts acts on a token."""
    if not info.experts:
        return []
    return [
        ("Active", f"{format_count(info.active_parameters)} a token"),
        ("Experts", f"{info.active_experts} of {info.experts}"),
    ]


def _progress_words(progress: Progress) -> str:
    if not progress.total:
        return f"{progress.stage} …"
    if progress.unit == "bytes":
        return f"{progress.stage}: {format_bytes(progress.done)} of {format_bytes(progress.total)}"
    return f"{progress.stage}: {progress.done} of {progress.total} {progress.unit}"


def loaded_words(loaded: ModelLoaded) -> str:
    """What is loaded and what it takes, in one line."""
    if loaded.info.remote is not None:
        seconds = format_seconds(loaded.seconds)
        return f"Connected in {seconds}: {loaded.info.name}. {server_words(loaded.info.remote)}"
    memory = loaded.memory.gpu_allocated or loaded.memory.weights or loaded.memory.process
    bits = "" if loaded.quantization == "none" else f" {loaded.quantization.upper()}"
    return (
        f"Loaded: {loaded.info.name}{bits} on {loaded.device} in {format_seconds(loaded.seconds)}, "
        f"{format_bytes(memory)} measured, context {loaded.context_length:,} tokens."
    )


def single_token_words(single_tokens: SingleTokens) -> str:
    """How tokens are read one after the other, and why not faster."""
    ways = {
        "captured": "captured once and replayed on the GPU",
        "own": "this app's own code",
        "recorded": "recorded from the model's own code",
        "transformers": "transformers' own steps",
    }
    if single_tokens.by not in ways:
        return ""
    reason = f", because: {single_tokens.reason}" if single_tokens.reason else ""
    return f"Single tokens: {ways[single_tokens.by]}{reason}."
