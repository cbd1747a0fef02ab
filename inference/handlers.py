"""What the session does with each kind of request; heavy modules are imported where they are needed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from inference.errors import InvalidRequest
from inference.events import (
    DownloadRequest,
    DraftLoaded,
    Event,
    GenerateRequest,
    InspectRequest,
    ListModelsRequest,
    LoadDraftRequest,
    LoadRequest,
    PromptRendered,
    RenderRequest,
    ScoreRequest,
    UnloadRequest,
)
from inference.running import RunHandle

if TYPE_CHECKING:
    from inference.session import Session


def load(session: Session, request: LoadRequest, handle: RunHandle) -> Iterator[Event]:
    """Put another model in place of the one that is loaded -> [ModelUnloaded], Progress ..., ModelLoaded.

    The old model goes before the new one comes, as two seldom fit; but only once the new one's files have
    been found whole, so a slip of the hand does not cost the model that works.
    """
    from inference.remote import address
    from inference.remote import handlers as remote

    if address.is_remote(request.model):
        yield from remote.load(session, request, handle)
        return

    from inference import catalog, loading
    from inference.models.loaded_model import trim_heap

    began = time.perf_counter()
    catalog.find_model(request.model)
    yield from unload(session, UnloadRequest(run_id=request.run_id), handle)
    loaded = yield from loading.load(request, handle)
    session.use(loaded)
    trim_heap()  # what it took to pack the weights for single steps
    event = loading.loaded_event(request, loaded, time.perf_counter() - began)
    yield replace(event, single_tokens=session.require_engine().single_tokens)


def unload(session: Session, request: UnloadRequest, handle: RunHandle) -> Iterator[Event]:
    """Free the model; nothing happens if there is none -> [ModelUnloaded]."""
    if session.remote is not None:
        from inference.remote import handlers as remote

        yield from remote.unload(session, request, handle)
        return

    from inference import loading

    loaded = session.loaded
    before = None if loaded is None else loaded.memory()
    session.close()
    if loaded is not None:
        yield loading.unload(loaded, request.run_id, before=before)


def load_draft(session: Session, request: LoadDraftRequest, handle: RunHandle) -> Iterator[Event]:
    """Put a draft model beside the loaded one -> Progress ..., DraftLoaded.

    Raises:
        InvalidRequest: It has another vocabulary.
    """
    from inference import loading
    from inference.engine import Engine
    from inference.generation.drafting import check_draft

    began = time.perf_counter()
    engine = session.require_engine()
    session.drop_draft()
    if not request.model:
        yield DraftLoaded(run_id=request.run_id, model="")
        return
    wanted = LoadRequest(
        run_id=request.run_id,
        model=request.model,
        quantization=request.quantization,
        device=request.device,
        context_length=request.context_length,
    )
    loaded = yield from loading.load(wanted, handle)
    try:
        check_draft(engine, loaded)
    except InvalidRequest:
        loading.unload(loaded, request.run_id)
        raise
    session.draft = Engine(loaded)
    yield DraftLoaded(
        run_id=request.run_id,
        model=loaded.info.source,
        name=loaded.info.name,
        seconds=time.perf_counter() - began,
        memory=loaded.memory(),
    )


def inspect(session: Session, request: InspectRequest, handle: RunHandle) -> Iterator[Event]:
    """Describe a model from its files -> ModelInspected."""
    from inference.remote import address
    from inference.remote import handlers as remote

    if address.is_remote(request.model):
        yield from remote.inspect(session, request, handle)
        return

    from inference import catalog

    yield catalog.inspect(request)


def list_models(session: Session, request: ListModelsRequest, handle: RunHandle) -> Iterator[Event]:
    """What the picker can offer -> ModelsListed."""
    from inference import catalog

    yield catalog.list_models(request)


def download(session: Session, request: DownloadRequest, handle: RunHandle) -> Iterator[Event]:
    """Fetch a model from the hub -> Progress ..., Downloaded."""
    from inference.models import download as hub

    yield from hub.download(request, handle)


def render(session: Session, request: RenderRequest, handle: RunHandle) -> Iterator[Event]:
    """What the chat template makes of messages -> PromptRendered."""
    from inference.prompts import build_prompt

    engine = session.require_engine()
    scored = ScoreRequest(run_id=request.run_id, messages=request.messages, reply_text=request.reply_text)
    prompt = build_prompt(engine.loaded, engine.table, scored, room=None)
    yield PromptRendered(run_id=request.run_id, text=prompt.text, tokens=len(prompt.ids))


def generate(session: Session, request: GenerateRequest, handle: RunHandle) -> Iterator[Event]:
    """Continue a chat or a text; see :func:`inference.decoding.generate`."""
    from inference import decoding

    engine, draft = session.require_engine(), None
    if request.draft:
        if session.draft is None:
            raise InvalidRequest("No draft model is loaded.", hint="Load one, or write without it.")
        draft = session.draft
    yield from decoding.generate(engine, request, handle, draft=draft)


def score(session: Session, request: ScoreRequest, handle: RunHandle) -> Iterator[Event]:
    """Probabilities of given text; see :func:`inference.inspection.scoring.score`."""
    from inference.inspection import scoring

    yield from scoring.score(session.require_engine(), request, handle)
