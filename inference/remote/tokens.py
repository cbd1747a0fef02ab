"""Pieces of a server's answer -> Token events whose texts add up to the reply."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence

from inference.events import Candidate, Probabilities, Stage, Token, TokenOrigin
from inference.remote.pieces import Entry, Piece, Told

#: How a section for thinking is written, where a server takes it out of the reply; as most models write it.
THINK, THOUGHT = "<think>\n", "\n</think>\n\n"

_ORIGINS: dict[Probabilities, TokenOrigin] = {"raw": "server-raw", "sampled": "server-sampled"}
_STAGES = {"server-raw": "raw", "server-sampled": "sampled", "server-unknown": "server"}


class Numbers:
    """Numbers for tokens: the server's own, or negative ones that stand for a token's bytes as long as the
    model is in use.
    """

    def __init__(self) -> None:
        self._of: dict[tuple[bytes, int], int] = {}
        self._data: dict[int, bytes] = {}

    def of(self, entry: Entry, occurrence: int = 0) -> int:
        """The number of a token; different tokens of one text are told apart by their ``occurrence``."""
        if entry.id is not None:
            self._data[entry.id] = entry.data
            return entry.id
        number = self._of.setdefault((entry.data, occurrence), -2 - len(self._of))
        self._data[number] = entry.data
        return number

    def spelled(self, numbers: Sequence[int]) -> str | None:
        """The text of tokens; None where one of them was not seen before."""
        if any(number not in self._data for number in numbers):
            return None
        return b"".join(self._data[number] for number in numbers).decode(errors="replace")


class Writer:
    """The tokens of one reply.

    Args:
        run_id: Of the events.
        numbers: Gives tokens their numbers.
        probabilities: Which distribution the server tells.
        candidates: So many alternatives are kept of each token.
        began: When the run began, on ``time.perf_counter``.
    """

    def __init__(
        self, run_id: int, numbers: Numbers, probabilities: Probabilities, candidates: int, began: float
    ) -> None:
        self.text: list[str] = []
        self.count = 0
        self._run_id, self._numbers, self._candidates, self._began = run_id, numbers, candidates, began
        self._origin = _ORIGINS.get(probabilities, "server-unknown")
        self._thinking = False

    def take(self, piece: Piece) -> Iterator[Token]:
        """The tokens of a piece; text for which the server tells no tokens is one of its own."""
        if piece.thought and not self._thinking:
            self._thinking = True
            yield self._plain(THINK)
        if piece.thought and piece.text:  # both at once: the thinking ends within the piece
            yield self._plain(piece.thought)
            yield self.end_thinking()
            yield self._plain(piece.text)
            return
        if piece.text and self._thinking:
            yield self.end_thinking()
        text = piece.thought or piece.text
        if not piece.tokens:
            if text:
                yield self._plain(text)
            return
        shares = shared_out(text, [told.entry.text for told in piece.tokens])
        for number, (told, share) in enumerate(zip(piece.tokens, shares, strict=True), start=1):
            last = bool(piece.ended) and number == len(piece.tokens)
            yield self._token(told, share, special=last and not share and bool(told.entry.text))

    def end_thinking(self) -> Token:
        """The mark that ends a section for thinking."""
        self._thinking = False
        return self._plain(THOUGHT)

    @property
    def thinking(self) -> bool:
        """Whether a section for thinking is open."""
        return self._thinking

    def _plain(self, text: str) -> Token:
        return self._token(Told(entry=Entry(text=text, data=text.encode())), text, special=False)

    def _token(self, told: Told, share: str, *, special: bool) -> Token:
        candidates = self._ranked(told)
        own = next((each for each in candidates if each.id == self._number), None)
        self.text.append(share)
        self.count += 1
        probabilities = tuple(math.exp(each.logprob) for each in candidates)
        return Token(
            run_id=self._run_id,
            index=self.count - 1,
            id=self._number,
            text=share,
            data=told.entry.data,
            special=special,
            raw_logprob=own.raw_logprob if own is not None else None,
            sampled_prob=own.sampled_prob if own is not None else None,
            entropy=None,
            candidates=candidates,
            stages=(Stage(name=_STAGES[self._origin], probs=probabilities, removed=0.0),)
            if candidates
            else (),
            at=time.perf_counter() - self._began,
            origin=self._origin,
        )

    def _ranked(self, told: Told) -> tuple[Candidate, ...]:
        """The candidates, the most likely first, the chosen token among them."""
        found: dict[int, Candidate] = {}
        seen: dict[bytes, int] = {}
        self._number = self._numbers.of(told.entry)
        for entry in told.top:
            occurrence = seen.get(entry.data, 0)
            seen[entry.data] = occurrence + 1
            number = self._numbers.of(entry, occurrence)
            if entry.logprob is not None and number not in found:
                found[number] = self._candidate(number, entry, entry.logprob)
        if told.entry.logprob is not None:
            found[self._number] = self._candidate(self._number, told.entry, told.entry.logprob)
        ranked = sorted(found.values(), key=lambda each: -each.logprob)
        kept = ranked[: max(1, self._candidates)]
        own = found.get(self._number)
        return tuple(kept if own is None or own in kept else [*kept[:-1], own])

    def _candidate(self, number: int, entry: Entry, logprob: float) -> Candidate:
        sampled = self._origin == "server-sampled"
        return Candidate(
            id=number,
            text=entry.data.decode(errors="replace") if entry.data else entry.text,
            raw_logprob=None if sampled else logprob,
            sampled_prob=math.exp(logprob) if sampled else None,
        )


def shared_out(text: str, spelled: Sequence[str]) -> list[str]:
    """Deal a text out to the tokens that came with it; the shares add up to the text.

    A token gets what it spells where the text goes on by that, and nothing otherwise (the end of a reply, a
    part of a character); what nobody claims goes to the last one.
    """
    shares, rest = [], text
    for token in spelled:
        share = token if token and rest.startswith(token) else ""
        shares.append(share)
        rest = rest[len(share) :]
    if rest and shares:
        shares[-1] += rest
    return shares
