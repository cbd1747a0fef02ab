"""Guesses only where they pay: while too few of them are right, the loop writes without, longer each time.

A round of guesses costs what it costs whether they are right or not, so what decides is how many are right a
round. It is counted, not timed: the same run takes the same passes again, to the bit.
"""

from __future__ import annotations

from collections import deque

from inference.generation.lookup import GUESSES, Guesser

#: Rounds that are judged together, and after a rest.
_ROUNDS, _TRIAL = 8, 3
#: Tokens that a rest lasts at first and at most.
_SHORTEST, _LONGEST = 16, 256


class Paced:
    """A guesser that rests where its guesses are mostly wrong.

    Args:
        guesser: Who guesses.
        least: How many guesses of a round have to be right on average.
    """

    def __init__(self, guesser: Guesser, least: float) -> None:
        self._guesser = guesser
        self._least = least
        self._right: deque[int] = deque(maxlen=_ROUNDS)
        self._open: list[int] = []
        self._rest = 0
        self._next_rest = _SHORTEST
        self._judged = _ROUNDS

    @property
    def resting(self) -> bool:
        """Whether no guesses are wanted now."""
        return self._rest > 0

    def add(self, token: int) -> None:
        """The text has grown by a token."""
        self._guesser.add(token)
        self._rest = max(0, self._rest - 1)
        if not self._open:
            return
        if self._open.pop(0) == token:
            self._right[-1] += 1
        else:
            self._open = []

    def guess(self, count: int = GUESSES) -> list[int]:
        """At most ``count`` tokens that may follow; none while it rests."""
        self._open = []
        if self._rest or self._tires():
            return []
        found = self._guesser.guess(count)
        if found:
            self._right.append(0)
            self._open = list(found)
        return found

    def _tires(self) -> bool:
        """Judge the last rounds; begin a rest where too little was right."""
        if len(self._right) < self._judged:
            return False
        if sum(self._right) >= self._least * len(self._right):
            self._next_rest, self._judged = _SHORTEST, _ROUNDS
            return False
        self._rest, self._next_rest = self._next_rest, min(_LONGEST, 2 * self._next_rest)
        self._right.clear()
        self._judged = _TRIAL
        return True


def least_right(*, draft_share: float | None, on_gpu: bool) -> float:
    """How many guesses of a round pay for it, in steps of the model that writes.

    A pass over guesses costs some two steps on a GPU (each token is drawn before the next is looked at) and
    little more than one on a CPU. A draft model takes its own steps besides, and a small model gets half as
    much out of the memory as a large one (llama-3.2-1b and -70b on an H200: 0.37 and 0.69 of its speed).

    Args:
        draft_share: The draft model's bytes of weights over those of the model; None without one.
        on_gpu: Where the model is.
    """
    drafting = 0.0 if draft_share is None else 2 * (GUESSES + 1) * draft_share
    return min(GUESSES - 0.5, drafting + (1.0 if on_gpu else 0.4))
