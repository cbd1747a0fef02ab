"""How long the app took to its milestones, written to the log: painted, model loaded, first token."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import psutil
from PySide6.QtCore import QObject, Slot

if TYPE_CHECKING:
    from app.bootstrap import App

logger = logging.getLogger(__name__)


class Milestones(QObject):
    """Listens to the app; seconds count from the start of the process, a reply's from its beginning."""

    def __init__(self, app: App) -> None:
        super().__init__(app)
        self._started = psutil.Process().create_time()
        self._asked: float | None = None
        app.painted.connect(self._painted)
        app.models.models.loaded_changed.connect(self._loaded)
        app.generation.busy_changed.connect(self._busy)
        app.generation.tokens_came.connect(self._tokens)

    @Slot()
    def _painted(self) -> None:
        logger.info("Painted %.2f s after the start", time.time() - self._started)

    @Slot(object)
    def _loaded(self, loaded: object) -> None:
        if loaded is not None:
            logger.info("Model loaded %.2f s after the start", time.time() - self._started)

    @Slot(object)
    def _busy(self, conversation: object) -> None:
        self._asked = time.perf_counter() if conversation is not None else None

    @Slot(int)
    def _tokens(self, count: int) -> None:
        if self._asked is not None:
            logger.info("First token after %.3f s", time.perf_counter() - self._asked)
            self._asked = None
