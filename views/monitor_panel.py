"""The monitor: live plots of the machine, and the last runs with their figures."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent, QShowEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QStackedWidget,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from views.models.format import format_bytes, format_seconds
from views.models.monitor import MonitorModel, MonitorSample
from views.models.runs import RunColumn, RunsModel
from views.monitor_plots import PlotSpec, PlotTile
from views.panel_parts import EmptyPage, heading, tool_button
from views.theme import CAPTION, GRID, Theme

_PER_RUN = "time_to_first_token"
_SECONDS = 300.0

PLOTS: Final[tuple[PlotSpec, ...]] = (
    PlotSpec(
        name="speedPlot",
        title="Speed",
        fields=("tokens_per_second",),
        write=lambda value: f"{value:.0f} tok/s",
        meaning="Generated tokens per second, counted by the app.",
    ),
    PlotSpec(
        name="firstTokenPlot",
        title="First token",
        fields=(_PER_RUN,),
        write=format_seconds,
        meaning="Time from the request to the first token; one point a run, the newest at the right.",
        per_run=True,
    ),
    PlotSpec(
        name="memoryPlot",
        title="App memory",
        fields=("process_memory",),
        write=format_bytes,
        meaning="Resident memory of the app, from the operating system.",
    ),
    PlotSpec(
        name="kvPlot",
        title="KV cache",
        fields=("kv_cache",),
        write=format_bytes,
        meaning="Keys and values of the tokens that are in the context.",
    ),
    PlotSpec(
        name="gpuMemoryPlot",
        title="GPU memory",
        fields=("gpu_allocated", "gpu_reserved"),
        write=format_bytes,
        meaning="Coloured: taken by tensors; grey: held by PyTorch. The scale ends at the GPU's total.",
        top="gpu_total",
    ),
    PlotSpec(
        name="gpuLoadPlot",
        title="GPU load",
        fields=("gpu_load",),
        write=lambda value: f"{value:.0%}".replace("%", " %"),
        meaning="Share of time in which the GPU was busy, by NVML.",
        fixed_top=1.0,
    ),
    PlotSpec(
        name="gpuPowerPlot",
        title="GPU power",
        fields=("gpu_power",),
        write=lambda value: f"{value:.0f} W",
        meaning="Power draw of the GPU, by NVML.",
    ),
    PlotSpec(
        name="energyPlot",
        title="Energy",
        fields=("energy_per_token",),
        write=lambda value: f"{value:.2f} J/token",
        meaning="Energy of the GPU per generated token: NVML's energy counter over the tokens.",
    ),
)
_ALWAYS = ("speedPlot", "firstTokenPlot", "memoryPlot")
_TILE_WIDTH = 190
#: Columns that are hidden as long as no run has anything in them.
_WHERE_KNOWN = (RunColumn.ENERGY, RunColumn.GUESSED)


class MonitorPanel(QWidget):
    """Plots of what was measured on this machine (a plot without data is hidden) beside the table of runs.

    Nothing is drawn while the panel is hidden.

    Args:
        monitor: Samples.
        runs: The last runs.
        theme: Colours and fonts.

    Signals:
        export_requested: The user wants the runs as CSV; the app asks where to.
        example_requested: The user wants to see the panel on an example.
    """

    export_requested = Signal()
    example_requested = Signal()

    def __init__(
        self, monitor: MonitorModel, runs: RunsModel, theme: Theme, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("monitorPanel")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._monitor, self._runs, self._theme = monitor, runs, theme
        self.tiles = {spec.name: PlotTile(spec, theme, seconds=_SECONDS) for spec in PLOTS}
        self._grid = QGridLayout()
        self._grid.setSpacing(2 * GRID)
        self._arranged: tuple[int, tuple[str, ...]] = (0, ())
        self.table = QTableView()
        self._pages = QStackedWidget()
        self._stale = True
        row = QHBoxLayout(self)
        row.setContentsMargins(3 * GRID, GRID, 3 * GRID, 2 * GRID)
        row.setSpacing(6 * GRID)
        row.addLayout(self._grid, 3)
        row.addWidget(self._build_runs(), 2)
        monitor.added.connect(self._added)
        monitor.cleared.connect(self._refresh)
        runs.rowsInserted.connect(self._show_runs)
        self._show_runs()
        self._arrange()

    def _build_runs(self) -> QWidget:
        box = QWidget()
        box.setMinimumWidth(60 * GRID)
        column = QVBoxLayout(box)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        export = tool_button(self._theme, "export", "Export the runs as CSV", "exportRuns")
        export.clicked.connect(self.export_requested)
        self._export = export
        head = QHBoxLayout()
        head.addWidget(heading("Last runs", self._theme))
        head.addStretch(1)
        head.addWidget(export)
        column.addLayout(head)
        self.table.setObjectName("runsTable")
        self.table.setAccessibleName("Last runs")
        self.table.setModel(self._runs)
        self.table.setFont(self._theme.mono(CAPTION))
        self.table.setShowGrid(False)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setTabKeyNavigation(False)
        self.table.setWordWrap(False)
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(6 * GRID)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setHighlightSections(False)
        empty = EmptyPage(
            "No run yet",
            "Each reply adds a line here: how fast it was, how long the first token took, what it needed.",
            "Write an example",
            "monitorExample",
            self._theme,
        )
        empty.clicked.connect(self.example_requested)
        layout = empty.layout()
        if layout is not None:
            layout.setContentsMargins(0, 0, 0, 0)
        self._pages.addWidget(empty)
        self._pages.addWidget(self.table)
        column.addWidget(self._pages, 1)
        return box

    def showEvent(self, event: QShowEvent) -> None:
        """Catch up with what was measured while hidden."""
        super().showEvent(event)
        if self._stale:
            self._refresh()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """More or fewer plots fit side by side."""
        super().resizeEvent(event)
        self._arrange()

    def _added(self, sample: MonitorSample) -> None:
        self._refresh()

    def _refresh(self) -> None:
        self._stale = not self.isVisible() or self.window().isMinimized()
        if self._stale:
            return
        self._arrange()
        latest = self._monitor.latest
        for name in self._arranged[1]:
            tile = self.tiles[name]
            times: list[float] = []
            lines: list[list[float]] = []
            for field in tile.spec.fields:
                times, values = self._run_series() if tile.spec.per_run else self._monitor.series(field)
                lines.append(values)
            top = getattr(latest, tile.spec.top) if tile.spec.top and latest is not None else None
            tile.show_values(times, lines, top)

    def _run_series(self) -> tuple[list[float], list[float]]:
        """Times to the first token, oldest run first, spread over the width of the other plots."""
        known = [r.time_to_first_token for r in self._runs.records if r.time_to_first_token is not None]
        values = known[::-1] if len(known) != 1 else known * 2  # one point is no line
        step = _SECONDS / max(len(values) - 1, 1)
        return [(number - len(values) + 1) * step for number in range(len(values))], values

    def _arrange(self) -> None:
        """Put the plots that have data into as many columns as fit."""
        shown = tuple(
            name
            for name, tile in self.tiles.items()
            if name in _ALWAYS or self._monitor.has(tile.spec.fields[0])
        )
        columns = max(1, min(len(shown), int(self.width() * 0.6) // _TILE_WIDTH))
        if (columns, shown) == self._arranged:
            return
        self._arranged = (columns, shown)
        for name, tile in self.tiles.items():
            self._grid.removeWidget(tile)
            if name not in shown:
                tile.setParent(self)
                tile.hide()
        for column in range(self._grid.columnCount()):
            self._grid.setColumnStretch(column, 1 if column < columns else 0)
        for place, name in enumerate(shown):
            self._grid.addWidget(self.tiles[name], place // columns, place % columns)
            self._grid.setColumnStretch(place % columns, 1)
            self.tiles[name].show()

    def _show_runs(self) -> None:
        some = self._runs.rowCount() > 0
        self._pages.setCurrentIndex(1 if some else 0)
        self._export.setEnabled(some)
        for column in _WHERE_KNOWN:
            self.table.setColumnHidden(column, not self._runs.has(column))
        self._refresh()
