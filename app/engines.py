"""Sessions as the worker threads make them; the slow imports happen in here, behind the painted window."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from app.worker import SessionLike
from inference.events import Event, Failed, FindTokensRequest, Request
from inference.running import RunHandle

if TYPE_CHECKING:
    from inference.documents.libraries import Libraries
    from inference.session import Session


def make_engine() -> Session:
    """The session that loads models and writes replies; it leaves a core to the window."""
    import torch

    from inference.session import Session

    torch.set_num_threads(max(1, usable_cores() - 1))
    session = Session()
    session.libraries = _libraries()
    return session


class Beside:
    """What may be asked of the engine's session on a second thread while it is at work.

    That is only what reads the vocabulary of the loaded model: tables that a run reads, too, and that are
    replaced as a whole, never changed.

    Args:
        make: Makes the engine's session.
    """

    def __init__(self, make: Callable[[], SessionLike]) -> None:
        self._make = make
        self._session: SessionLike | None = None

    def make_engine(self) -> SessionLike:
        """Make the session, on the engine's thread."""
        self._session = self._make()
        return self._session

    def run(self, request: Request, handle: RunHandle) -> Iterator[Event]:
        """Answer on another thread."""
        if self._session is not None and isinstance(request, FindTokensRequest):
            yield from self._session.run(request, handle)
        else:
            yield Failed(
                run_id=request.run_id,
                kind="not-available",
                message="This can't be answered now.",
                hint="Load a model first.",
            )


def make_librarian() -> SessionLike:
    """A session for catalogs and downloads: it never holds a model."""
    from inference.session import Session

    return Session()


def make_documents() -> SessionLike:
    """A session that reads, searches and shows documents; all share one embedder with the engine."""
    from inference.session import Session

    session = Session()
    session.libraries = _libraries()
    return session


@functools.cache
def _libraries() -> Libraries:
    """Open libraries are shared between the threads; a file can be open once in a process."""
    from inference.documents.libraries import Libraries

    return Libraries()


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
