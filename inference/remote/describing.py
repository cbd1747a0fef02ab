"""What is known of a model on a server, in the words of a local one's description."""

from __future__ import annotations

import psutil

from inference.events import MemoryUse, ModelInfo, RemoteModel, Server, ServerKind
from inference.remote import address, asking
from inference.remote.kinds import KINDS

_NO_SCORES = "{} tells no probabilities of a text that it is given."
_RAW_ONLY = "{} tells probabilities of a given text in raw mode only."


def describe(server: Server, kind: ServerKind, context_length: int = 0, *, connected: bool) -> ModelInfo:
    """What is known of a model on a server."""
    place, traits = address.of(server), KINDS[kind]
    scores = {"prompt_logprobs": ("", ""), "echo": (_RAW_ONLY.format(traits.title), "")}
    score_chat, score_raw = scores.get(traits.scores, (_NO_SCORES.format(traits.title),) * 2)
    return ModelInfo(
        source=place.source,
        name=server.model,
        architecture=traits.title,
        parameters=0,
        context_length=context_length,
        vocabulary=0,
        layers=0,
        hidden_size=0,
        kv_bytes_per_token=0,
        stored_bytes=0,
        stored_dtype="",
        licence=None,
        has_chat_template=True,
        has_attention=False,
        format="server",
        remote=RemoteModel(
            address=place.url,
            this_machine=place.this_machine,
            kind=kind,
            kind_title=traits.title,
            probabilities=traits.probabilities,
            top_candidates=traits.top,
            controls=tuple(traits.controls),
            continue_problem=asking.continue_problem(traits),
            score_chat_problem=score_chat,
            score_raw_problem=score_raw,
            connected=connected,
        ),
    )


def memory() -> MemoryUse:
    """What this process holds; the model's memory is the server's."""
    return MemoryUse(process=psutil.Process().memory_info().rss)
