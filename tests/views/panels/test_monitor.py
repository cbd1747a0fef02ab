"""The monitor: what was measured is plotted, what was not is hidden, and nothing is drawn in the dark."""

from __future__ import annotations

import csv
import io
import math
import subprocess
import sys

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMainWindow, QPushButton, QToolButton
from pytestqt.qtbot import QtBot

from views.models.monitor import MonitorModel, MonitorSample
from views.models.runs import RunColumn, RunRecord, RunsModel
from views.monitor_panel import MonitorPanel
from views.monitor_plots import nice_top
from views.theme import Theme


@pytest.fixture
def monitor() -> MonitorModel:
    return MonitorModel(capacity=10)


@pytest.fixture
def runs() -> RunsModel:
    return RunsModel(limit=3)


@pytest.fixture
def panel(qtbot: QtBot, theme: Theme, monitor: MonitorModel, runs: RunsModel) -> MonitorPanel:
    panel = MonitorPanel(monitor, runs, theme)
    qtbot.addWidget(panel)
    panel.resize(1200, 200)
    return panel


def show(panel: MonitorPanel, qtbot: QtBot) -> None:
    panel.show()
    qtbot.waitUntil(lambda: panel.tiles["speedPlot"].built)


def test_gaps_are_nan_and_times_count_back_from_now(monitor: MonitorModel) -> None:
    monitor.add(MonitorSample(at=10.0, tokens_per_second=5.0))
    monitor.add(MonitorSample(at=10.5))
    times, values = monitor.series("tokens_per_second")
    assert times == [-0.5, 0.0]
    assert values[0] == 5.0
    assert math.isnan(values[1])
    assert monitor.has("tokens_per_second")
    assert not monitor.has("gpu_load")


def test_old_samples_are_forgotten(monitor: MonitorModel) -> None:
    for second in range(25):
        monitor.add(MonitorSample(at=float(second), process_memory=second))
    assert len(monitor.samples) == 10
    assert monitor.series("process_memory")[1] == [float(second) for second in range(15, 25)]


def test_the_newest_value_is_written_out_with_its_unit(
    panel: MonitorPanel, monitor: MonitorModel, qtbot: QtBot
) -> None:
    show(panel, qtbot)
    monitor.add(MonitorSample(at=1.0, tokens_per_second=133.7, process_memory=812_000_000))
    assert panel.tiles["speedPlot"].value.text() == "134 tok/s"
    assert panel.tiles["memoryPlot"].value.text() == "812 MB"
    monitor.add(MonitorSample(at=1.5, process_memory=5_200_000_000))
    assert panel.tiles["speedPlot"].value.text() == "–"
    assert panel.tiles["memoryPlot"].value.text() == "5.2 GB"


def test_plots_of_a_gpu_appear_only_where_there_is_one(
    panel: MonitorPanel, monitor: MonitorModel, qtbot: QtBot
) -> None:
    show(panel, qtbot)
    monitor.add(MonitorSample(at=1.0, process_memory=1))
    assert panel.tiles["memoryPlot"].isVisible()
    for name in ("gpuMemoryPlot", "gpuLoadPlot", "gpuPowerPlot", "energyPlot"):
        assert not panel.tiles[name].isVisible()
    monitor.add(
        MonitorSample(at=1.5, gpu_allocated=1, gpu_reserved=2, gpu_total=4, gpu_load=0.5, gpu_power=300.0)
    )
    for name in ("gpuMemoryPlot", "gpuLoadPlot", "gpuPowerPlot"):
        assert panel.tiles[name].isVisible()
    assert not panel.tiles["energyPlot"].isVisible()
    assert panel.tiles["gpuLoadPlot"].value.text() == "50 %"


def test_a_hidden_panel_is_not_updated_and_catches_up(
    panel: MonitorPanel, monitor: MonitorModel, qtbot: QtBot
) -> None:
    show(panel, qtbot)
    monitor.add(MonitorSample(at=1.0, tokens_per_second=10.0))
    panel.hide()
    monitor.add(MonitorSample(at=1.5, tokens_per_second=20.0))
    assert panel.tiles["speedPlot"].value.text() == "10 tok/s"
    panel.show()
    assert panel.tiles["speedPlot"].value.text() == "20 tok/s"


