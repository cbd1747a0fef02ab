"""Models on a server that speaks the OpenAI-compatible API: where they are, and what the server takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from inference.events.base import Event, Request
from inference.events.secret import Secret

#: Programs whose ways are known; "unknown" is any other one.
ServerKind = Literal[
    "openai", "vllm", "llama.cpp", "llama-cpp-python", "lm-studio", "ollama", "transformers", "unknown"
]

#: Which distribution a server's log-probabilities are of: the model's own ("raw"), the one that tokens are
#: drawn from ("sampled"), not known, or none are given.
Probabilities = Literal["raw", "sampled", "unknown", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A model on a server, as the user entered it.

    ``url`` is the base that paths such as ``/models`` are put behind ("http://127.0.0.1:8080/v1"). ``kind``
    None: found out when connecting. Seconds: until connected, until the first word of a reply, and between
    two words.
    """

    name: str = ""
    url: str
    model: str
    kind: ServerKind | None = None
    connect_seconds: float = 10.0
    first_seconds: float = 180.0
    pause_seconds: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteModel:
    """What is known of a model on a server.

    ``address`` is where prompts go, ``this_machine`` whether that is a loopback address. ``controls`` are
    the fields of :class:`~inference.events.SamplingControls` that the server takes. The ``*_problem`` say
    why something can't be done ("" if it can): going on with a given beginning of a reply in a chat,
    continuing a raw text, probabilities of given text (and with them explanations) in a chat and of a raw
    text.
    """

    address: str
    this_machine: bool
    kind: ServerKind
    kind_title: str
    probabilities: Probabilities
    top_candidates: int
    controls: tuple[str, ...]
    continue_problem: str = ""
    raw_problem: str = ""
    score_chat_problem: str = ""
    score_raw_problem: str = ""
    connected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerModelsRequest(Request):
    """Ask a server which models it has -> :class:`ServerModels`. ``server.model`` is not looked at."""

    server: Server
    key: Secret = Secret("")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerModels(Event):
    """A server's models by name, and what program it seems to be."""

    event: ClassVar[str] = "server-models"
    url: str
    models: tuple[str, ...]
    kind: ServerKind
    kind_title: str
