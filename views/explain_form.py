"""What is to be explained, how, and what that costs."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from inference.events import ExplanationCost
from views.layer_range import LayerRange
from views.models.candidates import visible_token
from views.models.explaining import ExplainTarget, ExplanationModel, parameters_of
from views.models.format import format_bytes, format_seconds
from views.panel_parts import Ink, heading, note, tool_button
from views.parameter_fields import ParameterFields
from views.theme import CAPTION, GRID, Theme

_GRANULARITIES = {
    "auto": "About 30 parts",
    "token": "Tokens",
    "word": "Words",
    "sentence": "Sentences",
    "paragraph": "Paragraphs",
    "source": "Sources [n]",
    "message": "Messages",
}


class ExplainForm(QWidget):
    """Target, method, granularity, parameters, cost; the button that starts and the one that cancels.

    Args:
        model: What is asked; changed by every widget here.
        theme: Colours and fonts.

    Signals:
        explain_requested: Explain now.
        compare_requested: Explain with every method that works here, and judge them.
        cancel_requested: Stop; what was computed stays.
    """

    explain_requested = Signal()
    compare_requested = Signal()
    cancel_requested = Signal()

    def __init__(self, model: ExplanationModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model, self._theme = model, theme
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(2 * GRID)
        self._build_target()
        self._build_method()
        self._build_more()
        self._build_start()
        model.target_changed.connect(self._show_target)
        model.methods_changed.connect(self._show_methods)
        model.options_changed.connect(self._show_options)
        model.cost_changed.connect(self._show_start)
        model.state_changed.connect(self._show_start)
        model.scores_changed.connect(self._show_progress)
        self._show_methods()
        self._show_target()

    def _build_target(self) -> None:
        label = heading("Why does the model say", self._theme)
        self.target = QPlainTextEdit()
        self.target.setObjectName("explainTarget")
        self.target.setAccessibleName("Text to explain")
        self.target.setPlaceholderText("Select a part of a reply, or type a text")
        self.target.setToolTip("A part of a reply, or any text: how likely would it be, and because of what?")
        self.target.setTabChangesFocus(True)
        self.target.setFixedHeight(58)
        self.target.textChanged.connect(self._typed)
        label.setBuddy(self.target)
        self._about = note("", self._theme)
        self._no_contrast = tool_button(self._theme, "close", "Ask without the other token", "dropContrast")
        self._no_contrast.clicked.connect(self._drop_contrast)
        about = QHBoxLayout()
        about.addWidget(self._about, 1)
        about.addWidget(self._no_contrast, 0, Qt.AlignmentFlag.AlignTop)
        self._column.addWidget(label)
        self._column.addWidget(self.target)
        self._column.addLayout(about)

    def _build_method(self) -> None:
        self.method = _picker("methodPicker", "Method")
        self.method.activated.connect(lambda _: self._model.update(method=self.method.currentData()))
        self.granularity = _picker("granularityPicker", "Parts of the prompt")
        for name, title in _GRANULARITIES.items():
            self.granularity.addItem(title, name)
        self.granularity.activated.connect(
            lambda _: self._model.update(granularity=self.granularity.currentData())
        )
        self.granularity.setToolTip("Into which parts the prompt is cut; each gets a score.")
        row = QHBoxLayout()
        row.setSpacing(2 * GRID)
        row.addWidget(self.method, 1)
        row.addWidget(self.granularity, 1)
        self._column.addLayout(row)
        self._summary = note("", self._theme)
        self._column.addWidget(self._summary)

    def _build_more(self) -> None:
        self.more = QToolButton()
        self.more.setObjectName("explainMore")
        self.more.setProperty("kind", "fold")
        self.more.setCheckable(True)
        self.more.setText("Settings of the method")
        self.more.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.more.toggled.connect(self._show_more)
        self._theme.set_icon(self.more, "expand", "muted")
        self._extra = QWidget()
        extra = QVBoxLayout(self._extra)
        extra.setContentsMargins(GRID, 0, 0, 0)
        extra.setSpacing(GRID)
        self.fields = ParameterFields(self._theme)
        self.fields.changed.connect(
            lambda name, value: self._model.set_setting(self._model.options.method, name, value)
        )
        self.per_token = QCheckBox("A column for each token of the text")
        self.per_token.setObjectName("perToken")
        self.per_token.toggled.connect(lambda on: self._model.update(per_token=on))
        self.special = QCheckBox("Also the template's own tokens")
        self.special.setObjectName("includeSpecial")
        self.special.toggled.connect(lambda on: self._model.update(include_special=on))
        self.layers = LayerRange("explain", "Only in layers", self._theme)
        self.layers.changed.connect(lambda layers: self._model.update(layers=layers))
        for widget in (self.fields, self.layers, self.per_token, self.special):
            extra.addWidget(widget)
        self._extra.hide()
        self._column.addWidget(self.more)
        self._column.addWidget(self._extra)

    def _build_start(self) -> None:
        self._cost = Ink("", self._theme, tone="muted", size=CAPTION, wrap=True)
        self._cost.setObjectName("explainCost")
        self.button = QPushButton("Explain")
        self.button.setObjectName("explainButton")
        self.button.setProperty("kind", "primary")
        self.button.setToolTip("Explain (Ctrl+E in the text)")
        self.button.clicked.connect(self.explain_requested)
        self.compare = QPushButton("Compare methods")
        self.compare.setObjectName("compareMethods")
        self.compare.setToolTip("Runs every method that works with this model on this text, and judges them.")
        self.compare.clicked.connect(self.compare_requested)
        self.cancel = QPushButton("Stop")
        self.cancel.setObjectName("cancelExplain")
        self.cancel.setToolTip("Stop; what was computed stays.")
        self.cancel.clicked.connect(self.cancel_requested)
        self.progress = QProgressBar()
        self.progress.setObjectName("explainProgress")
        self.progress.setTextVisible(False)
        self._done = Ink("", self._theme, tone="muted", size=CAPTION, wrap=True)
        row = QHBoxLayout()
        row.setSpacing(2 * GRID)
        for button in (self.button, self.compare, self.cancel):
            row.addWidget(button)
        row.addStretch(1)
        working = QWidget()
        column = QVBoxLayout(working)
        column.setContentsMargins(0, GRID, 0, 0)
        column.setSpacing(GRID)
        column.addWidget(self.progress)
        column.addWidget(self._done)
        column.addStretch(1)
        # One above the other: neither buttons nor results move when a run starts or ends.
        self._effort = QStackedWidget()
        self._effort.addWidget(self._cost)
        self._effort.addWidget(working)
        self._column.addWidget(self._effort)
        self._column.addLayout(row)

    # --- showing

    def _show_target(self) -> None:
        target = self._model.target
        text = target.text if target is not None else ""
        if text != self.target.toPlainText():
            with QSignalBlocker(self.target):
                self.target.setPlainText(text)
        words = ""
        if target is not None and target.contrast is not None:
            words = f"and not {visible_token(target.contrast.text, target.contrast.id)}"
        elif target is not None and target.message_id is not None:
            words = "From the reply. Select another part of it, or type."
        elif target is not None:
            words = "Typed: as if the model said this next."
        self._about.setText(words)
        self._about.setVisible(bool(words))
        self._no_contrast.setVisible(target is not None and target.contrast is not None)
        self._show_start()

    def _show_methods(self) -> None:
        with QSignalBlocker(self.method):
            self.method.clear()
            for status in self._model.methods:
                self.method.addItem(status.spec.title, status.spec.name)
                tip = status.problem or status.spec.summary
                self.method.setItemData(self.method.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        for widget in (self.method, self.granularity, self.more):
            widget.setEnabled(bool(self._model.methods))
        self.layers.set_count(self._model.layer_count)
        self._show_options()

    def _show_options(self) -> None:
        options, spec = self._model.options, self._model.spec(self._model.options.method)
        for picker, value in ((self.method, options.method), (self.granularity, options.granularity)):
            with QSignalBlocker(picker):
                picker.setCurrentIndex(picker.findData(value))
        if spec is not None:
            specs = parameters_of(spec)
            self.fields.set_specs(specs)
            for parameter in specs:
                self.fields.set_value(parameter.name, options.setting(spec.name, parameter))
        self.layers.set_layers(options.layers)
        self.layers.setVisible(spec is not None and spec.uses_factor)
        for box, on in ((self.per_token, options.per_token), (self.special, options.include_special)):
            with QSignalBlocker(box):
                box.setChecked(on)
        self._show_start()

    def _show_more(self, on: bool) -> None:
        self._extra.setVisible(on)
        self._theme.set_icon(self.more, "collapse" if on else "expand", "muted")

    def _show_start(self) -> None:
        model = self._model
        spec, problem = model.spec(model.options.method), model.method_problem
        summary = problem or (spec.summary if spec is not None else "Choose a model first.")
        self._summary.setText(summary)
        self._summary.set_tone("warning" if problem else "muted")
        ready = model.target is not None and spec is not None and not problem
        had_keyboard = self.window().focusWidget() in (self.button, self.compare, self.cancel)
        self.button.setEnabled(ready)
        self.compare.setEnabled(ready and sum(not s.problem for s in model.methods) > 1)
        # What comes is shown first: a focused button that hides would pass the keyboard to another panel.
        shown, hidden = (self.cancel,), (self.button, self.compare)
        for button in shown if model.busy else hidden:
            button.show()
        if had_keyboard:
            (self.cancel if model.busy else self.button).setFocus()
        for button in hidden if model.busy else shown:
            button.hide()
        cost = cost_words(model.cost) if model.cost is not None else model.cost_problem
        self._cost.setText(cost)
        self._show_progress()

    def _show_progress(self) -> None:
        model, result = self._model, self._model.result
        self._effort.setCurrentIndex(1 if model.busy else 0)
        if model.state == "waiting" or result is None:
            self.progress.setRange(0, 0)
            self._done.setText("Waiting for the model …")
            return
        self.progress.setRange(0, result.total)
        self.progress.setValue(result.done)
        first = " (first estimates shown)" if result.preview else ""
        self._done.setText(f"{result.spec.title}: {result.done} of {result.total} parts{first}")

    # --- what the user does

    def _typed(self) -> None:
        text = self.target.toPlainText()
        self._model.set_target(ExplainTarget(text=text) if text else None)

    def _drop_contrast(self) -> None:
        target = self._model.target
        if target is not None:
            self._model.set_target(
                ExplainTarget(
                    text=target.text, message_id=target.message_id, start=target.start, end=target.end
                )
            )


def cost_words(cost: ExplanationCost) -> str:
    """What an explanation takes, in words."""
    words = f"{cost.forward_passes:,} forward passes, about {format_seconds(cost.seconds)}"
    if cost.memory:
        words += f", {format_bytes(cost.memory)} more memory"
    if cost.token_forwards and cost.naive_token_forwards > 1.15 * cost.token_forwards:
        times = cost.naive_token_forwards / cost.token_forwards
        words += f"; one full pass a part would take {times:.1f} × that"
    return words


def _picker(object_name: str, title: str) -> QComboBox:
    box = QComboBox()
    box.setObjectName(object_name)
    box.setAccessibleName(title)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(9)
    return box
