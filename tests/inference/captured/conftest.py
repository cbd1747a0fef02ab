"""The same run on plain steps and on the step of fixed shapes, called where a GPU would replay it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from inference.engine import Engine
from inference.models.loaded_model import LoadedModel
from inference.session import Session


@pytest.fixture
def stepping() -> Callable[..., Session]:
    """A session whose engine takes steps of fixed shapes, without a graph."""

    def make(loaded: LoadedModel, **options: Any) -> Session:
        session = Session()
        session.engine = Engine(loaded, **{"steps": "uncaptured", **options})
        return session

    return make


@pytest.fixture
def both(llama: LoadedModel, stepping: Callable[..., Session]) -> tuple[Session, Session]:
    """Two sessions on the tiny Llama: plain steps, and steps of fixed shapes."""
    return stepping(llama, steps="plain"), stepping(llama)
