"""What a session with a model on a server does with each kind of request."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from inference.errors import NotAvailable
from inference.events import (
    Event,
    GenerateRequest,
    InspectRequest,
    LoadRequest,
    MemoryEstimate,
    ModelInspected,
    ModelLoaded,
    ModelUnloaded,
    Progress,
    PromptRendered,
    RenderRequest,
    Request,
    ScoreRequest,
    Server,
    ServerModels,
    ServerModelsRequest,
    UnloadRequest,
)
from inference.remote import address
from inference.running import RunHandle

if TYPE_CHECKING:
    from inference.remote.engine import RemoteEngine
    from inference.session import Session

_HERE = "Choose a model on this machine for that."
#: What needs more of a model than a server gives, by the name of the request.
_REASONS = {
    "LensRequest": "The logit lens reads the hidden states of every layer; a server keeps them to itself.",
    "AttentionRequest": "Attention maps read the model's attention weights; a server keeps them to itself.",
    "ExpertsRequest": "Which experts act is seen inside the model; a server keeps that to itself.",
    "RelatedTokensRequest": "Related words are found by embeddings, which a server keeps to itself.",
    "BoundaryRequest": "Token healing needs the model's vocabulary; a server keeps it to itself.",
    "FindTokensRequest": "The vocabulary is the server's; it can't be searched from here.",
    "ChatTemplateRequest": "The chat template is the server's: it puts the messages together itself.",
    "CompareMethodsRequest": "There is only one method of explaining that works with a server.",
    "LoadDraftRequest": "Only a model on this machine can have a draft model beside it.",
    "AttachAdapterRequest": "Adapters are put on a model's weights, which are on the server.",
    "CompareAdaptersRequest": "Adapters are put on a model's weights, which are on the server.",
}


def handler_for(request: Request) -> Callable[[Session, Any, RunHandle], Iterator[Event]] | None:
    """Who answers a request while the model is on a server; None: the session's own handler."""
    name = type(request).__name__
    if name in _REASONS:
        return refuse
    if isinstance(request, GenerateRequest):
        return generate
    if isinstance(request, ScoreRequest):
        return score
    if isinstance(request, RenderRequest):
        return render
    if name in ("ListMethodsRequest", "ExplainRequest"):
        from inference.remote import explaining

        return explaining.list_methods if name == "ListMethodsRequest" else explaining.explain
    return None


def refuse(session: Session, request: Request, handle: RunHandle) -> Iterator[Event]:
    """Say why this can't be done from afar."""
    raise NotAvailable(_REASONS[type(request).__name__], hint=_HERE)
    yield  # a generator, as every handler


def wanted(request: LoadRequest) -> Server:
    """The server that a load request means."""
    place = address.parse(request.model)
    given = request.server
    if given is not None and address.of(given) == place:
        return given
    return Server(url=place.url, model=place.model)


def load(session: Session, request: LoadRequest, handle: RunHandle) -> Iterator[Event]:
    """Connect to a server in place of the model that is loaded -> Progress, [ModelUnloaded], ModelLoaded.

    The old model goes once the server has answered.
    """
    from inference.remote import engine
    from inference.remote.describing import memory

    began = time.perf_counter()
    server = wanted(request)
    host = address.of(server).host
    yield Progress(run_id=request.run_id, stage=f"Connecting to {host}", done=0, total=0, unit="files")
    remote = engine.connect(server, request.key, handle)
    yield from _unload_before(session, request, handle)
    session.remote = remote
    yield ModelLoaded(
        run_id=request.run_id,
        info=remote.info(),
        quantization="none",
        device="server",
        context_length=remote.context_length,
        seconds=time.perf_counter() - began,
        memory=memory(),
        note=_note(remote),
    )


def _unload_before(session: Session, request: LoadRequest, handle: RunHandle) -> Iterator[Event]:
    if session.remote is None and session.engine is None:
        return
    from inference.handlers import unload as unload_any

    yield from unload_any(session, UnloadRequest(run_id=request.run_id), handle)


def _note(remote: RemoteEngine) -> str:
    """Where prompts go from now on."""
    place = address.of(remote.server)
    if place.this_machine:
        return f"Prompts go to {place.url}, a server on this machine."
    return f"Prompts leave this machine: they go to {place.url}."


def unload(session: Session, request: UnloadRequest, handle: RunHandle) -> Iterator[Event]:
    """Let go of the server -> ModelUnloaded."""
    from inference.remote.describing import memory

    session.close()
    yield ModelUnloaded(run_id=request.run_id, freed=0, memory=memory())


def inspect(session: Session, request: InspectRequest, handle: RunHandle) -> Iterator[Event]:
    """Describe a model on a server without asking it: connecting is left to the load -> ModelInspected."""
    from inference.remote.describing import describe

    place = address.parse(request.model)
    info = describe(Server(url=place.url, model=place.model), "unknown", connected=False)
    estimate = MemoryEstimate(device="server", weights=0, kv_cache=0, overhead=0, free=0)
    yield ModelInspected(run_id=request.run_id, info=info, estimate=estimate)


def server_models(session: Session, request: ServerModelsRequest, handle: RunHandle) -> Iterator[Event]:
    """Ask a server which models it has -> ServerModels."""
    from inference.remote.connection import Wire
    from inference.remote.engine import listed
    from inference.remote.kinds import KINDS

    with Wire(request.server, request.key, handle) as wire:
        entries, kind = listed(wire)
    yield ServerModels(
        run_id=request.run_id,
        url=wire.address.url,
        models=tuple(str(entry["id"]) for entry in entries),
        kind=kind,
        kind_title=KINDS[kind].title,
    )


def generate(session: Session, request: GenerateRequest, handle: RunHandle) -> Iterator[Event]:
    """Continue a chat or a raw text; see :class:`inference.remote.reply.Reply`."""
    yield from _remote(session).generate(request, handle)


def score(session: Session, request: ScoreRequest, handle: RunHandle) -> Iterator[Event]:
    """Probabilities of given text, where the server tells them; see :mod:`inference.remote.scoring`."""
    from inference.remote import scoring

    yield from scoring.score(_remote(session), request, handle)


def render(session: Session, request: RenderRequest, handle: RunHandle) -> Iterator[Event]:
    """What the server's chat template makes of messages, where it tells -> PromptRendered."""
    remote = _remote(session)
    if remote.kind != "llama.cpp":
        raise NotAvailable(_REASONS["ChatTemplateRequest"], hint="Write a raw text of your own instead.")
    turns = [{"role": message.role, "content": message.content} for message in request.messages]
    with remote.wire(handle) as wire:
        answer = wire.post("/apply-template", {"messages": turns}, root=True)
        text = answer.get("prompt") if isinstance(answer, dict) else None
        if not isinstance(text, str):
            raise NotAvailable(_REASONS["ChatTemplateRequest"], hint="Write a raw text of your own instead.")
        text += request.reply_text
        counted = wire.post("/tokenize", {"content": text, "add_special": True}, root=True)
    tokens = counted.get("tokens") if isinstance(counted, dict) else None
    yield PromptRendered(
        run_id=request.run_id, text=text, tokens=len(tokens) if isinstance(tokens, list) else 0
    )


def _remote(session: Session) -> RemoteEngine:
    assert session.remote is not None
    return session.remote
