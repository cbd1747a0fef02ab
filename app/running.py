"""From a command line to a window and back: the life of the process."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import socket
import sys
from pathlib import Path

from PySide6.QtCore import QObject, QSocketNotifier, Slot
from PySide6.QtWidgets import QApplication

from app.bootstrap import App, Options
from app.faults import Hooks, start_log
from app.instance import hand_over
from app.launcher import DESKTOP_ID
from app.milestones import Milestones
from app.opened_files import Application
from app.profile import Profile
from app.trail import start_trail
from views import reading_accessible


def make_application() -> QApplication:
    """The one QApplication."""
    qt = QApplication.instance() or Application(sys.argv[:1])
    assert isinstance(qt, QApplication)
    qt.setApplicationName("model-loupe")
    qt.setApplicationDisplayName("Model Loupe")
    qt.setDesktopFileName(DESKTOP_ID)
    reading_accessible.install()
    return qt


def run(*, profile: str | None, paths: tuple[str, ...], safe_mode: bool) -> int:
    """Open the window and stay until it is closed; returns the exit status."""
    place = Profile.under(Path(profile)) if profile else Profile.default()
    start_log(place.log_file)
    start_trail(place.logs / "trail.log")
    qt = make_application()
    if hand_over(place, paths):
        return 0
    app = App(qt, Options(profile=place, paths=paths, safe_mode=safe_mode))
    hooks = Hooks(app.faults)
    hooks.install(app.mark.stacks_file)
    ending = Ending(app)
    Milestones(app)
    app.show()
    if isinstance(qt, Application):
        qt.files_opened.connect(app.shell.come_forward)
        qt.window_is_ready()
    status: int = qt.exec()
    hooks.remove()
    ending.leave(status)
    return status


def run_tour(folder: Path, *, profile: str | None) -> int:
    """Drive the window through its tour; returns 1 if any step failed."""
    from app.tour import Tour

    return Tour(make_application(), folder, profile).run()


class Ending(QObject):
    """Ends the process in order: after the window, after a signal, and with a thread that cannot be
    stopped.

    Taking torch apart object by object would take Python seconds after the window is gone. So the process
    is left as soon as everything that was registered to run at exit has run; what is registered first runs
    last.
    """

    def __init__(self, app: App) -> None:
        super().__init__()
        atexit.register(self._leave_at_once)
        self._status: int | None = None
        self._app = app
        self._threads_ended = True
        app.closed.connect(self._on_closed)
        if sys.platform != "win32":
            self._listen_to_signals()

    def leave(self, status: int) -> None:
        """End the process with this status, at once if a thread is in a call that cannot be interrupted;
        everything is saved by now.
        """
        self._status = status
        if not self._threads_ended:
            self._leave_at_once()

    def _leave_at_once(self) -> None:
        if self._status is not None:
            logging.shutdown()
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:  # a program without a console has none
                    stream.flush()
            os._exit(self._status)

    @Slot(bool)
    def _on_closed(self, threads_ended: bool) -> None:
        self._threads_ended = threads_ended
        QApplication.quit()

    def _listen_to_signals(self) -> None:
        """Close on SIGINT and SIGTERM as if by the window's button; Python's handlers alone would wait for
        the next event.
        """
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        self._notifier = QSocketNotifier(self._reader.fileno(), QSocketNotifier.Type.Read, self)
        self._notifier.activated.connect(self._on_signal)

    @Slot()
    def _on_signal(self) -> None:
        self._reader.recv(64)
        self._app.widgets.window.close()
