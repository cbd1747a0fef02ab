"""Tokens along a text: where each one sits, which ones form one readable span, and what they measure."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Literal

from inference.events import ScoredToken, Token

#: A token with its measurements: generated (``Token``) or read (``ScoredToken``).
AnyToken = Token | ScoredToken

#: What the token view can colour by.
Measure = Literal["probability", "entropy", "surprisal"]

#: Values at which the colour scale is full; surprisal and entropy in nats. 8 nats is p = 0.0003.
FULL_SCALE: dict[Measure, float] = {"probability": 1.0, "entropy": 6.0, "surprisal": 8.0}


class TokenTrack:
    """The tokens of one message, with their place in its text.

    Token ``i`` covers the characters ``start(i)`` to ``end(i)`` of the message's text. ``origin`` is the
    offset of the first token: negative where tokens of the chat template come before the text, positive
    where the beginning of the text has no tokens (it was typed, or its tokens were not kept).
    """

    def __init__(self, tokens: Iterable[AnyToken] = (), *, origin: int = 0) -> None:
        self.origin = origin
        self._tokens: list[AnyToken] = []
        self._starts: list[int] = [0]
        self._spans: list[tuple[int, int]] = []
        self._span_firsts: list[int] = []
        self._open_from = 0
        #: How many of the tokens were guessed ahead.
        self.guessed = 0
        self.extend(tokens)

    def __len__(self) -> int:
        return len(self._tokens)

    def __getitem__(self, index: int) -> AnyToken:
        return self._tokens[index]

    @property
    def tokens(self) -> Sequence[AnyToken]:
        """All tokens, in order; do not change the list."""
        return self._tokens

    @property
    def spans(self) -> Sequence[tuple[int, int]]:
        """Readable spans as (first, end) token numbers, end exclusive; they cover all tokens in order.

        Usually one token. Tokens without text of their own (parts of a character, or text held back because
        a stop string may be beginning) are joined with the token that completes them.
        """
        return self._spans

    @property
    def text(self) -> str:
        """What the tokens spell."""
        return "".join(token.text for token in self._tokens)

    def extend(self, tokens: Iterable[AnyToken]) -> None:
        """Append tokens and bring the spans up to date."""
        position = self._starts[-1]
        starts, known = self._starts, self._tokens
        for token in tokens:
            known.append(token)
            position += len(token.text)
            starts.append(position)
            self.guessed += was_guessed(token)
        self._join()

    def start(self, index: int) -> int:
        """Offset of the token's first character in the message's text."""
        return self.origin + self._starts[index]

    def end(self, index: int) -> int:
        """Offset behind the token's last character in the message's text."""
        return self.origin + self._starts[index + 1]

    def at_offset(self, offset: int) -> int | None:
        """Number of the token that covers the character at ``offset`` of the message's text, or None."""
        place = offset - self.origin
        if not 0 <= place < self._starts[-1]:
            return None
        return bisect_right(self._starts, place) - 1

    def span_number(self, index: int) -> int:
        """Number of the readable span that holds token ``index``."""
        return bisect_right(self._span_firsts, index) - 1

    def span_of(self, index: int) -> tuple[int, int]:
        """The readable span that holds token ``index``."""
        return self._spans[self.span_number(index)]

    def _join(self) -> None:
        """Extend the spans from the first token that is not in a finished one."""
        if self._spans and self._open_from < len(self._tokens) and self._spans[-1][0] == self._open_from:
            self._spans.pop()
            self._span_firsts.pop()
        first = self._open_from
        spans, firsts = self._spans, self._span_firsts
        for index in range(first, len(self._tokens)):
            token = self._tokens[index]
            if token.special:
                if first < index:
                    spans.append((first, index))
                    firsts.append(first)
                spans.append((index, index + 1))
                firsts.append(index)
                first = index + 1
            elif token.text:
                spans.append((first, index + 1))
                firsts.append(first)
                first = index + 1
        self._open_from = first
        if first < len(self._tokens):
            spans.append((first, len(self._tokens)))
            firsts.append(first)


def was_guessed(token: AnyToken) -> bool:
    """Whether the token was guessed ahead and read together with an earlier one."""
    return isinstance(token, Token) and token.guessed


def surprisal(token: AnyToken) -> float | None:
    """Minus the raw log-probability, in nats; None for a token that nothing was predicted for."""
    return None if token.raw_logprob is None else -token.raw_logprob


