"""Samples of what the machine does, kept for a few minutes."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, fields
from typing import Final

from PySide6.QtCore import QObject, Signal


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorSample:
    """One look at the machine; ``None`` where nothing could be measured.

    Attributes:
        at: Seconds on a monotonic clock.
        tokens_per_second: Decode speed since the sample before; None while nothing is generated.
        process_memory: Resident memory of the app, bytes.
        kv_cache: Bytes of the KV cache that are in use.
        gpu_allocated: Bytes that tensors take on the GPU.
        gpu_reserved: Bytes that the allocator holds on the GPU.
        gpu_total: Bytes of the GPU.
        gpu_load: Share of time that the GPU was busy, 0..1.
        gpu_power: Watts.
        energy_per_token: Joules per generated token.
    """

    at: float
    tokens_per_second: float | None = None
    process_memory: int | None = None
    kv_cache: int | None = None
    gpu_allocated: int | None = None
    gpu_reserved: int | None = None
    gpu_total: int | None = None
    gpu_load: float | None = None
    gpu_power: float | None = None
    energy_per_token: float | None = None


SAMPLE_FIELDS: Final[tuple[str, ...]] = tuple(field.name for field in fields(MonitorSample))


class MonitorModel(QObject):
    """The last ``capacity`` samples.

    Signals:
        added: The newest :class:`MonitorSample`.
        cleared: All samples were forgotten.
    """

    added = Signal(object)
    cleared = Signal()

    def __init__(self, capacity: int = 600, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._samples: deque[MonitorSample] = deque(maxlen=capacity)
        # The same by field, as plots want them: 600 attribute look-ups a plot would be half of its cost.
        self._series: dict[str, deque[float]] = {name: deque(maxlen=capacity) for name in SAMPLE_FIELDS}
        self._seen: set[str] = set()

    @property
    def samples(self) -> tuple[MonitorSample, ...]:
        """All samples, oldest first."""
        return tuple(self._samples)

    @property
    def latest(self) -> MonitorSample | None:
        """The newest sample."""
        return self._samples[-1] if self._samples else None

    def has(self, field: str) -> bool:
        """Whether a field was ever measured on this machine."""
        return field in self._seen

    def series(self, field: str) -> tuple[list[float], list[float]]:
        """Times (seconds before the newest sample, so <= 0) and values of one field; gaps are NaN."""
        if not self._samples:
            return [], []
        now = self._samples[-1].at
        return [at - now for at in self._series["at"]], list(self._series[field])

    def add(self, sample: MonitorSample) -> None:
        """Take the newest sample."""
        self._samples.append(sample)
        for name, values in self._series.items():
            value = getattr(sample, name)
            values.append(math.nan if value is None else float(value))
            if value is not None:
                self._seen.add(name)
        self.added.emit(sample)

    def clear(self) -> None:
        """Forget all samples."""
        self._samples.clear()
        for values in self._series.values():
            values.clear()
        self._seen.clear()
        self.cleared.emit()
