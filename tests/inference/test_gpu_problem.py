"""Why a GPU cannot be used: with drivers that are missing, too old, or broken."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from inference import machine


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A torch for CUDA 13.0 that finds no GPU."""
    made = types.ModuleType("torch")
    made.version = types.SimpleNamespace(cuda="13.0")  # type: ignore[attr-defined]
    made.cuda = types.SimpleNamespace(is_available=lambda: False)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", made)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return made


def driver(monkeypatch: pytest.MonkeyPatch, version: str, newest: int) -> None:
    made: Any = types.ModuleType("pynvml")
    made.nvmlInit = lambda: None
    made.nvmlSystemGetDriverVersion = lambda: version
    made.nvmlSystemGetCudaDriverVersion_v2 = lambda: newest
    monkeypatch.setitem(sys.modules, "pynvml", made)


def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    made: Any = types.ModuleType("pynvml")

    def fail() -> None:
        raise OSError("NVML Shared Library Not Found")

    made.nvmlInit = fail
    monkeypatch.setitem(sys.modules, "pynvml", made)


def test_a_driver_too_old_for_the_bundled_cuda_is_named(torch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(monkeypatch, "535.183.01", 12020)
    assert machine.gpu_problem() == (
        "The NVIDIA driver 535.183.01 is too old: it knows CUDA 12.2, and CUDA 13.0 is wanted."
    )
    assert machine.choose_device("auto") == "cpu"


def test_a_driver_that_is_new_enough_and_does_not_work_is_told(
    torch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver(monkeypatch, "580.1", 13000)
    assert "cannot be used" in machine.gpu_problem()


@pytest.mark.parametrize(
    ("vendor", "kind", "told"),
    [("0x10de", "0x030000", True), ("0x10de", "0x040300", False), ("0x8086", "0x030000", False)],
    ids=["its graphics", "its sound", "somebody else's graphics"],
)
def test_a_missing_driver_matters_only_where_there_is_a_gpu(
    torch: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, vendor: str, kind: str, told: bool
) -> None:
    no_driver(monkeypatch)
    device = tmp_path / "0000:01:00.0"
    device.mkdir()
    (device / "vendor").write_text(f"{vendor}\n")
    (device / "class").write_text(f"{kind}\n")
    assert machine._has_nvidia_device(tmp_path) == told
    monkeypatch.setattr(machine, "_has_nvidia_device", lambda: told)
    assert bool(machine.gpu_problem()) == told


def test_nothing_is_said_where_there_is_nothing_to_say(torch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(monkeypatch, "535.1", 12020)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert machine.gpu_problem() == ""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    torch.cuda.is_available = lambda: True
    assert machine.gpu_problem() == ""
    torch.cuda.is_available = lambda: False
    torch.version.cuda = None
    assert machine.gpu_problem() == ""
    monkeypatch.delitem(sys.modules, "torch")
    assert machine.gpu_problem() == ""
