"""Fixtures of the app's tests: profiles in temporary folders, made-up tokens, collected faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.history import History
from inference.events import Candidate, Stage, Token


class FaultSink(list[dict[str, str]]):
    """Collects what would be shown in the faults list."""

    def __call__(self, *, kind: str, message: str, hint: str, details: str = "", **_: str) -> None:
        self.append({"kind": kind, "message": message, "hint": hint, "details": details})

    @property
    def kinds(self) -> list[str]:
        """The kinds of all faults, in order."""
        return [fault["kind"] for fault in self]


@pytest.fixture
def faults() -> FaultSink:
    """A place for faults to be reported to."""
    return FaultSink()


@pytest.fixture
def history_path(tmp_path: Path) -> Path:
    """Where a test's history file is."""
    return tmp_path / "profile" / "history.sqlite3"


@pytest.fixture
def open_history(history_path: Path, faults: FaultSink) -> Iterator[Callable[..., History]]:
    """Open the test's history, as often as wanted; all are closed at the end."""
    opened: list[History] = []

    def make(**options: bool) -> History:
        history = History(history_path, faults, **options)
        opened.append(history)
        return history

    yield make
    for history in opened:
        history.close()


@pytest.fixture
def history(open_history: Callable[..., History]) -> History:
    """An open, empty history."""
    return open_history()


@pytest.fixture
def make_tokens() -> Callable[..., tuple[Token, ...]]:
    """Make tokens, one for each of some texts, as an engine would report them."""

    def make(texts: list[str], *, first: int = 0, run_id: int = 0) -> tuple[Token, ...]:
        return tuple(_token(index, text, run_id) for index, text in enumerate(texts, start=first))

    return make


def _token(index: int, text: str, run_id: int) -> Token:
    candidates = (
        Candidate(id=100 + index, text=text, raw_logprob=-0.25, sampled_prob=0.8125),
        Candidate(id=7, text=" other", raw_logprob=-1.625, sampled_prob=0.1875),
    )
    return Token(
        run_id=run_id,
        index=index,
        id=100 + index,
        text=text,
        data=text.encode(),
        special=False,
        raw_logprob=-0.25,
        sampled_prob=0.8125,
        entropy=0.5,
        candidates=candidates,
        stages=(
            Stage(name="raw", probs=(0.75, 0.25), removed=0.0),
            Stage(name="top-k", probs=(0.8125, 0.1875), removed=0.125),
        ),
        at=0.5 * index,
    )


@pytest.fixture(autouse=True)
def _tidy(nothing_left_running: None) -> None:
    """Every test of the app leaves no thread and no timer."""
