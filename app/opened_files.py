"""The QApplication: where macOS says which files to open.

On other systems a file opened from the desktop is an argument of a second start (see ``app.instance``); the
Finder sends an event to the running program instead, perhaps before there is a window.
"""

from __future__ import annotations

from PySide6.QtCore import QEvent, Signal
from PySide6.QtGui import QFileOpenEvent
from PySide6.QtWidgets import QApplication


class Application(QApplication):
    """Tells which files the desktop wants opened."""

    #: Paths (list of str) to open in the window.
    files_opened = Signal(list)

    def __init__(self, arguments: list[str]) -> None:
        super().__init__(arguments)
        self._waiting: list[str] | None = []

    def event(self, event: QEvent) -> bool:
        """Take the request for a file; everything else goes its way."""
        if isinstance(event, QFileOpenEvent):
            if path := event.file():
                self._open(path)
            return True
        return super().event(event)

    def window_is_ready(self) -> None:
        """From now on files are told at once; those that came before are told now."""
        paths, self._waiting = self._waiting, None
        if paths:
            self.files_opened.emit(paths)

    def _open(self, path: str) -> None:
        if self._waiting is None:
            self.files_opened.emit([path])
        else:
            self._waiting.append(path)
