"""A draft model in the window: chosen, refused, used, and gone with the main model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from app.controllers.drafts import DraftsController
from app.desk import Desk
from app.worker import Worker
from inference.errors import InvalidRequest
from inference.events import DraftLoaded, Event, LoadDraftRequest
from inference.running import RunHandle
from views.models.model_choice import ModelChoiceModel


def load(request: LoadDraftRequest, handle: RunHandle) -> Iterator[Event]:
    if request.model == "other":
        raise InvalidRequest("They have different vocabularies.", hint="Choose one of the same family.")
    yield DraftLoaded(run_id=request.run_id, model=request.model, name=request.model.title())


@pytest.fixture
def models(fake_session: Any) -> Iterator[ModelChoiceModel]:
    fake_session.script[LoadDraftRequest] = load
    worker = Worker(lambda: fake_session)
    desk, models = Desk(worker), ModelChoiceModel()
    models.controller = DraftsController(desk=desk, models=models)  # type: ignore[attr-defined]
    yield models
    assert worker.shut_down()


def choose(models: Any, source: str, qtbot: Any) -> None:
    models.controller.choose(source)
    qtbot.waitUntil(lambda: not models.draft.loading)


def test_a_draft_model_is_loaded_and_let_go_of(models: ModelChoiceModel, qtbot: Any) -> None:
    choose(models, "small", qtbot)
    assert models.draft.loaded is not None
    assert (models.draft.loaded.name, models.draft.source) == ("Small", "small")
    choose(models, "", qtbot)
    assert models.draft.loaded is None


def test_one_of_another_vocabulary_is_refused_with_the_reason(models: ModelChoiceModel, qtbot: Any) -> None:
    models.controller.choose("other")  # type: ignore[attr-defined]
    qtbot.waitUntil(lambda: models.draft.fault is not None)
    assert models.draft.fault is not None
    assert models.draft.fault.message == "They have different vocabularies."
    assert models.draft.loaded is None


def test_another_main_model_takes_the_draft_model_along(models: ModelChoiceModel, qtbot: Any) -> None:
    choose(models, "small", qtbot)
    models.set_loaded(None)
    assert models.draft.loaded is None
