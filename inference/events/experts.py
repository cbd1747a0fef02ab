"""Requests and events of mixtures of experts: who is sent where, and what an expert is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from inference.events.base import Event, Request
from inference.events.chat import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertsRequest(Request):
    """How each layer's router sends tokens to experts -> :class:`ExpertsStarted`, :class:`ExpertsLayer` ...,
    and :class:`ExpertsChanged` where experts are switched off.

    The text is ``prompt`` or the rendered ``messages``, then the reply. Positions are tokens ``first`` to
    ``last`` (None: the end). ``off`` are (layer, expert) pairs: such an expert's share of each token is left
    out, the others keep theirs; the text is then read twice, with and without them.
    """

    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    reply_ids: tuple[int, ...] = ()
    reply_text: str = ""
    first: int = 0
    last: int | None = None
    off: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SetExpertsRequest(Request):
    """Leave these (layer, expert) pairs out of all that the model reads and writes from now on -> nothing."""

    off: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertsStarted(Event):
    """The tokens that are routed; ``layers`` are the blocks (from 0) that hold experts."""

    event: ClassVar[str] = "experts-started"
    positions: tuple[int, ...]
    tokens: tuple[str, ...]
    layers: tuple[int, ...]
    experts: int
    chosen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertsLayer(Event):
    """One layer's routing, as the plain text is read.

    ``experts[position]`` are the experts that a token is sent to, the one with the largest share first;
    ``weights`` are their shares of it; ``entropies`` (nats) are those of the softmax of the router's logits,
    at most ``ln(number of experts)``. ``load`` is each expert's part of all the choices; it adds up to 1.
    """

    event: ClassVar[str] = "experts-layer"
    layer: int
    experts: tuple[tuple[int, ...], ...]
    weights: tuple[tuple[float, ...], ...]
    entropies: tuple[float, ...]
    load: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertsChanged(Event):
    """What switching experts off changes, for each position.

    ``divergences`` are the Kullback-Leibler divergences (nats) of the next token's distribution without the
    experts from the one with them; ``before`` and ``after`` are the log-probabilities of the token that
    really comes next (0.0 behind the last one), ``top_before`` and ``top_after`` the likeliest tokens.
    """

    event: ClassVar[str] = "experts-changed"
    off: tuple[tuple[int, int], ...]
    divergences: tuple[float, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]
    top_before: tuple[str, ...]
    top_after: tuple[str, ...]
