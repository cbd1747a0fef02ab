"""How long the GUI thread is away: a timer that should tick every 5 ms, by how much it is late, and how much
of the processor the thread took meanwhile (which a busy machine does not change much).
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from PySide6.QtCore import QObject, Qt, QTimer, Slot

PERIOD_SECONDS = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Stalls:
    """Lateness of the ticks of one phase, in milliseconds; ``seconds`` is how long the phase was.

    ``cpu_p99`` and ``cpu_longest`` are the processor time of the GUI thread between two ticks, in
    milliseconds; ``cpu_seconds`` is all of it.
    """

    seconds: float
    ticks: int
    p50: float
    p99: float
    longest: float
    cpu_seconds: float
    cpu_p99: float
    cpu_longest: float


class Heartbeat(QObject):
    """Ticks as long as it is wanted."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._late: list[float] = []
        self._busy: list[float] = []
        self._last = self._began = time.perf_counter()
        self._cpu_last = time.thread_time()
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(round(PERIOD_SECONDS * 1000))
        self._timer.timeout.connect(self._tick)

    def start(self) -> None:
        """Begin a phase."""
        self._late, self._busy = [], []
        self._last = self._began = time.perf_counter()
        self._cpu_last = time.thread_time()
        self._timer.start()

    def stop(self) -> Stalls:
        """End the phase."""
        self._tick()
        self._timer.stop()
        late, busy = sorted(self._late), sorted(self._busy)
        ninety_nine = min(len(late) - 1, int(0.99 * len(late)))
        return Stalls(
            seconds=time.perf_counter() - self._began,
            ticks=len(late),
            p50=1000 * late[len(late) // 2],
            p99=1000 * late[ninety_nine],
            longest=1000 * late[-1],
            cpu_seconds=sum(busy),
            cpu_p99=1000 * busy[ninety_nine],
            cpu_longest=1000 * busy[-1],
        )

    @Slot()
    def _tick(self) -> None:
        now = time.perf_counter()
        self._late.append(max(0.0, now - self._last - PERIOD_SECONDS))
        self._last = now
        cpu = time.thread_time()
        self._busy.append(cpu - self._cpu_last)
        self._cpu_last = cpu
