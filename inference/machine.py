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
