"""One live plot of the monitor. pyqtgraph is imported when the first one is painted, not before."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QSize, Qt, QTimer
from PySide6.QtGui import QPaintEvent, QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from views.panel_parts import Ink
from views.theme import CAPTION, GRID, Theme


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotSpec:
    """What one plot shows.

    Attributes:
        name: objectName of the tile.
        title: Heading.
        fields: Fields of ``MonitorSample``; the first is the value that is written out, the others are
            further lines (thin).
        write: Value -> text with its unit.
        meaning: One sentence, with the source of the number.
        top: Field that ends the scale (a total); None lets the values end it.
        fixed_top: Value that always ends the scale.
        per_run: Whether there is a point a run instead of a point a sample.
    """

    name: str
    title: str
    fields: tuple[str, ...]
    write: Callable[[float], str]
    meaning: str
    top: str | None = None
    fixed_top: float | None = None
    per_run: bool = False


class PlotTile(QWidget):
    """Title, newest value, and a line of the last minutes from zero to the top of the scale.

    Args:
        spec: What is shown.
        theme: Colours and fonts.
        seconds: Width of the time axis.
    """

    def __init__(
        self, spec: PlotSpec, theme: Theme, *, seconds: float, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.spec = spec
        self._theme, self._seconds = theme, seconds
        self._plot: Any = None
        self._lines: list[Any] = []
        self._top = 0.0
        self._window = 0.0
        self.setObjectName(spec.name)
        self.setToolTip(spec.meaning)
        self.setAccessibleName(spec.title)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.value = Ink("–", theme, mono=True)
        self._scale = Ink("", theme, tone="faint", size=CAPTION)
        title = Ink(spec.title, theme, tone="muted", size=CAPTION)
        head = QHBoxLayout()
        head.setSpacing(2 * GRID)
        head.addWidget(title)
        head.addWidget(self.value)
        head.addStretch(1)
        head.addWidget(self._scale)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(2)
        self._column.addLayout(head)
        self._placeholder = QWidget()
        self._column.addWidget(self._placeholder, 1)
        self._pending: tuple[Sequence[float], Sequence[Sequence[float]], float | None] | None = None
        theme.changed.connect(self._color)

    def sizeHint(self) -> QSize:
        """A small plot."""
        return QSize(200, 18 * GRID)

    @property
    def built(self) -> bool:
        """Whether the plot itself is there already."""
        return self._plot is not None

    def showEvent(self, event: QShowEvent) -> None:
        """Make the plot at once in a window that is on the screen already."""
        super().showEvent(event)
        handle = self.window().windowHandle()
        if handle is not None and handle.isExposed():
            self._build()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Else make it when the window has been painted without it."""
        super().paintEvent(event)
        if self._plot is None:
            QTimer.singleShot(0, self, self._build)

    def show_values(
        self, times: Sequence[float], lines: Sequence[Sequence[float]], top: float | None = None
    ) -> None:
        """Plot ``lines`` (one a field, NaN where nothing was measured) over ``times`` (seconds, <= 0)."""
        newest = lines[0][-1] if lines and lines[0] else math.nan
        self.value.setText("–" if math.isnan(newest) else self.spec.write(newest))
        self.setAccessibleDescription(f"{self.spec.title}: {self.value.text()}")
        if self.spec.per_run and self._pending is not None and self._pending[1] == lines:
            return
        self._pending = (times, lines, top)
        if self._plot is not None:
            self._draw()

    def _build(self) -> None:
        if self._plot is not None:
            return
        import pyqtgraph

        plot = pyqtgraph.PlotWidget(background=None, enableMenu=False)
        plot.setFrameShape(plot.Shape.NoFrame)
        plot.setMouseEnabled(x=False, y=False)
        plot.hideButtons()
        plot.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        plot.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        for side in ("left", "bottom"):
            plot.hideAxis(side)
        plot.setYRange(0, 1, padding=0)
        plot.getViewBox().disableAutoRange()
        self._lines = [pyqtgraph.PlotCurveItem(connect="finite") for _ in self.spec.fields]
        for line in self._lines:
            plot.addItem(line, ignoreBounds=True)
        self._plot = plot
        self._column.replaceWidget(self._placeholder, plot)
        self._placeholder.deleteLater()
        self._color()
        self._draw()

    def _draw(self) -> None:
        if self._pending is None:
            return
        import numpy as np

        times, lines, total = self._pending
        at = np.asarray(times)
        highest = 0.0
        for line, values in zip(self._lines, lines, strict=True):
            heights = np.asarray(values, dtype=float)
            line.setData(at, heights)
            highest = float(np.fmax.reduce(heights, initial=highest))
        self._set_window(-times[0] if len(times) else 0.0)
        top = total or self.spec.fixed_top or nice_top(highest)
        if top != self._top:
            self._top = top
            self._plot.setYRange(0, top, padding=0)
            self._scale.setText(f"0 – {self.spec.write(top)}")

    def _set_window(self, covered: float) -> None:
        """Show the last one, two or five minutes, whichever holds what was measured."""
        seconds = next((wide for wide in (60.0, 120.0) if wide >= covered), self._seconds)
        if seconds != self._window:
            self._window = seconds
            self._plot.setXRange(-seconds, 0, padding=0)
            minutes = "minute" if seconds == 60 else f"{seconds / 60:.0f} minutes"
            if not self.spec.per_run:
                self.setToolTip(f"{self.spec.meaning} The last {minutes}.")

    def _color(self) -> None:
        if self._plot is None:
            return
        import pyqtgraph

        accent, muted = self._theme.color("accent"), self._theme.color("muted")
        for number, line in enumerate(self._lines):
            line.setPen(pyqtgraph.mkPen(accent if number == 0 else muted, width=1))
        self._plot.setBackground(self._theme.color("surface"))


def nice_top(value: float) -> float:
    """The end of a scale that holds ``value``: 1, 2, 2.5 or 5 times a power of ten; 1 for nothing."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1.0, 2.0, 2.5, 5.0, 10.0) if step * power >= value)
