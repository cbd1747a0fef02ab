"""Drives the real window from within its process: for the tour and the benchmarks."""

from __future__ import annotations

import time
from collections.abc import Callable

from PySide6.QtCore import QEventLoop, QTimer, SignalInstance
from PySide6.QtWidgets import QWidget

from app.bootstrap import App

_PATIENCE = 5.0
_LONGEST_LOOK = 0.5


class TimedOut(Exception):
    """What was waited for did not come."""


class Driver:
    """Waits and finds; ``QTest.qWait`` would keep Python's lock and starve the engine's thread."""

    def __init__(self, app: App) -> None:
        self.app = app

    def nap(self, seconds: float) -> None:
        """Let the window live for a while."""
        loop = QEventLoop()
        QTimer.singleShot(round(seconds * 1000), loop.quit)
        loop.exec()

    def wait(self, condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
        """Let the window live until ``condition`` holds.

        Args:
            condition: Looked at between the window's events.
            what: What is waited for, as it is named if it does not come.
            seconds: What is long on a machine that does nothing else. A busy one gets several times that, and
                time in which the process was stopped or got no processor at all does not count.

        Raises:
            TimedOut: It did not.
        """
        waited, limit, looked = 0.0, seconds * _PATIENCE, time.monotonic()
        while not condition():
            if waited > limit:
                raise TimedOut(f"{what} did not come within {limit:.0f} s")
            self.nap(0.02)
            now = time.monotonic()
            waited += min(now - looked, _LONGEST_LOOK)
            looked = now

    def wait_for_signal(self, signal: SignalInstance, action: Callable[[], object]) -> None:
        """Do something and let the window live, undisturbed, until it says that it is done."""
        loop = QEventLoop()
        signal.connect(loop.quit)
        action()
        loop.exec()

    def find(self, name: str) -> QWidget:
        """The widget of this objectName.

        Raises:
            LookupError: There is none.
        """
        found = self.app.widgets.window.findChild(QWidget, name)
        if not isinstance(found, QWidget):
            raise LookupError(f"The window has no {name}.")
        return found

    def wait_for_model(self, seconds: float = 120.0) -> None:
        """Wait until the model that is being loaded is ready."""
        self.wait(lambda: self.app.models.models.loaded is not None, "the model", seconds)

    def wait_for_reply(self, seconds: float = 120.0) -> None:
        """Wait until no reply is being written."""
        self.wait(lambda: not self.app.generation.running, "the end of the reply", seconds)
