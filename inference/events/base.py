"""What every request and every event has, how a run ends, and how events become JSON."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any, ClassVar

from inference.events.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Base of all requests; ``run_id`` is unique within a process."""

    run_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUse:
    """Measured memory; GPU fields are 0 without a GPU. ``step`` is what the captured decode step holds beside
    the KV cache: its buffers and its graphs.
    """

    process: int = 0
    weights: int = 0
    kv_cache: int = 0
    gpu_allocated: int = 0
    gpu_reserved: int = 0
    gpu_total: int = 0
    step: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """Wall-clock time by phase."""

    load: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events."""

    event: ClassVar[str] = "event"
    run_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress(Event):
    """Long work goes on. ``total`` 0: not known yet. ``unit`` is "bytes", "tokens", "files", "layers" or
    "pages".
    """

    event: ClassVar[str] = "progress"
    stage: str
    done: int
    total: int
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleTokens:
    """How a model reads one token after the other. ``by`` is "captured" (a graph on a GPU), "own" (this app's
    code for what is built like Llama), "recorded" (what the model's own code was seen to call),
    "transformers", or "" where it is not known; ``reason`` says why it is transformers.
    """

    by: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(Event):
    """The run ended by itself. ``reason``: "stop" (end token), "stop-string", "length", "context-full", or
    "done". ``path`` is how the last tokens were decoded: "captured" (one graph replay a token) or "plain",
    and ``path_reason`` why not captured where that was to be expected. Of ``guesses`` tokens that were
    guessed ahead ``accepted`` turned out right. ``single_tokens`` is how the next ones will be read.
    """

    event: ClassVar[str] = "finished"
    reason: str
    text: str = ""
    prompt_tokens: int = 0
    reused_tokens: int = 0
    new_tokens: int = 0
    seconds: Seconds = Seconds()
    tokens_per_second: float = 0.0
    memory: MemoryUse = MemoryUse()
    path: str = "plain"
    path_reason: str = ""
    guesses: int = 0
    accepted: int = 0
    single_tokens: SingleTokens = SingleTokens()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled(Event):
    """The user stopped the run; what was produced before stays valid."""

    event: ClassVar[str] = "cancelled"
    text: str = ""
    prompt_tokens: int = 0
    new_tokens: int = 0
    seconds: Seconds = Seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Event):
    """The run broke off: what happened, what to do, and details to copy."""

    event: ClassVar[str] = "failed"
    kind: str
    message: str
    hint: str
    details: str = ""


#: A run has ended when one of these has come.
ENDINGS: tuple[type[Event], ...] = (
    Finished,
    Cancelled,
    Failed,
)


def to_json(value: Any) -> Any:
    """Turn an event or request into plain JSON values: ``event`` first, tuples as lists, bytes as hex."""
    if is_dataclass(value) and not isinstance(value, type):
        named = {"event": value.event} if isinstance(value, Event) else {}
        return named | {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Secret):
        return None
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (tuple, list)):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    return value
