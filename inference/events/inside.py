"""Requests and events of what goes on inside: logit lens, attention maps, the boundary of token healing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from inference.events.base import Event, Request
from inference.events.chat import Candidate, Message


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
class BoundaryRequest(Request):
    """What token healing would do at the end of a raw prompt -> :class:`HealingBoundary`; nothing is
    generated. ``candidates`` is how many of the tokens that fit are told.
    """

    prompt: str
    candidates: int = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class HealingBoundary(Event):
    """The end of a raw prompt under token healing.

    ``taken`` are the texts of the tokens that are cut back, ``text`` what they spell together and the
    reply has to begin with; both are empty where no token reaches across the end. ``fitting`` is how many
    tokens of the vocabulary can come first, ``mass`` their share of the model's own distribution. Of
    ``candidates``, likeliest first, ``raw_logprob`` is the model's own and ``sampled_prob`` the share
    among those that fit.
    """

    event: ClassVar[str] = "healing-boundary"
    taken: tuple[str, ...]
    text: str
    fitting: int = 0
    mass: float = 1.0
    candidates: tuple[Candidate, ...] = ()


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
