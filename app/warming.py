"""What a first look at a panel would wait for, fetched while nothing is going on."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable

from PySide6.QtCore import QObject, QTimer, Slot

_IDLE_MS = 3000
#: The monitor's plots.
_MODULES = ("numpy", "pyqtgraph")


def _import_all() -> None:
    for name in _MODULES:
        importlib.import_module(name)


class Warming(QObject):
    """Imports on a thread of its own, once, some seconds after the first model is ready: the window's
    thread and the model's first load are not held up.

    Args:
        work: What is done there.
    """

    def __init__(self, parent: QObject | None = None, *, work: Callable[[], None] = _import_all) -> None:
        super().__init__(parent)
        self._work = work
        self._done = False
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(_IDLE_MS)
        self._later.timeout.connect(self._begin)

    @Slot(object)
    def note_model(self, loaded: object) -> None:
        """A model is ready, or none is any more."""
        if loaded is not None and not self._done:
            self._later.start()

    @Slot(object)
    def note_busy(self, conversation: object) -> None:
        """A reply is being written (not None): not now."""
        if self._later.isActive():
            self._later.start()

    def stop(self) -> None:
        """The app is being closed."""
        self._later.stop()
        self._done = True

    def _begin(self) -> None:
        self._done = True
        # A daemon: an import can't be stopped, and must not keep the app from closing.
        threading.Thread(target=self._work, name="warming", daemon=True).start()
