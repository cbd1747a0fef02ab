"""Requests and events of what goes on inside: logit lens and attention maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from inference.events.base import Event, Request
from inference.events.chat import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class LensRequest(Request):
    """What each layer would say at each position (logit lens) -> :class:`LensStarted`, :class:`LensRow` ...

    The text is ``prompt`` or the rendered ``messages``, then the reply. ``layers`` empty is all; layer 0
    is the embedding, layer n the output of the n-th block. Positions are tokens ``first`` to ``last``
    (None: the end). ``token_id`` is the token whose rank is followed; None follows the token that really
    comes next.
    """

    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    reply_ids: tuple[int, ...] = ()
    reply_text: str = ""
    layers: tuple[int, ...] = ()
    first: int = 0
    last: int | None = None
    token_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionRequest(Request):
    """Attention weights of chosen layers and heads -> :class:`AttentionStarted`, :class:`AttentionMap` ...

    ``layers`` counts blocks from 0; ``heads`` empty is all. Queries are tokens ``first`` to ``last``
    (None: the end). ``grid`` above 0 asks for thumbnails instead: each head's matrix as the maxima of grid
    x grid cells.
    """

    layers: tuple[int, ...]
    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    reply_ids: tuple[int, ...] = ()
    reply_text: str = ""
    heads: tuple[int, ...] = ()
    first: int = 0
    last: int | None = None
    grid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LensStarted(Event):
    """The tokens along the lens's columns and the layers of its rows."""

    event: ClassVar[str] = "lens-started"
    positions: tuple[int, ...]
    tokens: tuple[str, ...]
    layers: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LensRow(Event):
    """One layer of the logit lens: for each position the top token, its probability, the followed token's
    rank, entropy.

    ``ranks`` count from 1; ``followed_probs`` is the probability of the followed token; 0 and 0.0 where
    the last position has no next token. ``entropies`` are in nats.
    """

    event: ClassVar[str] = "lens-row"
    layer: int
    top_ids: tuple[int, ...]
    top_texts: tuple[str, ...]
    top_probs: tuple[float, ...]
    ranks: tuple[int, ...]
    followed_probs: tuple[float, ...]
    entropies: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionStarted(Event):
    """The tokens that queries and keys are, and the shape of what will come."""

    event: ClassVar[str] = "attention-started"
    tokens: tuple[str, ...]
    layers: tuple[int, ...]
    heads: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionMap(Event):
    """Attention weights of one head: ``rows`` x ``columns`` little-endian float16, row after row.

    Row 0 is query ``first`` (or the first cell of a thumbnail); columns are keys from 0.
    """

    event: ClassVar[str] = "attention"
    layer: int
    head: int
    first: int
    rows: int
    columns: int
    weights: bytes
