"""What the machine has: its GPUs and its free memory, without importing torch."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from pathlib import Path

import psutil

from inference.errors import NotAvailable
from inference.events import Device


def choose_device(device: Device) -> str:
    """ "cuda" or "cpu": "auto" is the GPU where there is one that torch can use. torch is not imported.

    Raises:
        NotAvailable: A GPU was asked for, and there is none.
    """
    if device == "cpu":
        return "cpu"
    if gpu_free_bytes():
        return "cuda"
    if device == "cuda":
        raise NotAvailable("There is no GPU that can be used here.", hint="Choose the CPU as the device.")
    return "cpu"


def free_memory(device: str) -> int:
    """Free bytes of all GPUs together, or of the machine within the limits of its container."""
    if device == "cuda":
        return sum(gpu_free_bytes())
    return min(int(psutil.virtual_memory().available), _container_free())


def gpu_free_bytes() -> list[int]:
    """Free bytes of each GPU that torch can use, in torch's order; empty where there is none."""
    torch = sys.modules.get("torch")
    try:
        if torch is not None:
            count = torch.cuda.device_count() if torch.cuda.is_available() else 0
            return [torch.cuda.mem_get_info(index)[0] for index in range(count)]
        if "+cpu" in importlib.metadata.version("torch"):
            return []
        import pynvml

        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        chosen = (
            range(count) if visible is None else [int(n) for n in visible.split(",") if n.strip().isdigit()]
        )
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in chosen if index < count]
        return [pynvml.nvmlDeviceGetMemoryInfo(handle).free for handle in handles]
    except Exception:  # no driver, no library or no torch: there is no GPU to use
        return []


def _container_free() -> int:
    """What a control group still allows; a very large number where there is no limit."""
    unlimited = 1 << 62
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            return min(unlimited, int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return unlimited


def gpu_problem() -> str:
    """Why a GPU that is in the machine cannot be used, in a sentence; empty where it can, where there is
    none, where torch is one for CPUs, or before torch is imported.
    """
    torch = sys.modules.get("torch")
    wanted = str(torch.version.cuda or "") if torch is not None else ""
    if torch is None or not wanted or torch.cuda.is_available():
        return ""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return ""
    found = _driver()
    if found is None:
        return "There is an NVIDIA GPU, but no driver for it." if _has_nvidia_device() else ""
    driver, newest = found
    if newest // 1000 < int(wanted.split(".")[0]):
        return (
            f"The NVIDIA driver {driver} is too old: it knows CUDA {newest // 1000}.{newest % 1000 // 10},"
            f" and CUDA {wanted} is wanted."
        )
    return f"The NVIDIA driver {driver} is there, but the GPU cannot be used."


def _driver() -> tuple[str, int] | None:
    """Version of the NVIDIA driver and the newest CUDA that it knows (13000 for 13.0); None without."""
    try:
        import pynvml

        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion()), int(pynvml.nvmlSystemGetCudaDriverVersion_v2())
    except Exception:  # no library, no driver, or one that does not answer
        return None


def _has_nvidia_device(devices: Path = Path("/sys/bus/pci/devices")) -> bool:
    """Whether a display or compute device of NVIDIA is on the bus (Linux)."""
    for device in devices.glob("*"):
        try:
            vendor, kind = ((device / name).read_text().strip() for name in ("vendor", "class"))
        except OSError:
            continue
        if vendor == "0x10de" and kind.startswith("0x03"):
            return True
    return False