def measured(tokens: Sequence[AnyToken], measure: Measure) -> float | None:
    """The value of one readable span, or None if it was not measured.

    Surprisals of the span's tokens add up (their probabilities multiply); entropy is the largest of them.
    Where a server tells only the distribution that it draws from, probabilities are of that one.
    """
    if measure == "entropy":
        return max((token.entropy for token in tokens if token.entropy is not None), default=None)
    known = [token.raw_logprob for token in tokens if token.raw_logprob is not None]
    if not known and measure == "probability":
        drawn = [token.sampled_prob for token in tokens if isinstance(token, Token)]
        known = [math.log(probability) for probability in drawn if probability]
    if not known:
        return None
    total = sum(known)
    return math.exp(total) if measure == "probability" else -total


def prominence(value: float, measure: Measure) -> float:
    """How loud a value is shown, 0 (as expected) to 1 (unexpected); the scale's end is :data:`FULL_SCALE`."""
    share = value / FULL_SCALE[measure]
    if measure == "probability":
        share = 1.0 - share
    return min(max(share, 0.0), 1.0) if share == share else 1.0


def perplexity(tokens: Iterable[AnyToken]) -> float | None:
    """exp(mean surprisal) of the tokens that were predicted, or None if there are none.

    Source: Jelinek et al. 1977, perplexity as a measure of the difficulty of speech recognition tasks.
    """
    known = [token.raw_logprob for token in tokens if token.raw_logprob is not None]
    if not known:
        return None
    try:
        return math.exp(-sum(known) / len(known))
    except OverflowError:
        return math.inf


def token_label(token: AnyToken) -> str:
    """A name for a token that has no readable text: its text, its bytes as text, or its id."""
    if token.text:
        return token.text
    if token.special and token.data:
        return token.data.decode("utf-8", errors="replace")
    if token.data and "\ufffd" not in (text := token.data.decode("utf-8", errors="replace")):
        return text
    return " ".join(f"{byte:02X}" for byte in token.data) or f"#{token.id}"


def split_prompt(
    tokens: Sequence[ScoredToken], contents: Sequence[str], *, ending: str = ""
) -> list[TokenTrack]:
    """Deal out a prompt's tokens to the messages whose contents stand in it.

    Each message gets the tokens from the end of the message before it to the end of its own content, so the
    marks of the chat template come before the text that they introduce; what is left at the end goes to the
    last message. A content that the template trimmed is found without its outer white space; one that is not
    in the prompt (it was dropped) gets an empty track.

    Args:
        tokens: all tokens of the prompt, as in ``PromptScored``.
        contents: the messages' texts, in order.
        ending: what stands at the prompt's end behind all of them and is none of theirs: the beginning of
            the reply that is to be continued.

    Returns:
        One track for each content.
    """
    whole = _without_ending(TokenTrack(tokens), ending)
    text = whole.text
    tracks = [TokenTrack() for _ in contents]
    position = first = 0
    found: list[tuple[int, int, int]] = []
    for number, content in enumerate(contents):
        place, length = _find(text, content, position)
        if place < 0:
            continue
        position = place + length
        lead = 0 if length == len(content) else len(content) - len(content.lstrip())
        last = whole.at_offset(position - 1)
        end = first if last is None else max(first, last + 1)
        found.append((number, first, place - lead))
        first = end
    if not found:
        return tracks
    ends = [start for _, start, _ in found[1:]] + [len(whole)]
    for (number, start, content_start), end in zip(found, ends, strict=True):
        tracks[number] = TokenTrack(whole.tokens[start:end], origin=whole.start(start) - content_start)
    return tracks


def _without_ending(track: TokenTrack, ending: str) -> TokenTrack:
    """The track without the tokens that spell ``ending``, if it ends so."""
    text = track.text
    first = track.at_offset(len(text) - len(ending)) if ending and text.endswith(ending) else None
    return track if first is None else TokenTrack(track.tokens[:first])


def _find(text: str, content: str, position: int) -> tuple[int, int]:
    """Where ``content`` stands in ``text`` from ``position`` on, and how long it is there; -1 if it does
    not.
    """
    for kept in (content, content.strip()):
        place = text.find(kept, position) if kept else -1
        if place >= 0:
            return place, len(kept)
    return -1, 0
