"""Looking tokens up while the engine is at work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from app.controllers.vocabulary import VocabularyController
from app.desk import Desk
from app.engines import Beside
from app.worker import Worker
from inference.events import (
    Event,
    Failed,
    FindTokensRequest,
    FoundToken,
    GenerateRequest,
    LoadRequest,
    Message,
    ModelLoaded,
    TokensFound,
)
from inference.running import RunHandle, new_run_id
from views.models.model_choice import ModelChoiceModel

CAT = FoundToken(id=3, text=" cat")


def find(request: FindTokensRequest, handle: RunHandle) -> Iterator[Event]:
    yield TokensFound(run_id=request.run_id, text=request.text, matches=(CAT,))


@pytest.fixture
def workers(fake_session: Any) -> Iterator[tuple[Worker, Worker]]:
    """The engine's worker and the one beside it, on one session."""
    fake_session.script[FindTokensRequest] = find
    beside = Beside(lambda: fake_session)
    both = Worker(beside.make_engine, name="engine"), Worker(lambda: beside, name="beside")
    yield both
    for worker in both:
        assert worker.shut_down()


def test_a_token_is_found_while_a_reply_is_being_written(
    workers: tuple[Worker, Worker], fake_session: Any, qtbot: Any
) -> None:
    engine, beside = workers
    fake_session.stepwise = True
    models = ModelChoiceModel()
    loading, reading = Desk(engine), Desk(beside)
    loading.submit(LoadRequest(run_id=new_run_id(), model="builtin"), lambda events: note(models, events))
    qtbot.waitUntil(lambda: models.loaded is not None)
    writing = GenerateRequest(run_id=new_run_id(), messages=(Message(role="user", content="Hello"),))
    handle = loading.submit(writing, lambda events: None)
    qtbot.waitUntil(lambda: bool(fake_session.of(GenerateRequest)))
    controller = VocabularyController(desk=reading, models=models)
    with qtbot.waitSignal(controller.found) as answer:
        controller.look_up("cat")
    assert answer.args == ["cat", (CAT,)]
    assert engine.busy
    handle.cancel()
    qtbot.waitUntil(lambda: not engine.busy)


def test_nothing_else_is_answered_beside_the_engine(workers: tuple[Worker, Worker], qtbot: Any) -> None:
    said: list[Event] = []
    request = GenerateRequest(run_id=new_run_id(), messages=(Message(role="user", content="Hello"),))
    desk = Desk(workers[1])
    desk.submit(request, said.extend)
    qtbot.waitUntil(lambda: bool(said))
    assert isinstance(said[0], Failed)


def note(models: ModelChoiceModel, events: tuple[Event, ...]) -> None:
    for event in events:
        if isinstance(event, ModelLoaded):
            models.set_loaded(event)
