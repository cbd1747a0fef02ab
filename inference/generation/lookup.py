"""Prompt lookup: guess the next tokens from what the text has said before, and check all guesses in one pass.

The reply often repeats words of the prompt (names, code, quotations). After the last few tokens, what
followed them the last time is a guess; a forward pass over the guesses costs little more than one over a
single token, and each guess that is what the sampler then draws saves a pass. Every token is still drawn
from its own distribution, one after the other with the same random numbers, so the text is the same with
and without it (Saxena 2023, "Prompt Lookup Decoding"; for sampling, accepting a draw that equals the guess
keeps the distribution exact).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from inference.passes.kv_cache import BufferedLayer, EngineCache, RecomputingCache

#: Guesses checked at once: bitsandbytes' 4-bit kernels slow down beyond five rows.
GUESSES = 4
_LONGEST, _SHORTEST = 4, 2


class Guesser(Protocol):
    """Guesses what comes next in a text that grows."""

    def add(self, token: int) -> None:
        """The text has grown by a token."""

    def guess(self, count: int = GUESSES) -> list[int]:
        """At most ``count`` tokens that may follow; may be empty."""


class Lookup:
    """Where each short run of tokens was last continued, kept up as the text grows."""

    def __init__(self, ids: Sequence[int]) -> None:
        self._ids: list[int] = []
        self._continued: dict[tuple[int, ...], int] = {}
        for token in ids:
            self.add(token)

    def add(self, token: int) -> None:
        """The text has grown by a token."""
        place = len(self._ids)
        for length in range(_SHORTEST, min(_LONGEST, place) + 1):
            self._continued[tuple(self._ids[place - length :])] = place
        self._ids.append(token)

    def guess(self, count: int = GUESSES) -> list[int]:
        """What followed the longest known run of tokens that the text now ends with; may be empty."""
        for length in range(min(_LONGEST, len(self._ids)), _SHORTEST - 1, -1):
            place = self._continued.get(tuple(self._ids[len(self._ids) - length :]))
            if place is not None:
                found = self._ids[place : place + count]
                repeated = len(self._ids) - place
                while len(found) < count:  # what repeats itself goes on to
                    found.append(found[len(found) - repeated])
                return found
        return []


class Ahead:
    """Guesses that have been read, each with the logits (vocabulary,) behind it, until a draw proves one
    wrong.
    """

    def __init__(self) -> None:
        self._guesses: list[tuple[int, Tensor]] = []

    def __len__(self) -> int:
        return len(self._guesses)

    @property
    def next(self) -> int | None:
        """The guess for the next token."""
        return self._guesses[0][0] if self._guesses else None

    def fill(self, guesses: Sequence[int], logits: Tensor) -> None:
        """Keep guesses and their logits (guesses, vocabulary)."""
        self._guesses = list(zip(guesses, logits, strict=True))

    def take(self, token: int) -> Tensor | None:
        """The logits behind a token that was drawn, if it was the guess; else all guesses are wrong."""
        if self._guesses and self._guesses[0][0] == token:
            return self._guesses.pop(0)[1]
        return None

    def clear(self) -> int:
        """Drop the guesses; returns how many there were."""
        count = len(self._guesses)
        self._guesses = []
        return count


def can_take_back(cache: EngineCache) -> bool:
    """Whether wrong guesses can be taken out of the cache at any time, without a trace."""
    if isinstance(cache, RecomputingCache):
        return True
    # Layers without a state of their own are "dummies" in newer versions of transformers.
    return all(
        isinstance(layer, BufferedLayer) or type(layer).__name__ == "DummyLayer" for layer in cache.layers
    )
