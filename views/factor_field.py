"""A factor on the attention to a span: a slider with 1 in its middle, and a number."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QDoubleSpinBox, QHBoxLayout, QWidget

from views.models.steering import STRONGEST, factor_of, slider_of
from views.slider_field import MarkedSlider
from views.theme import GRID


class FactorField(QWidget):
    """0 (gone) to 10 (amplified); the right half of the slider is a logarithm.

    Signals:
        changed: The factor, whenever the user moves it.
    """

    changed = Signal(float)

    def __init__(self, factor: float, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.slider = MarkedSlider(100, self)
        self.slider.setObjectName("factorSlider")
        self.slider.setAccessibleName("Factor on the attention, slider")
        self.slider.setRange(0, 200)
        self.slider.setSingleStep(5)
        self.slider.setPageStep(25)
        self.number = QDoubleSpinBox(self)
        self.number.setObjectName("factorNumber")
        self.number.setAccessibleName("Factor on the attention")
        self.number.setDecimals(2)
        self.number.setRange(0.0, STRONGEST)
        self.number.setSingleStep(0.1)
        self.number.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.number.setFixedWidth(self.fontMetrics().horizontalAdvance("10.00") + 6 * GRID)
        for part in (self.slider, self.number):
            part.setToolTip("0 takes the attention away, 1 changes nothing, 10 is the most.")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(GRID)
        row.addWidget(self.slider, 1)
        row.addWidget(self.number)
        self.set_factor(factor)
        self.slider.valueChanged.connect(self._moved)
        self.number.valueChanged.connect(self._typed)

    def set_factor(self, factor: float) -> None:
        """Show a factor without announcing it."""
        with QSignalBlocker(self.slider), QSignalBlocker(self.number):
            if round(self.number.value(), 2) != round(factor, 2):
                self.number.setValue(factor)
            self.slider.setValue(slider_of(factor))

    def _moved(self, place: int) -> None:
        with QSignalBlocker(self.number):
            self.number.setValue(factor_of(place))
        self.changed.emit(factor_of(place))

    def _typed(self, factor: float) -> None:
        with QSignalBlocker(self.slider):
            self.slider.setValue(slider_of(factor))
        self.changed.emit(factor)
