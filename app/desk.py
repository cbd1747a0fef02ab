"""Hands each run's events to whoever asked for it; events of a run that nobody waits for any more are
dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

from PySide6.QtCore import QObject, Slot

from app.worker import Worker
from inference.events import ENDINGS, Event, Request, SamplingControls
from inference.running import RunHandle

#: Takes the events of one run, at most one call a frame; the last event of the last call is an ending.
Listener = Callable[[tuple[Event, ...]], None]


class Desk(QObject):
    """Submits requests to a worker and knows who waits for which run.

    Args:
        worker: Where requests go.
    """

    def __init__(self, worker: Worker, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._worker = worker
        self._listeners: dict[int, Listener] = {}
        worker.events.connect(self._on_events)

    def submit(
        self, request: Request, listener: Listener, controls: SamplingControls | None = None
    ) -> RunHandle:
        """Queue a request; ``listener`` gets its events until it has ended or is dropped."""
        self._listeners[request.run_id] = listener
        return self._worker.submit(request, controls)

    def drop(self, handle: RunHandle | None) -> None:
        """Cancel a run and hear no more of it."""
        if handle is not None:
            handle.cancel()
            self._listeners.pop(handle.run_id, None)

    @Slot(object)
    def _on_events(self, batch: tuple[Event, ...]) -> None:
        for run_id, events in groupby(batch, key=_run_id):
            listener = self._listeners.get(run_id)
            if listener is None:
                continue
            mine = tuple(events)
            if isinstance(mine[-1], ENDINGS):
                del self._listeners[run_id]
            listener(mine)


def _run_id(event: Event) -> int:
    return event.run_id
