"""The Steer tab: spans of the prompt that the model listens to less, or more."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from inference.events import RemoteModel, SteeringOptions
from views.adapter_section import AdapterSection
from views.factor_field import FactorField
from views.layer_range import LayerRange
from views.models.adapters import AdaptersModel
from views.models.controls import ControlsModel
from views.models.explanation_scores import one_line, short
from views.models.steering import SteeringModel
from views.panel_parts import Ink, ScrollPage, heading, note, tool_button
from views.theme import CAPTION, GRID, Theme

_LESS, _MORE = 0.1, 3.0
_MOST_RELATED = 12


class SteeringPanel(ScrollPage):
    """Select text in a message, turn it down or up, and see the reply change.

    Args:
        model: The spans; changed by the widgets here.
        controls: For how controls act; moved at once.
        theme: Colours and fonts.
        adapters: The adapters of the model, which steer it, too.

    Signals:
        regenerate_requested: Write the last reply anew.
        compare_requested: Write it with and without the factors, side by side.
    """

    regenerate_requested = Signal()
    compare_requested = Signal()

    def __init__(
        self,
        model: SteeringModel,
        controls: ControlsModel,
        theme: Theme,
        parent: QWidget | None = None,
        *,
        adapters: AdaptersModel | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName("steeringPanel")
        self._model, self._controls, self._theme = model, controls, theme
        self._rows: list[_SpanRow] = []
        self._on_server = False
        self._build_add()
        self._list = QVBoxLayout()
        self._list.setSpacing(2 * GRID)
        self.column.addLayout(self._list)
        self._build_run()
        self._build_options()
        self.adapters = AdapterSection(adapters or AdaptersModel(self), theme)
        self.column.addWidget(self.adapters)
        self.column.addStretch(1)
        model.changed.connect(self._show)
        model.selection_changed.connect(self._show_selected)
        controls.changed.connect(self._show_options)
        self._show()
        self._show_selected()
        self._show_options()

    def _build_add(self) -> None:
        self.column.addWidget(heading("Turn words down or up", self._theme))
        self._server_note = Ink("", self._theme, tone="warning", wrap=True)
        self._server_note.setObjectName("steerServer")
        self._server_note.hide()
        self.column.addWidget(self._server_note)
        self._selected = note("", self._theme)
        self._selected.setObjectName("steerSelected")
        self.column.addWidget(self._selected)
        self.less, self.more = QPushButton("Turn down"), QPushButton("Turn up")
        self.less.setObjectName("turnDown")
        self.more.setObjectName("turnUp")
        self.less.clicked.connect(lambda: self._model.add_selected(_LESS))
        self.more.clicked.connect(lambda: self._model.add_selected(_MORE))
        row = QHBoxLayout()
        row.addWidget(self.less)
        row.addWidget(self.more)
        row.addStretch(1)
        self.column.addLayout(row)

    def _build_run(self) -> None:
        self._run = QWidget()
        column = QVBoxLayout(self._run)
        column.setContentsMargins(0, GRID, 0, 0)
        self.again = QPushButton("Write it anew")
        self.again.setObjectName("steerAgain")
        self.again.setProperty("kind", "primary")
        self.again.clicked.connect(self.regenerate_requested)
        self.both = QPushButton("With and without")
        self.both.setObjectName("compareSteering")
        self.both.setToolTip("Two replies side by side, with these factors and without any.")
        self.both.clicked.connect(self.compare_requested)
        row = QHBoxLayout()
        row.addWidget(self.again)
        row.addWidget(self.both)
        row.addStretch(1)
        column.addLayout(row)
        column.addWidget(note("A reply that is being written feels a change at its next token.", self._theme))
        self.column.addWidget(self._run)

    def _build_options(self) -> None:
        self.column.addSpacing(2 * GRID)
        self.column.addWidget(heading("How factors act", self._theme))
        self.mode = QComboBox()
        self.mode.setObjectName("steeringMode")
        self.mode.setAccessibleName("How factors act")
        self.mode.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.mode.setMinimumContentsLength(12)
        self.mode.addItem("On the attention weight", "log-additive")
        self.mode.addItem("On the score before the softmax", "multiplicative")
        self.mode.setToolTip("On the weight: it becomes factor times what it was; 0 removes it.")
        self.mode.activated.connect(lambda _: self._set(mode=self.mode.currentData()))
        self.whole = QCheckBox("Whole tokens, even if partly selected")
        self.whole.setObjectName("wholeTokens")
        self.whole.setToolTip("Otherwise a token that is selected in part is steered in proportion.")
        self.whole.toggled.connect(lambda on: self._set(overlap="complete" if on else "partial"))
        self.layers = LayerRange("steer", "Only in layers", self._theme)
        self.layers.changed.connect(lambda layers: self._set(layers=layers))
        self._model.layers_changed.connect(self.layers.set_count)
        self.related = QCheckBox("Related words too, from cosine")
        self.related.setObjectName("steerRelated")
        self.related.setToolTip("Also steers tokens whose input embedding is close to that of a steered one.")
        self.cosine = _number(0.6, 0.0, 1.0, "relatedCosine", "Cosine from which words are related")
        self.unsure = QCheckBox("Less of unsure tokens, from nats")
        self.unsure.setObjectName("steerUnsure")
        self.unsure.setToolTip(
            "Turns down the attention to tokens that the model was at least this unsure of when it wrote or "
            "read them. Whether that helps is for you to see."
        )
        self.nats = _number(3.0, 0.1, 15.0, "unsureNats", "Entropy from which words are unsure, in nats")
        self.column.addWidget(self.mode)
        self.column.addWidget(self.whole)
        self.column.addWidget(self.layers)
        for box, number in ((self.related, self.cosine), (self.unsure, self.nats)):
            row = QHBoxLayout()
            row.addWidget(box, 1)
            row.addWidget(number)
            self.column.addLayout(row)
        self._follow = note("", self._theme)
        self._follow.setObjectName("relatedWords")
        self.column.addWidget(self._follow)
        self._model.related_changed.connect(self._show_related)
        self._show_related()
        self.related.toggled.connect(self._set_related)
        self.cosine.valueChanged.connect(self._set_related)
        self.unsure.toggled.connect(self._set_unsure)
        self.nats.valueChanged.connect(self._set_unsure)

    def set_server(self, server: RemoteModel | None) -> None:
        """The model is on a server, where attention can't be steered (None: on this machine)."""
        self._on_server = server is not None
        self._server_note.setText(
            "Not available: attention is steered inside the model, and this one is on a server. Let the "
            "words below go before you write, or choose a model on this machine."
        )
        self._server_note.setVisible(self._on_server)
        for part in (self.mode, self.whole, self.layers, self.related, self.cosine, self.unsure, self.nats):
            part.setEnabled(not self._on_server)
        self._show_selected()
        self._show_run()

    # --- showing

    def _show(self) -> None:
        spans = self._model.spans
        if len(self._rows) != len(spans):
            for row in self._rows:
                row.hide()
                row.deleteLater()
            self._rows = [_SpanRow(number, self._model, self._theme) for number in range(len(spans))]
            for row in self._rows:
                self._list.addWidget(row)
        for row in self._rows:
            row.refresh()
        self._show_run()

    def _show_selected(self) -> None:
        text = self._model.selected_text if self._model.selected is not None else ""
        words = "Select words in one of your messages or in the system prompt, then turn them down or up."
        self._selected.setText(f"Selected: “{one_line(short(text))}”" if text else words)
        self.less.setEnabled(bool(text) and not self._on_server)
        self.more.setEnabled(bool(text) and not self._on_server)

    def _show_related(self) -> None:
        words = ", ".join(
            f"{one_line(token.text)} × {token.factor:.2f} (cosine {token.cosine:.2f})"
            for token in self._model.related[:_MOST_RELATED]
        )
        more = len(self._model.related) - _MOST_RELATED
        self._follow.setText(f"Also: {words}" + (f" and {more} more" if more > 0 else ""))
        self._follow.setVisible(bool(words))

    def _show_options(self) -> None:
        options = self._options
        parts = (self.mode, self.whole, self.related, self.cosine, self.unsure, self.nats)
        blockers = [QSignalBlocker(part) for part in parts]
        self.mode.setCurrentIndex(self.mode.findData(options.mode))
        self.whole.setChecked(options.overlap == "complete")
        self.layers.set_layers(options.layers)
        self.related.setChecked(options.similarity_threshold is not None)
        self.unsure.setChecked(options.entropy_threshold is not None)
        if options.similarity_threshold is not None:
            self.cosine.setValue(options.similarity_threshold)
        if options.entropy_threshold is not None:
            self.nats.setValue(options.entropy_threshold)
        for blocker in blockers:
            blocker.unblock()
        self._show_run()

    def _show_run(self) -> None:
        """There is something to run under: words turned down or up, or unsure ones left out."""
        some = bool(self._model.spans) or self._options.entropy_threshold is not None
        self._run.setVisible(some and not self._on_server)

    # --- what the user does

    @property
    def _options(self) -> SteeringOptions:
        return self._controls.controls.steering

    def _set(self, **changes: object) -> None:
        options = replace(self._options, **changes)  # type: ignore[arg-type]
        self._controls.set_controls(replace(self._controls.controls, steering=options))

    def _set_related(self) -> None:
        self._set(similarity_threshold=self.cosine.value() if self.related.isChecked() else None)

    def _set_unsure(self) -> None:
        self._set(entropy_threshold=self.nats.value() if self.unsure.isChecked() else None)


