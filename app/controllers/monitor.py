"""The monitor: samples of the machine twice a second, taken on a thread of their own, and what the runs
add.
"""

from __future__ import annotations

import time
from pathlib import Path

from PySide6.QtCore import QObject, QThread, QTimer, Signal, Slot

from app.faults import FaultReporter
from app.settings import write_whole
from inference.events import MonitorSample as Measured
from views.models.model_choice import ModelChoiceModel
from views.models.monitor import MonitorModel, MonitorSample
from views.models.runs import RunsModel

_PERIOD_MS = 500


class _Sampler(QObject):
    """Lives on the sampling thread: asking a GPU driver can take longer than a frame."""

    sampled = Signal(object)

    @Slot()
    def start(self) -> None:
        """Begin to sample."""
        from inference.monitor import Monitor

        self._monitor = Monitor()
        self._timer = QTimer(self)
        self._timer.setInterval(_PERIOD_MS)
        self._timer.timeout.connect(self._sample)
        self._timer.start()
        self._sample()

    @Slot()
    def stop(self) -> None:
        """Stop, on the thread that the timer belongs to."""
        self._timer.stop()
        self._monitor.close()
        self.thread().quit()

    @Slot()
    def _sample(self) -> None:
        self.sampled.emit(self._monitor.sample())


class MonitorController(QObject):
    """Feeds the monitor's model.

    Args:
        model: What the plots show.
        runs: The list of runs, for the export.
        models: For the size of the KV cache.
        faults: Told of an export that failed.
    """

    told = Signal(str)
    _stop = Signal()

    def __init__(
        self,
        *,
        model: MonitorModel,
        runs: RunsModel,
        models: ModelChoiceModel,
        faults: FaultReporter,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._model = model
        self._runs = runs
        self._models = models
        self._faults = faults
        self._tokens = 0
        self._context = 0
        self._last: tuple[float, float | None] = (time.monotonic(), None)
        self._thread = QThread(self)
        self._thread.setObjectName("monitor")
        self._sampler = _Sampler()
        self._sampler.moveToThread(self._thread)
        self._sampler.sampled.connect(self._take)
        self._stop.connect(self._sampler.stop)
        self._thread.started.connect(self._sampler.start)

    def start(self) -> None:
        """Begin to sample."""
        self._thread.start()

    def close(self) -> bool:
        """Stop sampling; returns whether the thread has ended."""
        if not self._thread.isRunning():
            return True
        self._stop.emit()
        return self._thread.wait(500)

    @Slot(int)
    def count_tokens(self, count: int) -> None:
        """So many tokens were generated."""
        self._tokens += count

    @Slot(int, int)
    def note_context(self, used: int, total: int) -> None:
        """So many tokens are in the KV cache."""
        self._context = used

    def export_csv(self, path: Path) -> bool:
        """Write the list of runs; returns whether it worked."""
        try:
            write_whole(path, self._runs.as_csv())
        except OSError as error:
            self._faults.report(
                kind="export-failed",
                message=f"{path.name} could not be written.",
                hint="Choose another folder, or free some space on the disk.",
                details=f"{path}\n{error}",
            )
            return False
        self.told.emit(f"Saved as {path.name}.")
        return True

    @Slot(object)
    def _take(self, measured: Measured) -> None:
        before, energy_before = self._last
        tokens, self._tokens = self._tokens, 0
        self._last = measured.at, measured.gpu_energy
        span = measured.at - before
        energy = None
        if tokens and measured.gpu_energy is not None and energy_before is not None:
            energy = (measured.gpu_energy - energy_before) / tokens
        loaded = self._models.loaded
        self._model.add(
            MonitorSample(
                at=measured.at,
                tokens_per_second=tokens / span if tokens and span > 0 else None,
                process_memory=measured.process_memory,
                kv_cache=None if loaded is None else self._context * loaded.info.kv_bytes_per_token,
                gpu_allocated=measured.gpu_allocated,
                gpu_reserved=measured.gpu_reserved,
                gpu_total=measured.gpu_total,
                gpu_load=measured.gpu_load,
                gpu_power=measured.gpu_power,
                energy_per_token=energy,
            )
        )
