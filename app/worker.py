"""The thread on which a session works, and the one door to it.

A :class:`Worker` lives on the GUI thread. ``submit`` puts a request into the queue of a thread of its own
and returns the run's :class:`~inference.running.RunHandle`: cancelling it and swapping its controls are the
only writes that cross the threads. What the session yields comes back through :attr:`Worker.events` as
tuples, at most one a frame.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from PySide6.QtCore import QObject, QThread, QTimer, Signal, Slot

from app.trail import frames
from inference.events import ENDINGS, Cancelled, Event, Failed, Request, SamplingControls
from inference.running import RunHandle

logger = logging.getLogger(__name__)

#: Seconds between two frames, and the share of the GUI thread's time that they may take: while it runs
#: Python, a decode loop has to wait for its turn.
SHORTEST_FRAME, LONGEST_FRAME = 0.04, 0.15
FRAME_SHARE = 0.03


class SessionLike(Protocol):
    """What a worker needs of ``inference.session.Session``."""

    def run(self, request: Request, handle: RunHandle) -> Iterator[Event]:
        """Do what ``request`` asks for, as a generator of events that ends in one of ``ENDINGS``."""
        ...


class _Drain(QObject):
    """Lives on the worker's thread: makes the session there, runs requests in order, leaves events in the
    outbox.
    """

    woken = Signal(bool)

    def __init__(self, make_session: Callable[[], SessionLike], outbox: deque[Event]) -> None:
        super().__init__()
        self._make_session = make_session
        self._session: SessionLike | None = None
        self._outbox = outbox
        #: Set here, cleared by the GUI thread before it empties the outbox: one wake-up is on its way at
        #: most.
        self.wake_pending = False

    @Slot(object, object)
    def run(self, request: Request, handle: RunHandle) -> None:
        """Run one request to its end; whatever goes wrong becomes ``Failed``."""
        try:
            ended = self._drain(request, handle)
            details = "" if ended else f"{type(request).__name__} ended without an answer."
        except Exception as error:
            ended, details = False, traceback.format_exc()
            where = "\n".join(frames(type(error), error.__traceback__))
            logger.error("An exception ended a run", extra={"trail": where})
        if not ended:
            logger.error("A run broke off:\n%s", details)
            self._post(_internal_failure(request.run_id, details))

    def _drain(self, request: Request, handle: RunHandle) -> bool:
        if handle.cancelled:
            self._post(Cancelled(run_id=request.run_id))
            return True
        if self._session is None:
            self._session = self._make_session()
        for event in self._session.run(request, handle):
            self._post(event)
            if isinstance(event, ENDINGS):
                return True
        return False

    def _post(self, event: Event) -> None:
        self._outbox.append(event)
        ending = isinstance(event, ENDINGS)
        if ending or not self.wake_pending:
            self.wake_pending = True
            self.woken.emit(ending)


class Worker(QObject):
    """A session on its own thread.

    Args:
        make_session: Called once, on the worker's thread, when the first request is run: the slow imports
        happen there.
        name: The thread's name, for the log and for debuggers.
        parent: Owner in Qt's object tree.
    """

    #: A tuple of events, in order; connect bound methods of QObjects that live on the GUI thread only.
    events = Signal(object)
    _submitted = Signal(object, object)

    def __init__(
        self, make_session: Callable[[], SessionLike], *, name: str = "engine", parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._outbox: deque[Event] = deque()
        self._open: dict[int, RunHandle] = {}
        self._shown_at = 0.0
        self._wait = SHORTEST_FRAME
        self._processor_time = time.thread_time()
        self._frame = QTimer(self)
        self._frame.setSingleShot(True)
        self._frame.timeout.connect(self._flush)
        self._thread = QThread(self)
        self._thread.setObjectName(name)
        self._drain = _Drain(make_session, self._outbox)
        self._drain.moveToThread(self._thread)
        self._submitted.connect(self._drain.run)
        self._drain.woken.connect(self._on_woken)
        self._closed = False
        self._thread.start()

    def submit(self, request: Request, controls: SamplingControls | None = None) -> RunHandle:
        """Queue a request behind those that are running and return its handle."""
        handle = RunHandle(request.run_id, controls)
        if self._closed:
            handle.cancel()
            return handle
        self._open[request.run_id] = handle
        self._submitted.emit(request, handle)
        return handle

    @property
    def busy(self) -> bool:
        """Whether a run has not ended yet, as far as the GUI thread has seen."""
        return bool(self._open)

    def cancel_all(self) -> None:
        """Ask every run, running or waiting, to stop."""
        for handle in self._open.values():
            handle.cancel()

    def shut_down(self, timeout: float = 1.5) -> bool:
        """Cancel everything and end the thread.

        What the runs had said by then is delivered first. Returns False if the thread is still in a call
        that cannot be interrupted after ``timeout`` seconds (an import, a single large read): the process
        has to be left by ``os._exit`` then, since destroying a running thread aborts.
        """
        self._closed = True
        self.cancel_all()
        self._thread.quit()
        stopped = self._thread.wait(int(timeout * 1000))
        self._flush()
        return stopped

    @Slot(bool)
    def _on_woken(self, at_once: bool) -> None:
        wait = self._shown_at + self._wait - time.monotonic()
        if at_once or wait <= 0:
            self._flush()
        elif not self._frame.isActive():
            self._frame.start(int(wait * 1000) + 1)

    @Slot()
    def _flush(self) -> None:
        self._frame.stop()
        self._shown_at = time.monotonic()
        busy, self._processor_time = self._processor_time, time.thread_time()
        self._wait = frame_seconds(self._processor_time - busy)
        self._drain.wake_pending = False
        batch = tuple(self._outbox.popleft() for _ in range(len(self._outbox)))
        for event in batch:
            if isinstance(event, ENDINGS):
                self._open.pop(event.run_id, None)
        if batch:
            self.events.emit(batch)


def frame_seconds(processor_time: float) -> float:
    """How long to wait for the next frame when the last one took so much of the GUI thread's processor time,
    in seconds.
    """
    return min(LONGEST_FRAME, max(SHORTEST_FRAME, processor_time / FRAME_SHARE))


def _internal_failure(run_id: int, details: str) -> Failed:
    return Failed(
        run_id=run_id,
        kind="internal",
        message="Something went wrong inside the app.",
        hint="Copy the details into a report. The model and your conversations are kept.",
        details=details,
    )
