"""The worker: requests in, events out once a frame, runs that end in every way they can."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from PySide6.QtCore import QObject, QThread, Slot

from app.worker import FRAME_SHARE, LONGEST_FRAME, SHORTEST_FRAME, Worker, frame_seconds
from inference.events import (
    Cancelled,
    ControlsChanged,
    Event,
    Failed,
    Finished,
    GenerateRequest,
    ListModelsRequest,
    LoadRequest,
    Message,
    SamplingControls,
    Token,
)
from inference.running import RunHandle, new_run_id


class Listener(QObject):
    """Collects what arrives on the GUI thread."""

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self.batches: list[tuple[Event, ...]] = []
        self.threads: set[QThread] = set()
        worker.events.connect(self.on_events)

    @Slot(object)
    def on_events(self, batch: tuple[Event, ...]) -> None:
        self.batches.append(batch)
        self.threads.add(QThread.currentThread())

    def of(self, run_id: int) -> list[Event]:
        return [event for batch in self.batches for event in batch if event.run_id == run_id]

    def ended(self, run_id: int) -> bool:
        return any(isinstance(event, (Finished, Cancelled, Failed)) for event in self.of(run_id))


@pytest.fixture
def start(qtbot: Any) -> Iterator[Callable[..., tuple[Worker, Listener]]]:
    workers: list[Worker] = []

    def make(session_or_factory: Any) -> tuple[Worker, Listener]:
        factory = session_or_factory if callable(session_or_factory) else lambda: session_or_factory
        worker = Worker(factory)
        workers.append(worker)
        return worker, Listener(worker)

    yield make
    for worker in workers:
        assert worker.shut_down()


def ask(**values: Any) -> GenerateRequest:
    return GenerateRequest(run_id=new_run_id(), messages=(Message(role="user", content="Hello"),), **values)


def test_the_session_is_made_and_run_on_the_workers_thread_and_answers_on_the_gui_thread(
    start: Any, fake_session: Any, qtbot: Any
) -> None:
    made_on: list[int] = []

    def make() -> Any:
        made_on.append(threading.get_ident())
        return fake_session

    worker, listener = start(make)
    assert made_on == []
    request = ask()
    worker.submit(request)
    qtbot.waitUntil(lambda: listener.ended(request.run_id))
    worker.submit(ask())
    qtbot.waitUntil(lambda: not worker.busy)
    assert len(made_on) == 1
    assert made_on[0] != threading.get_ident()
    assert {thread.objectName() for thread in listener.threads} == {QThread.currentThread().objectName()}


def test_events_arrive_whole_in_order_and_few_at_a_time(start: Any, fake_session: Any, qtbot: Any) -> None:
    fake_session.reply_pieces = tuple(f" {number}" for number in range(5000))
    worker, listener = start(fake_session)
    request = ask()
    worker.submit(request)
    qtbot.waitUntil(lambda: listener.ended(request.run_id), timeout=20_000)
    tokens = [event for event in listener.of(request.run_id) if isinstance(event, Token)]
    assert [token.index for token in tokens] == list(range(5000))
    assert len(listener.batches) < 1000
    assert isinstance(listener.batches[-1][-1], Finished)


def test_a_control_moved_in_mid_run_acts_on_the_very_next_token(
    start: Any, fake_session: Any, qtbot: Any
) -> None:
    fake_session.stepwise = True
    worker, listener = start(fake_session)
    request = ask()
    controls = SamplingControls(temperature=0.25)
    handle = worker.submit(request, controls)
    fake_session.step(2)
    qtbot.waitUntil(lambda: sum(isinstance(e, Token) for e in listener.of(request.run_id)) == 2)
    handle.controls = replace(controls, temperature=0.75)
    fake_session.step(3)
    qtbot.waitUntil(lambda: listener.ended(request.run_id))
    events = listener.of(request.run_id)
    assert [e.sampled_prob for e in events if isinstance(e, Token)] == [0.25, 0.25, 0.75, 0.75, 0.75]
    (change,) = [e for e in events if isinstance(e, ControlsChanged)]
    assert (change.index, change.changes) == (2, (("temperature", "0.25", "0.75"),))


def test_cancelling_ends_the_run_and_the_next_one_works(start: Any, fake_session: Any, qtbot: Any) -> None:
    fake_session.stepwise = True
    worker, listener = start(fake_session)
    request = ask()
    handle = worker.submit(request)
    fake_session.step()
    qtbot.waitUntil(lambda: any(isinstance(e, Token) for e in listener.of(request.run_id)))
    handle.cancel()
    qtbot.waitUntil(lambda: listener.ended(request.run_id))
    assert isinstance(listener.of(request.run_id)[-1], Cancelled)
    fake_session.stepwise = False
    second = ask()
    worker.submit(second)
    qtbot.waitUntil(lambda: listener.ended(second.run_id))
    assert isinstance(listener.of(second.run_id)[-1], Finished)


def test_a_run_that_is_cancelled_while_it_waits_never_reaches_the_session(
    start: Any, fake_session: Any, qtbot: Any
) -> None:
    fake_session.stepwise = True
    worker, listener = start(fake_session)
    first, second = ask(), ask()
    worker.submit(first)
    worker.submit(second).cancel()
    fake_session.step(10)
    qtbot.waitUntil(lambda: listener.ended(second.run_id))
    assert isinstance(listener.of(second.run_id)[-1], Cancelled)
    assert fake_session.requests == [first]


def raising(request: Any, handle: RunHandle) -> Iterator[Event]:
    raise RuntimeError("CUDA error: device-side assert triggered")
    yield


def without_end(request: Any, handle: RunHandle) -> Iterator[Event]:
    yield from ()


@pytest.mark.parametrize(
    ("script", "details"),
    [(raising, "device-side assert"), (without_end, "ended without an answer")],
    ids=["raises", "never ends"],
)
def test_whatever_a_session_does_the_run_ends_and_the_worker_goes_on(
    start: Any, qtbot: Any, script: Any, details: str
) -> None:
    class Broken:
        def run(self, request: Any, handle: RunHandle) -> Iterator[Event]:
            if isinstance(request, LoadRequest):
                return script(request, handle)
            return iter((Finished(run_id=request.run_id, reason="done"),))

    worker, listener = start(Broken())
    bad, good = LoadRequest(run_id=new_run_id(), model="x"), ListModelsRequest(run_id=new_run_id())
    worker.submit(bad)
    worker.submit(good)
    qtbot.waitUntil(lambda: listener.ended(good.run_id))
    (failed,) = listener.of(bad.run_id)
    assert isinstance(failed, Failed)
    assert failed.kind == "internal"
    assert details in failed.details
    assert isinstance(listener.of(good.run_id)[-1], Finished)


def test_a_session_that_cannot_be_made_fails_the_run_and_is_tried_again(
    start: Any, fake_session: Any, qtbot: Any
) -> None:
    answers: list[Any] = [ImportError("libtorch is missing"), fake_session]

    def make() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    worker, listener = start(make)
    first, second = ask(), ask()
    worker.submit(first)
    worker.submit(second)
    qtbot.waitUntil(lambda: listener.ended(second.run_id))
    assert "libtorch is missing" in listener.of(first.run_id)[-1].details
    assert isinstance(listener.of(second.run_id)[-1], Finished)


def test_an_event_that_nothing_follows_is_not_held_back(start: Any, fake_session: Any, qtbot: Any) -> None:
    fake_session.stepwise = True
    worker, listener = start(fake_session)
    request = ask()
    worker.submit(request)
    for count in (1, 2, 3):
        fake_session.step()
        qtbot.waitUntil(lambda n=count: sum(isinstance(e, Token) for e in listener.of(request.run_id)) == n)
    assert not listener.ended(request.run_id)


def test_shutting_down_in_mid_reply_delivers_what_was_said_and_ends_the_thread(
    start: Any, fake_session: Any, qtbot: Any
) -> None:
    fake_session.stepwise = True
    worker, listener = start(fake_session)
    request, waiting = ask(), ask()
    worker.submit(request)
    worker.submit(waiting)
    fake_session.step(2)
    qtbot.waitUntil(lambda: sum(isinstance(e, Token) for e in listener.of(request.run_id)) == 2)
    assert worker.shut_down()
    assert isinstance(listener.of(request.run_id)[-1], Cancelled)
    assert worker.submit(ask()).cancelled


def test_shutting_down_says_when_a_call_cannot_be_interrupted(fake_session: Any, qtbot: Any) -> None:
    release = threading.Event()

    def stuck(request: Any, handle: RunHandle) -> Iterator[Event]:
        release.wait()
        yield Finished(run_id=request.run_id, reason="done")

    fake_session.script[LoadRequest] = stuck
    worker = Worker(lambda: fake_session)
    worker.submit(LoadRequest(run_id=new_run_id(), model="x"))
    qtbot.waitUntil(lambda: len(fake_session.requests) == 1)
    assert not worker.shut_down(timeout=0.05)
    release.set()
    assert worker.shut_down()


def test_frames_take_their_share_of_the_window_thread_and_no_more() -> None:
    assert frame_seconds(0.0) == SHORTEST_FRAME
    middle = FRAME_SHARE * (SHORTEST_FRAME + LONGEST_FRAME) / 2
    assert frame_seconds(middle) * FRAME_SHARE == pytest.approx(middle)
    assert frame_seconds(1.0) == LONGEST_FRAME
