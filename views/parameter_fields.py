"""Controls made from parameter specs: a new method needs no new view."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QSpinBox,
    QWidget,
)

from inference.events import ParameterSpec, Setting
from views.panel_parts import Ink
from views.theme import CAPTION, GRID, Theme


class ParameterFields(QWidget):
    """One row for each parameter.

    Signals:
        changed: (name, value) when the user sets one.
    """

    changed = Signal(str, object)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._specs: tuple[ParameterSpec, ...] = ()
        self._setters: dict[str, Callable[[Setting], None]] = {}
        self._form = QFormLayout(self)
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.setHorizontalSpacing(2 * GRID)
        self._form.setVerticalSpacing(GRID)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)

    def set_specs(self, specs: Sequence[ParameterSpec]) -> None:
        """Show these parameters and no others."""
        if tuple(specs) == self._specs:
            return
        self._specs = tuple(specs)
        while self._form.rowCount():
            self._form.removeRow(0)
        self._setters = {}
        for spec in self._specs:
            field = self._field(spec)
            field.setObjectName(f"parameter-{spec.name}")
            field.setAccessibleName(spec.title)
            field.setToolTip(spec.help)
            label = Ink("" if spec.kind == "bool" else spec.title, self._theme, tone="muted", size=CAPTION)
            label.setToolTip(spec.help)
            self._form.addRow(label, field)

    def set_value(self, name: str, value: Setting) -> None:
        """Show a value without announcing it."""
        if name in self._setters:
            self._setters[name](value)

    def _field(self, spec: ParameterSpec) -> QWidget:
        if spec.kind == "bool":
            return self._check(spec)
        if spec.kind == "choice":
            return self._choice(spec)
        return self._whole(spec) if spec.kind == "int" else self._number(spec)

    def _check(self, spec: ParameterSpec) -> QWidget:
        box = QCheckBox(spec.title)
        box.setChecked(bool(spec.default))
        box.toggled.connect(lambda on: self.changed.emit(spec.name, on))

        def show(value: Setting) -> None:
            with QSignalBlocker(box):
                box.setChecked(bool(value))

        self._setters[spec.name] = show
        return box

    def _choice(self, spec: ParameterSpec) -> QWidget:
        box = QComboBox()
        box.addItems(list(spec.choices))
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        box.setMinimumContentsLength(8)
        box.setCurrentText(str(spec.default))
        box.textActivated.connect(lambda text: self.changed.emit(spec.name, text))
        self._setters[spec.name] = lambda value: box.setCurrentText(str(value))
        return box

    def _number(self, spec: ParameterSpec) -> QWidget:
        box = QDoubleSpinBox()
        box.setDecimals(2)
        box.setRange(spec.minimum, spec.maximum)
        box.setSingleStep((spec.maximum - spec.minimum) / 20)
        box.setValue(float(spec.default))
        box.valueChanged.connect(lambda value: self.changed.emit(spec.name, float(value)))

        def show(value: Setting) -> None:
            with QSignalBlocker(box):
                box.setValue(float(value))

        self._setters[spec.name] = show
        return box

    def _whole(self, spec: ParameterSpec) -> QWidget:
        box = QSpinBox()
        box.setRange(round(spec.minimum), round(spec.maximum))
        box.setValue(int(spec.default))
        box.valueChanged.connect(lambda value: self.changed.emit(spec.name, int(value)))

        def show(value: Setting) -> None:
            with QSignalBlocker(box):
                box.setValue(int(value))

        self._setters[spec.name] = show
        return box
