"""The Sampling tab: what the controls do to the current step, presets, and the controls themselves."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QComboBox, QStackedWidget, QVBoxLayout, QWidget

from inference.events import RemoteModel, SamplingControls
from views.distribution_plot import DistributionPlot
from views.legend import Legend, LegendItem
from views.models.candidates import StepModel, token_name
from views.models.controls import CONTROL_SPECS, ControlsModel
from views.models.settings import SettingsModel
from views.panel_parts import EmptyPage, LiveLine, ScrollPage, heading, note
from views.preset_bar import PresetBar
from views.sampling_lists import BiasEditor, StopEditor
from views.seed_field import SeedField
from views.server_facts import controls_note
from views.slider_field import SliderField
from views.theme import GRID, Theme

_OVERFLOW = {"stop": "Stop and say so", "drop-oldest": "Leave out the oldest turns"}


class SamplingPanel(ScrollPage):
    """Controls that act on the next token, below a plot of what they do to it.

    Args:
        controls: The controls; moved at once by every widget here.
        step: The step that is plotted.
        settings: For what happens when the context is full.
        theme: Colours and fonts.

    Signals:
        example_requested: The user wants to see the panel on an example.
    """

    example_requested = Signal()

    def __init__(
        self,
        controls: ControlsModel,
        step: StepModel,
        settings: SettingsModel,
        theme: Theme,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName("samplingPanel")
        self._controls, self._step, self._settings, self._theme = controls, step, settings, theme
        self.plot = DistributionPlot(step, theme)
        self.fields = {spec.name: SliderField(spec, theme) for spec in CONTROL_SPECS}
        self.overflow = QComboBox()
        self._step_title = LiveLine(theme, bold=True)
        self._plot_pages = QStackedWidget()
        self._build_plot()
        self._server_note = note("", theme)
        self._server_note.setObjectName("serverControls")
        self._server_note.hide()
        self.column.addWidget(self._server_note)
        self.column.addWidget(PresetBar(controls, theme))
        for field in self.fields.values():
            field.value_changed.connect(controls.set_value)
            self.column.addWidget(field)
        self.seed = SeedField(controls, theme)
        self.column.addWidget(self.seed)
        self._build_overflow()
        self.stops = StopEditor(controls, theme)
        self.column.addWidget(self.stops)
        self.bias = BiasEditor(controls, theme)
        self.column.addWidget(self.bias)
        self.column.addStretch(1)
        controls.changed.connect(self._show_controls)
        self.plot.step_shown.connect(self._show_step)
        settings.changed.connect(self._show_settings)
        self._show_controls(controls.controls)
        self._show_step()

    def set_server(self, server: RemoteModel | None) -> None:
        """The model is on this server, which takes some of the controls (None: on this machine)."""
        parts: dict[str, QWidget] = {
            **self.fields,
            "seed": self.seed,
            "stop": self.stops,
            "logit_bias": self.bias,
        }
        for name, part in parts.items():
            part.setEnabled(server is None or name in server.controls)
        self._server_note.setText("" if server is None else controls_note(server))
        self._server_note.setVisible(server is not None)

    def _build_plot(self) -> None:
        empty = EmptyPage(
            "See what a slider does",
            "While a reply is written, this shows how the controls turn the model's own distribution into "
            "the one that the next token is drawn from, and what each step takes away.",
            "Write an example",
            "samplingExample",
            self._theme,
        )
        empty.layout().setContentsMargins(0, GRID, 0, GRID)  # type: ignore[union-attr]
        empty.clicked.connect(self.example_requested)
        shown = QWidget()
        column = QVBoxLayout(shown)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(GRID)
        column.addWidget(self._step_title)
        column.addWidget(self.plot)
        column.addWidget(
            Legend(
                (
                    LegendItem("chosen token", "accent"),
                    LegendItem("other candidates", "candidate"),
                    LegendItem("all other tokens", "others"),
                    LegendItem("removed next", "removed"),
                ),
                self._theme,
            )
        )
        self._plot_pages.addWidget(empty)
        self._plot_pages.addWidget(shown)
        self.column.addWidget(self._plot_pages)

    def _build_overflow(self) -> None:
        label = heading("When the context is full", self._theme)
        self.overflow.setObjectName("overflow")
        self.overflow.setAccessibleName("When the context is full")
        self.overflow.setToolTip("What happens when prompt and reply no longer fit into the model's context.")
        for value, text in _OVERFLOW.items():
            self.overflow.addItem(text, value)
        self.overflow.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.overflow.setMinimumContentsLength(12)
        label.setBuddy(self.overflow)
        column = QVBoxLayout()
        column.setSpacing(GRID)
        column.addSpacing(GRID)
        column.addWidget(label)
        column.addWidget(self.overflow)
        self.column.addLayout(column)
        self.overflow.activated.connect(self._overflow_chosen)
        self._show_settings()

    def _show_controls(self, controls: SamplingControls) -> None:
        for name, field in self.fields.items():
            field.set_value(float(getattr(controls, name)))

    def _show_settings(self) -> None:
        with QSignalBlocker(self.overflow):
            self.overflow.setCurrentIndex(self.overflow.findData(self._settings.settings.overflow))

    def _overflow_chosen(self) -> None:
        self._settings.update(overflow=self.overflow.currentData(Qt.ItemDataRole.UserRole))

    def _show_step(self) -> None:
        token = self.plot.token
        shown = token is not None and bool(token.stages)
        self._plot_pages.setCurrentIndex(1 if shown else 0)
        if token is not None:
            which = "Token" if self._step.pinned else "Newest token"
            self._step_title.set_text(f"{which} {token.index + 1}: {token_name(token)}")
