"""What the history hands out and takes in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from inference.events import ControlsChanged, Role, SamplingControls, Token

#: "streaming" while tokens arrive; found at start, it means that the app was killed in mid-reply.
State = Literal["complete", "streaming", "stopped", "failed"]
Kind = Literal["chat", "raw"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """One conversation. Times are seconds since the epoch; ``controls`` are those it was last used with."""

    id: int
    title: str
    kind: Kind
    created: float
    updated: float
    system_prompt: str = ""
    controls: SamplingControls = field(default_factory=SamplingControls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a reply ended. ``reason`` as in :class:`~inference.events.Finished`, or "cancelled", or "failed";
    ``problem`` is what to show under a reply that failed; times in seconds.
    """

    reason: str = ""
    problem: str = ""
    seed: int | None = None
    prompt_tokens: int = 0
    new_tokens: int = 0
    prefill_seconds: float = 0.0
    tokens_per_second: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """A node of a conversation's tree; messages with the same parent are each other's alternatives.

    ``chosen`` is whether the branch that is shown goes through this message rather than through its siblings.
    """

    id: int
    conversation: int
    parent: int | None
    role: Role
    text: str
    state: State = "complete"
    chosen: bool = True
    created: float = 0.0
    model: str = ""
    ending: Ending = field(default_factory=Ending)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the tokens of a reply were, and where its controls were changed."""

    tokens: tuple[Token, ...] = ()
    marks: tuple[ControlsChanged, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A hit of a search: the conversation, the message (None: its title matched) and the words around the
    match.
    """

    conversation: int
    message: int | None
    excerpt: str
