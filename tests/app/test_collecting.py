"""Cyclic garbage is collected when it costs little, and a model that goes takes its cycles with it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from app.collecting import Collector


class Knot:
    """An object in a cycle with itself."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def collector(qapp: Any) -> Iterator[Collector]:
    before = gc.get_threshold()
    collector = Collector()
    collector.start()
    yield collector
    collector.stop()
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


def test_what_is_made_while_a_reply_is_written_is_collected_or_set_aside(collector: Collector) -> None:
    collector.set_aside()
    garbage = weakref.ref(Knot())
    kept = [Knot() for _ in range(100)]
    frozen = gc.get_freeze_count()
    collector.set_aside()
    assert garbage() is None
    assert gc.get_freeze_count() >= frozen + len(kept)


def test_when_the_model_goes_what_was_set_aside_is_looked_through(collector: Collector) -> None:
    model = Knot()
    gone = weakref.ref(model)
    collector.note_model(object())
    del model
    collector.set_aside()
    assert gone() is not None
    collector.note_model(None)
    assert gone() is None


def test_a_look_through_everything_never_comes_by_itself(collector: Collector) -> None:
    looks: list[int] = []

    def watch(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            looks.append(info["generation"])

    gc.callbacks.append(watch)
    try:
        kept = [[number] for number in range(300_000)]
    finally:
        gc.callbacks.remove(watch)
    assert len(kept) == 300_000
    assert {0, 1} <= set(looks)
    assert 2 not in looks
