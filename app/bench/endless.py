"""The app's engine with a model that never ends a reply by itself: all measured replies are as long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from app.engines import make_engine
from inference.events import Event, GenerateRequest, Request
from inference.running import RunHandle


class Endless:
    """A session as the app makes it; its model's end tokens end nothing."""

    def __init__(self) -> None:
        self._session = make_engine()

    def run(self, request: Request, handle: RunHandle) -> Iterator[Event]:
        """As :meth:`inference.session.Session.run`."""
        engine = self._session.engine
        if isinstance(request, GenerateRequest) and engine is not None:
            engine.loaded = replace(engine.loaded, eos_ids=frozenset())
        yield from self._session.run(request, handle)
