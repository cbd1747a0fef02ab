"""How long the app took to its milestones, written to the log: painted, model loaded, first token."""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from PySide6.QtCore import QObject, Slot

if TYPE_CHECKING:
    from app.bootstrap import App

logger = logging.getLogger(__name__)


def seconds_since_start() -> float:
    """Seconds since this process was started, to a hundredth.

    On Linux psutil's time of creation rests on the boot time in whole seconds, so it may be a second too
    early; there both are counted on the kernel's own clock.
    """
    if sys.platform != "linux":
        return time.time() - psutil.Process().create_time()
    fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    started = int(fields[19]) / os.sysconf("SC_CLK_TCK")  # field 22, "starttime", proc(5)
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


class Milestones(QObject):
    """Listens to the app; seconds count from the start of the process, a reply's from its beginning."""

    def __init__(self, app: App) -> None:
        super().__init__(app)
        self._asked: float | None = None
        app.painted.connect(self._painted)
        app.models.models.loaded_changed.connect(self._loaded)
        app.generation.busy_changed.connect(self._busy)
        app.generation.tokens_came.connect(self._tokens)

    @Slot()
    def _painted(self) -> None:
        logger.info("Painted %.2f s after the start", seconds_since_start())

    @Slot(object)
    def _loaded(self, loaded: object) -> None:
        if loaded is not None:
            logger.info("Model loaded %.2f s after the start", seconds_since_start())

    @Slot(object)
    def _busy(self, conversation: object) -> None:
        self._asked = time.perf_counter() if conversation is not None else None

    @Slot(int)
    def _tokens(self, count: int) -> None:
        if self._asked is not None:
            logger.info("First token after %.3f s", time.perf_counter() - self._asked)
            self._asked = None
