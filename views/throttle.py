"""At most so many updates a second."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, QTimer


class Throttle(QObject):
    """Calls ``action`` at once, then at most every ``milliseconds``; the last call is never lost.

    Args:
        action: What is to be done.
        milliseconds: Shortest time between two calls.
        parent: Whose life it shares.
    """

    def __init__(self, action: Callable[[], None], milliseconds: int, parent: QObject) -> None:
        super().__init__(parent)
        self._action = action
        self._pending = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(milliseconds)
        self._timer.timeout.connect(self._elapsed)

    def call(self) -> None:
        """Do it now, or soon."""
        if self._timer.isActive():
            self._pending = True
        else:
            self._timer.start()
            self._action()

    def stop(self) -> None:
        """Forget what is still to be done."""
        self._timer.stop()
        self._pending = False

    def _elapsed(self) -> None:
        if self._pending:
            self._pending = False
            self.call()
