"""What the process and the machine use at the moment, cheaply: a few system calls, and NVML's counters.

torch is asked only if something else has imported it, and only for counters that it keeps anyway.
"""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Any

import psutil

from inference.events import MonitorSample


class Monitor:
    """Takes samples; belongs to one thread. Nothing that it can't read is an error: the field stays empty.

    CPU load is counted since the previous sample, so the first one has none.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._gpus: list[Any] | None = None  # None: not looked for yet
        self._nvml: Any = None
        with contextlib.suppress(psutil.Error):
            self._process.cpu_percent()

    def sample(self) -> MonitorSample:
        """Measure now. Never raises."""
        rss, cpu = self._process_use()
        free = total = None
        with contextlib.suppress(Exception):
            memory = psutil.virtual_memory()
            free, total = int(memory.available), int(memory.total)
        allocated, reserved = _torch_memory()
        gpu = self._gpu_use()
        return MonitorSample(
            at=time.monotonic(),
            process_memory=rss,
            process_cpu=cpu,
            system_free=free,
            system_total=total,
            gpu_allocated=allocated,
            gpu_reserved=reserved,
            **gpu,
        )

    def close(self) -> None:
        """Let go of NVML."""
        if self._nvml is not None:
            with contextlib.suppress(Exception):
                self._nvml.nvmlShutdown()
        self._nvml, self._gpus = None, None

    def _process_use(self) -> tuple[int | None, float | None]:
        try:
            with self._process.oneshot():
                return self._process.memory_info().rss, self._process.cpu_percent()
        except psutil.Error:
            return None, None

    def _handles(self) -> list[Any]:
        if self._gpus is None:
            self._gpus = []
            try:
                import pynvml

                pynvml.nvmlInit()
                self._nvml = pynvml
                self._gpus = [
                    pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())
                ]
            except Exception:  # no driver or no library: no GPU figures, and no further attempt
                self._gpus = []
        return self._gpus

    def _gpu_use(self) -> dict[str, Any]:
        """Sums over the GPUs; the load is that of the busiest."""
        handles = self._handles()
        if not handles:
            return {}
        nvml = self._nvml
        memory = [
            value for handle in handles if (value := _ask(nvml.nvmlDeviceGetMemoryInfo, handle)) is not None
        ]
        loads = [
            value.gpu for handle in handles if (value := _ask(nvml.nvmlDeviceGetUtilizationRates, handle))
        ]
        watts = [value / 1e3 for handle in handles if (value := _ask(nvml.nvmlDeviceGetPowerUsage, handle))]
        joules = [
            value / 1e3
            for handle in handles
            if (value := _ask(nvml.nvmlDeviceGetTotalEnergyConsumption, handle))
        ]
        return {
            "gpu_used": sum(int(value.used) for value in memory),
            "gpu_total": sum(int(value.total) for value in memory),
            "gpu_load": max(loads) / 100 if loads else None,
            "gpu_power": sum(watts) if watts else None,
            "gpu_energy": sum(joules) if joules else None,
        }


def _ask(function: Any, handle: Any) -> Any:
    """NVML's answer; None where the GPU does not support the question."""
    try:
        return function(handle)
    except Exception:  # NVMLError has one subclass for each code
        return None


def _torch_memory() -> tuple[int | None, int | None]:
    """Bytes that torch has allocated and reserved on all GPUs, if it is in use."""
    torch = sys.modules.get("torch")
    try:
        if torch is None or not torch.cuda.is_initialized():
            return None, None
        gpus = range(torch.cuda.device_count())
        return sum(torch.cuda.memory_allocated(i) for i in gpus), sum(
            torch.cuda.memory_reserved(i) for i in gpus
        )
    except Exception:  # torch is being imported just now, or the GPU is gone
        return None, None
