"""The monitor: plausible figures, NVML's units, and no trouble where something is missing."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import psutil
import pytest

from inference.monitor import Monitor


def test_the_process_is_measured() -> None:
    monitor = Monitor()
    first = monitor.sample()
    block = bytearray(60_000_000)
    block[::4096] = b"x" * len(block[::4096])
    second = monitor.sample()
    assert first.process_memory is not None
    assert second.process_memory is not None
    assert second.process_memory - first.process_memory > 40_000_000
    assert second.system_total == psutil.virtual_memory().total
    assert second.system_free is not None
    assert 0 < second.system_free < second.system_total  # type: ignore[operator]
    assert second.at >= first.at


def test_a_busy_process_shows_its_load() -> None:
    monitor = Monitor()
    monitor.sample()
    until = sum(psutil.Process().cpu_times()[:2]) + 0.15
    while sum(psutil.Process().cpu_times()[:2]) < until:
        sum(range(10_000))
    load = monitor.sample().process_cpu
    assert load is not None
    assert load > 5


def fake_nvml(**answers: Any) -> types.ModuleType:
    """NVML with two GPUs; an answer that is an exception is raised."""
    module = types.ModuleType("pynvml")
    defaults: dict[str, Any] = {
        "nvmlDeviceGetMemoryInfo": types.SimpleNamespace(used=3, total=10),
        "nvmlDeviceGetUtilizationRates": types.SimpleNamespace(gpu=25),
        "nvmlDeviceGetPowerUsage": 150_500,  # milliwatts
        "nvmlDeviceGetTotalEnergyConsumption": 2_000,  # millijoules
    }

    def answer(value: Any) -> Any:
        def ask(*_: Any) -> Any:
            if isinstance(value, Exception):
                raise value
            return value

        return ask

    for name, value in (defaults | answers).items():
        setattr(module, name, answer(value))
    module.nvmlInit = module.nvmlShutdown = lambda: None  # type: ignore[attr-defined]
    module.nvmlDeviceGetCount = lambda: 2  # type: ignore[attr-defined]
    module.nvmlDeviceGetHandleByIndex = lambda index: index  # type: ignore[attr-defined]
    return module


def test_gpus_are_added_up_in_plain_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml())
    monitor = Monitor()
    sample = monitor.sample()
    assert (sample.gpu_used, sample.gpu_total, sample.gpu_load) == (6, 20, 0.25)
    assert (sample.gpu_power, sample.gpu_energy) == (301.0, 4.0)
    monitor.close()


def test_what_a_gpu_does_not_support_stays_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = RuntimeError("Not Supported")
    nvml = fake_nvml(nvmlDeviceGetTotalEnergyConsumption=refused, nvmlDeviceGetUtilizationRates=refused)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    sample = Monitor().sample()
    assert (sample.gpu_energy, sample.gpu_load, sample.gpu_power) == (None, None, 301.0)


@pytest.mark.parametrize("failing", ["nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex"])
def test_without_a_driver_there_are_no_gpu_figures(monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    nvml = fake_nvml()

    def fail(*_: Any) -> None:
        raise RuntimeError("NVML Shared Library Not Found")

    setattr(nvml, failing, fail)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    sample = Monitor().sample()
    assert (sample.gpu_total, sample.gpu_load, sample.gpu_power) == (None, None, None)


def test_nothing_of_the_process_readable_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = Monitor()

    def gone(*_: Any) -> None:
        raise psutil.NoSuchProcess(1)

    monkeypatch.setattr(psutil.Process, "oneshot", gone)
    monkeypatch.setattr(psutil, "virtual_memory", gone)
    sample = monitor.sample()
    assert (sample.process_memory, sample.process_cpu, sample.system_free) == (None, None, None)


def test_sampling_imports_no_torch() -> None:
    code = "import sys, inference.monitor as m; m.Monitor().sample(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
