"""Everything that goes wrong ends here: in the log file, and in the list that the user sees; never in a
dialog.
"""

from __future__ import annotations

import faulthandler
import logging
import logging.handlers
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TextIO

from PySide6.QtCore import QMessageLogContext, QObject, QtMsgType, Signal, Slot, qInstallMessageHandler

from app.trail import frames
from inference.events import Failed
from views.models.faults import Fault, FaultsModel

logger = logging.getLogger(__name__)

_LOG_BYTES, _LOG_FILES = 1_000_000, 4


class FaultReporter(QObject):
    """Takes faults from any thread, logs them, and adds them to the list on the GUI thread.

    Args:
        model: The list that the window shows.
    """

    _reported = Signal(object)

    def __init__(self, model: FaultsModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._model = model
        self._reported.connect(self._add)

    def report(
        self,
        *,
        kind: str,
        message: str,
        hint: str,
        details: str = "",
        action: str = "",
        action_label: str = "",
    ) -> None:
        """Log and show one fault; may be called from any thread."""
        logger.error("%s: %s %s\n%s", kind, message, hint, details, extra={"trail": kind})
        self._reported.emit(
            Fault(
                kind=kind,
                message=message,
                hint=hint,
                details=details,
                action=action,
                action_label=action_label,
            )
        )

    def report_failed(self, failed: Failed) -> None:
        """Show how a run broke off."""
        self.report(kind=failed.kind, message=failed.message, hint=failed.hint, details=failed.details)

    @Slot(object)
    def _add(self, fault: Fault) -> None:
        self._model.add(fault)


class Hooks:
    """Catches what nobody caught: exceptions on any thread, Qt's own warnings, crashes of the process.

    Args:
        reporter: Told of exceptions; Qt's messages go to the log only.
    """

    def __init__(self, reporter: FaultReporter) -> None:
        self._reporter = reporter
        self._crash_file: TextIO | None = None
        self._previous: tuple[Callable[..., object], Callable[..., object]] | None = None

    def install(self, crash_file: Path | None = None) -> None:
        """Begin catching; a crash of the interpreter leaves the stacks of all threads in ``crash_file``."""
        self._previous = sys.excepthook, threading.excepthook
        sys.excepthook = self._on_exception
        threading.excepthook = self._on_thread_exception
        qInstallMessageHandler(_log_qt_message)
        if crash_file is not None:
            with suppress(OSError):
                crash_file.parent.mkdir(parents=True, exist_ok=True)
                self._crash_file = crash_file.open("a", encoding="utf-8")
                faulthandler.enable(self._crash_file)

    def remove(self) -> None:
        """Stop catching."""
        if self._previous is not None:
            sys.excepthook, threading.excepthook = self._previous
            self._previous = None
            qInstallMessageHandler(None)
        if self._crash_file is not None:
            faulthandler.disable()
            self._crash_file.close()
            self._crash_file = None

    def _on_exception(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
            return
        self._reporter.report(
            kind="internal",
            message=f"Something went wrong inside the app ({kind.__name__}).",
            hint="You can go on. If it happens again, copy the details into a report.",
            details="".join(traceback.format_exception(kind, error, trace)),
        )
        logger.info("Where it was raised", extra={"trail": "\n".join(frames(kind, trace))})

    def _on_thread_exception(self, arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_value is not None:
            self._on_exception(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)


def start_log(path: Path) -> logging.Handler:
    """Write the log to a rotating file; to standard error where the file cannot be written."""
    handler: logging.Handler
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(
            path, maxBytes=_LOG_BYTES, backupCount=_LOG_FILES, encoding="utf-8"
        )
    except OSError:
        handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(threadName)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    # A full disk must not turn every log line into a traceback on a terminal that nobody sees.
    logging.raiseExceptions = False
    return handler


_LEVELS = {
    QtMsgType.QtDebugMsg: logging.DEBUG,
    QtMsgType.QtInfoMsg: logging.INFO,
    QtMsgType.QtWarningMsg: logging.WARNING,
    QtMsgType.QtCriticalMsg: logging.ERROR,
    QtMsgType.QtFatalMsg: logging.CRITICAL,
}


def _log_qt_message(kind: QtMsgType, context: QMessageLogContext, message: str) -> None:
    logging.getLogger("qt").log(_LEVELS.get(kind, logging.WARNING), "%s", message)
