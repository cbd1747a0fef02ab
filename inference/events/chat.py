"""Requests and events of generating and scoring text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from inference.events.base import Event, Request
from inference.events.controls import AdapterScale, AttentionControl, SamplingControls, SteeringOptions

Role = Literal["system", "user", "assistant"]


Overflow = Literal["stop", "drop-oldest"]


TokenOrigin = Literal["local", "server-raw", "server-sampled", "server-unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a chat."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderRequest(Request):
    """The exact text that the chat template makes of ``messages`` -> :class:`PromptRendered`."""

    messages: tuple[Message, ...]
    reply_text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest(Request):
    """Continue a chat (``messages``) or a raw text (``prompt``; exactly one of the two is given).

    ``reply_ids`` or ``reply_text`` is the beginning of the reply, kept as it is and continued: for
    "continue", and for branching from a candidate (the ids before it, and its own). ``candidates`` is how
    many alternatives are recorded at each step. ``score_prompt`` also records probabilities of the
    prompt's tokens. ``prompt_lookup`` guesses ahead from the text's own words, ``draft`` with the draft model
    that was loaded (:class:`inference.events.LoadDraftRequest`); the text is the same with and without.
    """

    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    reply_ids: tuple[int, ...] = ()
    reply_text: str = ""
    controls: SamplingControls = SamplingControls()
    candidates: int = 20
    score_prompt: bool = False
    overflow: Overflow = "stop"
    token_healing: bool = False
    prompt_lookup: bool = False
    draft: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRequest(Request):
    """Probabilities of given text by one prefill -> :class:`PromptScored`, without generating.

    The text is ``prompt``, or what the template makes of ``messages``, followed by ``reply_ids`` or
    ``reply_text``. ``attention`` and ``steering`` are controls that it is read under.
    """

    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    reply_ids: tuple[int, ...] = ()
    reply_text: str = ""
    candidates: int = 20
    attention: tuple[AttentionControl, ...] = ()
    steering: SteeringOptions = SteeringOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One token that could have come here; a server tells one of the two distributions only. A negative
    ``id`` stands for a number in the vocabulary that a server does not tell.
    """

    id: int
    text: str
    raw_logprob: float | None
    sampled_prob: float | None

    @property
    def logprob(self) -> float:
        """The log-probability to rank by: raw where it is known."""
        if self.raw_logprob is not None:
            return self.raw_logprob
        return math.log(self.sampled_prob) if self.sampled_prob else -math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The distribution after one stage of sampling, over the recorded candidates, in their order.

    ``name`` is "raw", "penalties", "temperature", "top-k", "top-p" or "min-p"; of a server's one distribution
    "raw", "sampled" or "server". ``probs`` are renormalised;
    ``removed`` is the probability mass that this stage set to zero (0 where it only reshapes).
    """

    name: str
    probs: tuple[float, ...]
    removed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredToken:
    """A token of given text (prompt, or a reply that is read again).

    ``text`` is the span of the exact text that this token completes: the spans of all tokens add up to it
    (a token inside a multi-byte character has an empty span). ``raw_logprob``, ``entropy`` and
    ``candidates`` are those of the position *before* it, so the first token has none (``raw_logprob`` None).
    """

    index: int
    id: int
    text: str
    data: bytes
    special: bool
    raw_logprob: float | None = None
    entropy: float | None = None
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Event):
    """A generation begins: what was read, what came from the cache, which seed is used.

    ``dropped_messages`` counts the oldest turns that were left out because the context was full;
    ``prompt_text`` is the exact text that the model reads, ``adapters`` are those that are on.
    """

    event: ClassVar[str] = "started"
    prompt_tokens: int
    reused_tokens: int
    context_length: int
    seed: int
    prompt_text: str
    dropped_messages: int = 0
    adapters: tuple[AdapterScale, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptScored(Event):
    """The prompt's tokens, with probabilities where they were asked for."""

    event: ClassVar[str] = "prompt"
    tokens: tuple[ScoredToken, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Token(Event):
    """One generated token.

    ``text`` is what became printable with it (empty while a character is incomplete, and where a stop
    string may be beginning); the texts of all tokens add up to the reply. ``data`` is the token's own
    bytes. ``stages`` is the distribution after each stage, over ``candidates``; ``candidates`` always holds
    the chosen token. ``at`` is the time since the run began. ``guessed``: the token was guessed ahead and
    read together with an earlier one.

    ``origin`` is who worked out the probabilities: this machine ("local"), or a server, which tells those of
    its raw distribution, of the one it draws from, or of one that it does not name, and of the most likely
    tokens only. What it does not tell is None, and where it tells nothing, a "token" is the piece of text
    that came at a time.
    """

    event: ClassVar[str] = "token"
    index: int
    id: int
    text: str
    data: bytes
    special: bool
    raw_logprob: float | None
    sampled_prob: float | None
    entropy: float | None
    candidates: tuple[Candidate, ...]
    stages: tuple[Stage, ...]
    at: float
    guessed: bool = False
    origin: TokenOrigin = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlsChanged(Event):
    """From token ``index`` on, other controls act; each change is (name, old, new) in words."""

    event: ClassVar[str] = "controls"
    index: int
    changes: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FindTokensRequest(Request):
    """The tokens of the loaded model whose text holds ``text`` (or ``#`` and an id) -> [TokensFound]."""

    text: str
    limit: int = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundToken:
    """A token of the vocabulary and its text."""

    id: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensFound(Event):
    """What a text may mean, the best match first."""

    event: ClassVar[str] = "tokens-found"
    text: str
    matches: tuple[FoundToken, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptRendered(Event):
    """The chat template's text and how many tokens it is."""

    event: ClassVar[str] = "rendered"
    text: str
    tokens: int