def test_the_plots_follow_the_theme(
    panel: MonitorPanel, monitor: MonitorModel, qtbot: QtBot, theme: Theme
) -> None:
    show(panel, qtbot)
    tile = panel.tiles["speedPlot"]
    centre = tile.rect().center()
    for choice in ("light", "dark"):
        theme.set_choice(choice)
        surface = theme.color("surface")
        qtbot.waitUntil(lambda: tile.grab().toImage().pixelColor(centre) == surface)  # noqa: B023


def test_runs_are_listed_newest_first_and_limited(runs: RunsModel) -> None:
    for number in range(5):
        runs.add(RunRecord(run_id=number, model="m", reason="stop", new_tokens=number))
    assert [record.run_id for record in runs.records] == [4, 3, 2]
    assert runs.rowCount() == 3


def test_a_run_is_written_with_units(runs: RunsModel) -> None:
    runs.add(
        RunRecord(
            run_id=1, model="m", reason="length", quantization="nf4", prompt_tokens=512, reused_tokens=300,
            new_tokens=128, tokens_per_second=133.6, time_to_first_token=0.0351, process_memory=812_000_000,
            energy_per_token=2.345, path="plain", path_reason="the model slides its window", guesses=52,
            accepted=39,
        )
    )  # fmt: skip
    row = [runs.index(0, column).data() for column in RunColumn]
    assert row[1:] == [
        "m NF4", "512 (300)", "128", "134 tok/s", "35 ms", "812 MB", "2.35 J/token", "39 of 52 (75%)",
        "plain: the model slides its window", "length",
    ]  # fmt: skip


def test_guesses_have_a_column_as_soon_as_any_were_made(panel: MonitorPanel, runs: RunsModel) -> None:
    runs.add(RunRecord(run_id=1, model="m", reason="stop"))
    assert panel.table.isColumnHidden(RunColumn.GUESSED)
    runs.add(RunRecord(run_id=2, model="m", reason="stop", guesses=4, accepted=1))
    assert not panel.table.isColumnHidden(RunColumn.GUESSED)


def test_the_export_has_a_column_for_every_figure(runs: RunsModel) -> None:
    runs.add(RunRecord(run_id=1, model='with "quotes", and commas', reason="stop", new_tokens=3))
    runs.add(RunRecord(run_id=2, model="m", reason="cancelled"))
    rows = list(csv.DictReader(io.StringIO(runs.as_csv())))
    assert [row["run_id"] for row in rows] == ["1", "2"]
    assert rows[0]["model"] == 'with "quotes", and commas'
    assert rows[0]["new_tokens"] == "3"
    assert rows[1]["time_to_first_token"] == ""


def test_runs_can_be_exported_once_there_are_any(panel: MonitorPanel, runs: RunsModel, qtbot: QtBot) -> None:
    panel.show()
    export = panel.findChild(QToolButton, "exportRuns")
    assert not export.isEnabled()
    with qtbot.waitSignal(panel.example_requested):
        qtbot.mouseClick(panel.findChild(QPushButton, "monitorExample"), Qt.MouseButton.LeftButton)
    runs.add(RunRecord(run_id=1, model="m", reason="stop"))
    assert panel.table.isVisible()
    with qtbot.waitSignal(panel.export_requested):
        qtbot.mouseClick(export, Qt.MouseButton.LeftButton)


@pytest.mark.parametrize(
    ("value", "top"), [(0, 1), (0.035, 0.05), (1, 1), (134, 200), (2.2, 2.5), (9.99, 10), (500, 500)]
)
def test_scales_end_at_a_round_number(value: float, top: float) -> None:
    assert nice_top(value) == pytest.approx(top)


def test_the_plotting_library_is_not_imported_with_the_panel() -> None:
    code = "import sys, views.monitor_panel; sys.exit('pyqtgraph' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_in_a_window_that_is_open_already_plots_are_there_at_once(
    qtbot: QtBot, theme: Theme, monitor: MonitorModel, runs: RunsModel
) -> None:
    window = QMainWindow()
    qtbot.addWidget(window)
    with qtbot.waitExposed(window):
        window.show()
    panel = MonitorPanel(monitor, runs, theme)
    monitor.add(MonitorSample(at=1.0, process_memory=10**9))
    assert not panel.tiles["memoryPlot"].built
    window.setCentralWidget(panel)
    panel.show()
    assert panel.tiles["memoryPlot"].built
    assert panel.tiles["memoryPlot"].value.text() == "1.0 GB"
