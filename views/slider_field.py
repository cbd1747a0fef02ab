"""One control as a row: label, reset, slider, number."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QSignalBlocker, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import (
    QAbstractSpinBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QSlider,
    QSpinBox,
    QStyle,
    QStyleOptionSlider,
    QWidget,
)

from views.models.controls import ControlSpec
from views.panel_parts import tool_button
from views.theme import GRID, Theme

_SLIDER_STEPS = 400


class MarkedSlider(QSlider):
    """A horizontal slider with a tick at the neutral value."""

    def __init__(self, mark: int, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self._mark = mark

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the tick over the groove, then the slider."""
        option = QStyleOptionSlider()
        self.initStyleOption(option)
        style = self.style()
        groove = style.subControlRect(
            QStyle.ComplexControl.CC_Slider, option, QStyle.SubControl.SC_SliderGroove, self
        )
        handle = style.subControlRect(
            QStyle.ComplexControl.CC_Slider, option, QStyle.SubControl.SC_SliderHandle, self
        )
        span = groove.width() - handle.width()
        along = QStyle.sliderPositionFromValue(self.minimum(), self.maximum(), self._mark, span)
        x = groove.x() + handle.width() // 2 + along
        painter = QPainter(self)
        ink = QColor(self.palette().color(QPalette.ColorRole.WindowText))
        ink.setAlpha(110)
        painter.fillRect(x, self.height() // 2 - 8, 1, 16, ink)
        painter.end()
        super().paintEvent(event)


class SliderField(QWidget):
    """A numeric control: drag, type, or use the arrow keys; a button appears when it is not neutral.

    The number is authoritative: typing may go beyond the slider's end.

    Args:
        spec: What the control means and how far it goes.
        theme: Icons.

    Signals:
        value_changed: (name, value) whenever the user moves it.
    """

    value_changed = Signal(str, float)

    def __init__(self, spec: ControlSpec, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.spec = spec
        self.label = QLabel(spec.label, self)
        self.reset_button = tool_button(
            theme, "reset", f"Back to neutral ({spec.neutral:.{spec.decimals}f})", f"{spec.object_name}Reset"
        )
        self.slider = MarkedSlider(self._to_slider(spec.neutral), self)
        self.number: QSpinBox | QDoubleSpinBox = _make_number(spec)
        self._set_up_parts()
        self._lay_out()
        self.slider.valueChanged.connect(self._slider_moved)
        self.number.valueChanged.connect(self._number_changed)
        self.reset_button.clicked.connect(self._reset)
        self.set_value(spec.neutral)

    def value(self) -> float:
        """The number that is shown."""
        return float(self.number.value())

    def set_value(self, value: float) -> None:
        """Show a value without announcing it."""
        with QSignalBlocker(self.number), QSignalBlocker(self.slider):
            if self.value() != value:
                self.number.setValue(value if self.spec.decimals else round(value))  # type: ignore[arg-type]
            self.slider.setValue(self._to_slider(value))
        self._show_deviation()

    def changeEvent(self, event: QEvent) -> None:
        """Keep the emphasis of the label when fonts change."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange and hasattr(self, "number"):
            self._show_deviation()

    def _set_up_parts(self) -> None:
        spec = self.spec
        sentence = f"{spec.explanation} Neutral: {self._words(spec.neutral)}."
        for part in (self.label, self.slider, self.number):
            part.setToolTip(sentence)
        self.label.setBuddy(self.number)
        self.slider.setRange(0, _SLIDER_STEPS if spec.decimals else round(spec.slider_maximum - spec.minimum))
        self.slider.setSingleStep(max(1, self._to_slider(spec.minimum + spec.step)))
        self.slider.setPageStep(max(1, self._to_slider(spec.minimum + 5 * spec.step)))
        self.slider.setObjectName(f"{spec.object_name}Slider")
        self.slider.setAccessibleName(f"{spec.label}, slider")
        self.slider.setAccessibleDescription(spec.explanation)
        self.number.setObjectName(spec.object_name)
        self.number.setAccessibleName(spec.label)
        self.number.setAccessibleDescription(sentence)
        self.reset_button.setAccessibleName(f"Reset {spec.label.lower()} to {self._words(spec.neutral)}")

    def _lay_out(self) -> None:
        self.slider.setMinimumWidth(12 * GRID)
        self.reset_button.setFixedSize(6 * GRID, 6 * GRID)
        widest = QFont(self.font())
        widest.setWeight(QFont.Weight.DemiBold)
        self.label.setFixedWidth(QFontMetrics(widest).horizontalAdvance("Repetition penalty") + 8)
        self.number.setFixedWidth(self.fontMetrics().horizontalAdvance("131072") + 5 * GRID)
        policy = self.reset_button.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self.reset_button.setSizePolicy(policy)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(GRID)
        row.addWidget(self.label)
        row.addWidget(self.slider, 1)
        row.addWidget(self.number)
        row.addWidget(self.reset_button)

    def _words(self, value: float) -> str:
        return f"{value:.{self.spec.decimals}f}"

    def _to_slider(self, value: float) -> int:
        spec = self.spec
        share = (value - spec.minimum) / (spec.slider_maximum - spec.minimum)
        steps = _SLIDER_STEPS if spec.decimals else spec.slider_maximum - spec.minimum
        return round(min(max(share, 0.0), 1.0) * steps)

    def _slider_moved(self, position: int) -> None:
        spec = self.spec
        if spec.decimals:
            value = spec.minimum + position / _SLIDER_STEPS * (spec.slider_maximum - spec.minimum)
        else:
            value = spec.minimum + position
        self.number.setValue(value if spec.decimals else round(value))  # type: ignore[arg-type]

    def _number_changed(self) -> None:
        with QSignalBlocker(self.slider):
            self.slider.setValue(self._to_slider(self.value()))
        self._show_deviation()
        self.value_changed.emit(self.spec.name, self.value())

    def _reset(self) -> None:
        self.number.setValue(self.spec.neutral if self.spec.decimals else round(self.spec.neutral))  # type: ignore[arg-type]
        self.number.setFocus(Qt.FocusReason.OtherFocusReason)

    def _show_deviation(self) -> None:
        deviates = self.value() != self.spec.neutral
        self.reset_button.setVisible(deviates)
        font = self.label.font()
        weight = QFont.Weight.DemiBold if deviates else QFont.Weight.Normal
        if font.weight() != weight:
            font.setWeight(weight)
            self.label.setFont(font)


def _make_number(spec: ControlSpec) -> QSpinBox | QDoubleSpinBox:
    number: QSpinBox | QDoubleSpinBox
    if spec.decimals:
        number = QDoubleSpinBox()
        number.setDecimals(spec.decimals)
        number.setRange(spec.minimum, spec.maximum)
        number.setSingleStep(spec.step)
    else:
        number = QSpinBox()
        number.setRange(round(spec.minimum), round(spec.maximum))
        number.setSingleStep(round(spec.step))
    number.setAlignment(Qt.AlignmentFlag.AlignRight)
    number.setCorrectionMode(QAbstractSpinBox.CorrectionMode.CorrectToNearestValue)
    return number
