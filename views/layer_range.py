"""Which of a model's layers something acts in: all, or from one to another."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QSpinBox, QWidget

from views.panel_parts import Ink
from views.theme import GRID, Theme

#: First and last layer, both included, from 0; None is all.
Layers = tuple[int, int] | None


class LayerRange(QWidget):
    """A box that restricts to layers, and two numbers; the first is never above the last.

    Args:
        name: Begins the parts' object names.
        title: What the box says.
        theme: Colours and fonts.

    Signals:
        changed: The :data:`Layers`, whenever the user moves them.
    """

    changed = Signal(object)

    def __init__(self, name: str, title: str, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.box = QCheckBox(title)
        self.box.setObjectName(f"{name}Layers")
        self.box.setToolTip("Layers count from 0, the one next to the embedding; all act unless this is on.")
        self.first, self.last = QSpinBox(), QSpinBox()
        self.first.setObjectName(f"{name}FirstLayer")
        self.first.setAccessibleName(f"{title}: the first")
        self.last.setObjectName(f"{name}LastLayer")
        self.last.setAccessibleName(f"{title}: the last")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(GRID)
        row.addWidget(self.box, 1)
        row.addWidget(self.first)
        row.addWidget(Ink("to", theme, tone="muted"))
        row.addWidget(self.last)
        for number in (self.first, self.last):
            number.setFixedWidth(14 * GRID)
            number.valueChanged.connect(self._moved)
        self.box.toggled.connect(self._tell)
        self.set_count(0)

    @property
    def layers(self) -> Layers:
        """What is chosen."""
        return (self.first.value(), self.last.value()) if self.box.isChecked() else None

    def set_count(self, count: int) -> None:
        """A model of so many layers is loaded (0: none); the range is all of it until the user moves it."""
        chosen, top = self.layers, max(0, count - 1)
        with QSignalBlocker(self.first), QSignalBlocker(self.last):
            for number in (self.first, self.last):
                number.setRange(0, top)
            if chosen is None:
                self.first.setValue(0)
                self.last.setValue(top)
        self.box.setEnabled(count > 1)
        self._enable()

    def set_layers(self, layers: Layers) -> None:
        """Show a range without announcing it."""
        with QSignalBlocker(self.box), QSignalBlocker(self.first), QSignalBlocker(self.last):
            self.box.setChecked(layers is not None)
            if layers is not None:
                self.first.setValue(layers[0])
                self.last.setValue(layers[1])
        self._enable()

    def _moved(self) -> None:
        """The other end gives way."""
        moved, other = (self.first, self.last) if self.sender() is self.first else (self.last, self.first)
        if self.first.value() > self.last.value():
            with QSignalBlocker(other):
                other.setValue(moved.value())
        self._tell()

    def _tell(self) -> None:
        self._enable()
        self.changed.emit(self.layers)

    def _enable(self) -> None:
        for number in (self.first, self.last):
            number.setEnabled(self.box.isChecked() and self.box.isEnabled())
