"""A model on a server at work: connected once, asked anew for each reply."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from inference.errors import InferenceError, InvalidRequest, ModelNotFound, ServerError
from inference.events import (
    Event,
    ExplainRequest,
    GenerateRequest,
    ModelInfo,
    ScoreRequest,
    Secret,
    Server,
    ServerKind,
)
from inference.remote import failures, kinds
from inference.remote.connection import Wire
from inference.remote.describing import describe
from inference.remote.kinds import KINDS, Traits
from inference.remote.reply import Reply
from inference.remote.tokens import Numbers
from inference.running import RunHandle

#: Programs that answer with the one model that they have, whatever its name is.
_ONE_MODEL = ("llama.cpp", "llama-cpp-python")


class RemoteEngine:
    """A model on a server.

    Attributes:
        server: Where, and how long to wait.
        key: Sent there only.
        kind: What program it is.
        traits: What that takes and tells.
        context_length: 0 where the server does not tell it.
        numbers: Of the tokens that were seen.
        silent: Why the server gives no log-probabilities; "" if it does, or was not asked yet.
    """

    def __init__(self, server: Server, key: Secret, kind: ServerKind, context_length: int = 0) -> None:
        self.server, self.key, self.kind = server, key, kind
        self.traits: Traits = KINDS[kind]
        self.context_length = context_length
        self.numbers = Numbers()
        self.silent = ""

    @property
    def model(self) -> str:
        """The model's name at the server."""
        return self.server.model

    def info(self) -> ModelInfo:
        """What is known of the model."""
        return describe(self.server, self.kind, self.context_length, connected=True)

    def wire(self, handle: RunHandle) -> Wire:
        """A connection for one run."""
        return Wire(self.server, self.key, handle)

    def beginning_of(self, request: GenerateRequest | ScoreRequest | ExplainRequest) -> str:
        """The given beginning of a reply as text.

        Raises:
            InvalidRequest: It is given as tokens that this model has not told.
        """
        if request.reply_ids and request.reply_text:
            raise InvalidRequest("The beginning of the reply is given both as text and as tokens.")
        if not request.reply_ids:
            return str(request.reply_text)
        spelled = self.numbers.spelled(request.reply_ids)
        if spelled is None:
            raise InvalidRequest(
                "The beginning of the reply has tokens that the server has not told.", hint="Give it as text."
            )
        return spelled

    def generate(self, request: GenerateRequest, handle: RunHandle) -> Iterator[Event]:
        """Continue a chat or a raw text -> Progress, Started, Token ..., and the run's end.

        Raises:
            InferenceError: What goes wrong between here and the server; what came before it stays.
        """
        yield from Reply(self, request, handle).events()


def connect(server: Server, key: Secret, handle: RunHandle) -> RemoteEngine:
    """Ask a server for its models, and find out what it is.

    Raises:
        InferenceError: It can't be reached, refuses, or does not have the model.
    """
    if not server.model:
        raise InvalidRequest("No model of the server was chosen.", hint="Choose one of its models.")
    with Wire(server, key, handle) as wire:
        try:
            entries, kind = listed(wire)
        except ServerError:  # the list is broken; the model that was named may be there all the same
            entries, kind = [], server.kind or "unknown"
        names = [str(entry.get("id")) for entry in entries]
        entry = next((each for each in entries if each.get("id") == server.model), None)
        if entry is None and names and kind in _ONE_MODEL:
            entry = entries[0]
        elif entry is None and names and kind != "unknown":
            raise ModelNotFound(
                f"{wire.host} has no model named {server.model}.",
                hint=f"It has {', '.join(names[:8])}{' …' if len(names) > 8 else ''}.",
            )
        context = kinds.context_length(entry or {})
        if kind == "llama.cpp":
            context = _llama_context(wire) or context
    return RemoteEngine(server, key, kind, context)


def listed(wire: Wire) -> tuple[list[dict[str, Any]], ServerKind]:
    """The models of a server, and what it is (the user's own word goes first)."""
    answer = wire.get("/models")
    data = answer.get("data") if isinstance(answer, dict) else answer
    if not isinstance(data, list):
        raise failures.garbled(wire.host, "gave no list of models", json.dumps(answer), wire.key)
    entries = [each for each in data if isinstance(each, dict) and isinstance(each.get("id"), str)]
    detected = kinds.detect(wire.address.url, wire.headers.get("server", ""), entries)
    return entries, wire.server.kind or detected


def _llama_context(wire: Wire) -> int:
    """The context that llama.cpp's server was started with, which its list of models may not tell."""
    try:
        props = wire.get("/props", root=True)
    except InferenceError:
        return 0
    found = props.get("default_generation_settings", {}) if isinstance(props, dict) else {}
    context = found.get("n_ctx") if isinstance(found, dict) else None
    return context if isinstance(context, int) else 0
