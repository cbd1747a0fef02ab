"""Blocking library calls as generators: progress comes out, and a cancel does not wait for the call."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from typing import Generic, TypeVar

from inference.events import Progress
from inference.running import RunHandle

Result = TypeVar("Result")

#: Seconds between two looks at the cancel flag.
_LOOK = 0.02


class Reporter:
    """What the work tells: how far it is. Telling also asks: cancelled work ends at its next report."""

    def __init__(self, handle: RunHandle) -> None:
        self._handle = handle
        self._lock = threading.Lock()
        self._news: list[Progress] = []

    def report(self, stage: str, done: int, total: int, unit: str) -> None:
        """Say how far the work is; of each stage only the newest word is kept until it is taken.

        Raises:
            RunCancelled: The run was cancelled.
        """
        self.check()
        progress = Progress(run_id=self._handle.run_id, stage=stage, done=done, total=total, unit=unit)
        with self._lock:
            if self._news and self._news[-1].stage == stage:
                self._news.pop()
            self._news.append(progress)

    def take(self) -> list[Progress]:
        """What is new since the last time."""
        with self._lock:
            news, self._news = self._news, []
        return news

    def check(self) -> None:
        """Raise :class:`RunCancelled` if the run was cancelled."""
        self._handle.check()


class _Outcome(Generic[Result]):
    """What the work ended with: exactly one of the two."""

    def __init__(self, value: Result | None, error: BaseException | None) -> None:
        self.value = value
        self.error = error


def in_background(
    work: Callable[[Reporter], Result], handle: RunHandle, *, name: str
) -> Generator[Progress, None, Result]:
    """Run ``work`` on a thread of its own and yield its latest progress while it lasts.

    A cancel, and closing the generator, leave at once. The thread can't be stopped from outside (it may be
    inside an import or a system call): it ends at its next report, its result is dropped, and being a daemon
    it never keeps the program from exiting.

    Raises:
        RunCancelled: The run was cancelled.
        Exception: Whatever ``work`` raised.
    """
    outcomes: queue.SimpleQueue[_Outcome[Result]] = queue.SimpleQueue()
    reporter = Reporter(handle)

    def run() -> None:
        try:
            outcome = _Outcome(work(reporter), None)
        except BaseException as error:  # re-raised on the asking thread
            outcome = _Outcome(None, error)
        if not handle.cancelled:
            outcomes.put(outcome)

    threading.Thread(target=run, name=name, daemon=True).start()
    try:
        while True:
            try:
                outcome = outcomes.get(timeout=_LOOK)
                break
            except queue.Empty:
                handle.check()
                yield from reporter.take()
        handle.check()
        if outcome.error is not None:
            raise outcome.error
        yield from reporter.take()
    except GeneratorExit:
        handle.cancel()
        raise
    return outcome.value  # type: ignore[return-value]  # no error, so there is a value
