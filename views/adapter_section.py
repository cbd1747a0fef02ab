"""Adapters (LoRA) of the loaded model: a switch, a scale and a way off for each, and the comparison."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QCheckBox, QDoubleSpinBox, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from views.models.adapters import AdapterRow, AdaptersModel
from views.panel_parts import Ink, heading, note, tool_button
from views.slider_field import MarkedSlider
from views.theme import CAPTION, GRID, Theme

_MOST = 2.0
_STEPS = 100
_ABOUT = (
    "A LoRA changes what the model writes without touching its weights. Open its folder, or drop it on the "
    "window. A reply that is being written feels a switch or a scale at its next token."
)


class AdapterSection(QWidget):
    """The lower part of the Steer tab.

    Args:
        model: The adapters; switched and scaled by the widgets here.
        theme: Colours and fonts.

    Signals:
        open_requested: Choose an adapter's folder.
        removed: Take an adapter off, by its name.
        base_requested: Load the offered adapter's base model, and put it on that.
        anyway_requested: Put the offered adapter on the loaded model.
        compare_requested: Show what the adapters change in this conversation.
    """

    open_requested = Signal()
    removed = Signal(str)
    base_requested = Signal()
    anyway_requested = Signal()
    compare_requested = Signal()

    def __init__(self, model: AdaptersModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("adapterSection")
        self._model, self._theme = model, theme
        self._rows: dict[str, _Row] = {}
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 2 * GRID, 0, 0)
        column.setSpacing(2 * GRID)
        column.addWidget(heading("Adapters", theme))
        column.addWidget(note(_ABOUT, theme))
        self._list = QVBoxLayout()
        self._list.setSpacing(3 * GRID)
        column.addLayout(self._list)
        self.open = QPushButton("Open an adapter …")
        self.open.setObjectName("openAdapter")
        self.open.clicked.connect(self.open_requested)
        self.compare = QPushButton("With and without")
        self.compare.setObjectName("compareAdapters")
        self.compare.setToolTip("Reads this conversation without and with the adapters that are on.")
        self.compare.clicked.connect(self.compare_requested)
        row = QHBoxLayout()
        row.addWidget(self.open)
        row.addWidget(self.compare)
        row.addStretch(1)
        column.addLayout(row)
        self._words = Ink("", theme, tone="warning", wrap=True)
        self._words.setObjectName("adapterWords")
        self.base = QPushButton("Load its base model")
        self.base.setObjectName("loadAdapterBase")
        self.base.setProperty("kind", "primary")
        self.base.clicked.connect(self.base_requested)
        self.anyway = QPushButton("Try it on this model")
        self.anyway.setObjectName("attachAnyway")
        self.anyway.clicked.connect(self.anyway_requested)
        column.addWidget(self._words)
        offered = QHBoxLayout()
        offered.addWidget(self.base)
        offered.addWidget(self.anyway)
        offered.addStretch(1)
        column.addLayout(offered)
        model.changed.connect(self._show)
        model.offer_changed.connect(self._show_offer)
        self._show()
        self._show_offer()

    def _show(self) -> None:
        rows = {row.info.name: row for row in self._model.rows}
        if list(rows) != list(self._rows):
            for widget in self._rows.values():
                widget.hide()
                widget.deleteLater()
            self._rows = {name: _Row(row, self._model, self._theme) for name, row in rows.items()}
            for name, widget in self._rows.items():
                widget.remove.clicked.connect(lambda _=False, name=name: self.removed.emit(name))
                self._list.addWidget(widget)
        for name, widget in self._rows.items():
            widget.refresh(rows[name])
        self.compare.setVisible(bool(rows))
        self.compare.setEnabled(bool(self._model.active))

    def _show_offer(self) -> None:
        offer = self._model.offer
        words = offer.words if offer is not None else self._model.problem
        self._words.setText(words)
        self._words.setVisible(bool(words))
        self.base.setVisible(offer is not None and bool(offer.base_source))
        self.anyway.setVisible(offer is not None and offer.anyway)


class _Row(QWidget):
    """One adapter."""

    def __init__(self, row: AdapterRow, model: AdaptersModel, theme: Theme) -> None:
        super().__init__()
        name = row.info.name
        self.switch = QCheckBox(name)
        self.switch.setObjectName("adapterSwitch")
        self.switch.setAccessibleName(f"Adapter {name}")
        self.switch.toggled.connect(lambda on: model.set_row(name, on=on))
        self.remove = tool_button(theme, "close", f"Take {name} off", "removeAdapter")
        self.slider = MarkedSlider(_STEPS // 2, self)
        self.slider.setObjectName("adapterScaleSlider")
        self.slider.setAccessibleName(f"Scale of {name}, slider")
        self.slider.setRange(0, _STEPS)
        self.slider.setPageStep(10)
        self.number = QDoubleSpinBox()
        self.number.setObjectName("adapterScale")
        self.number.setAccessibleName(f"Scale of {name}")
        self.number.setDecimals(2)
        self.number.setRange(-4.0, 4.0)
        self.number.setSingleStep(0.1)
        self.number.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.number.setFixedWidth(self.fontMetrics().horizontalAdvance("10.00") + 6 * GRID)
        for part in (self.slider, self.number):
            part.setToolTip("1 is as it was trained, 0 is off, below 0 turns it round.")
        self.slider.valueChanged.connect(lambda place: model.set_row(name, scale=place * _MOST / _STEPS))
        self.number.valueChanged.connect(lambda scale: model.set_row(name, scale=scale))
        self._about = Ink("", theme, tone="muted", size=CAPTION, wrap=True)
        head, below = QHBoxLayout(), QHBoxLayout()
        head.addWidget(self.switch, 1)
        head.addWidget(self.remove)
        below.addWidget(self.slider, 1)
        below.addWidget(self.number)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(head)
        column.addLayout(below)
        column.addWidget(self._about)

    def refresh(self, row: AdapterRow) -> None:
        """Show it as it is now."""
        with QSignalBlocker(self.switch), QSignalBlocker(self.slider), QSignalBlocker(self.number):
            self.switch.setChecked(row.on)
            self.slider.setValue(round(row.scale * _STEPS / _MOST))
            if round(self.number.value(), 2) != round(row.scale, 2):
                self.number.setValue(row.scale)
        for part in (self.slider, self.number):
            part.setEnabled(row.on)
        self._about.setText(row.words())
        self._about.setToolTip(row.info.source)