class _SpanRow(QWidget):
    """One span: its text, its factor, and the button that lets it go."""

    def __init__(self, number: int, model: SteeringModel, theme: Theme) -> None:
        super().__init__()
        self._number, self._model = number, model
        self._text = Ink("", theme, size=CAPTION, wrap=True)
        self.factor = FactorField(1.0)
        remove = tool_button(theme, "close", "Let these words go", "removeSpan")
        remove.clicked.connect(lambda: model.remove(number))
        self.factor.changed.connect(lambda factor: model.set_factor(number, factor))
        row = QHBoxLayout()
        row.setSpacing(GRID)
        row.addWidget(self.factor, 1)
        row.addWidget(remove)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._text)
        column.addLayout(row)

    def refresh(self) -> None:
        """Show the span as it is now."""
        span = self._model.spans[self._number]
        text = one_line(short(span.text))
        self._text.setText(f"“{text}”")
        self._text.setToolTip(span.text)
        self.factor.set_factor(span.factor)
        self.factor.slider.setAccessibleDescription(text)


def _number(value: float, low: float, high: float, object_name: str, title: str) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setObjectName(object_name)
    box.setAccessibleName(title)
    box.setDecimals(2)
    box.setRange(low, high)
    box.setSingleStep(0.05)
    box.setValue(value)
    box.setFixedWidth(14 * GRID)
    return box
