"""Drives the real window from within its process: for the tour and the benchmarks."""

from __future__ import annotations

import time
from collections.abc import Callable

from PySide6.QtCore import QEventLoop, QTimer, SignalInstance
from PySide6.QtWidgets import QWidget

from app.bootstrap import App


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

        Raises:
            TimedOut: It did not.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimedOut(f"{what} did not come within {seconds:.0f} s")
            self.nap(0.02)

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
