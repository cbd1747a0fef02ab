"""Cut a passage's context into the segments whose weight is asked for.

Every token of a region belongs to one segment at most: the one in which its first character that is not
whitespace lies. A word in which no token begins (the tokenizer merged it into the one before) joins that
one. Special tokens and the template's own text are protected: they are in no segment, unless special
tokens are asked for, and then each is its own.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence

from inference.attribution.passage import Passage, Region
from inference.attribution.sentence_splitting import (
    has_sources,
    paragraphs,
    sentences,
    sources,
    whole,
    words,
)
from inference.errors import InvalidRequest
from inference.events import Granularity, SegmentSpan
from inference.steering import TokenSpan

#: What granularity "auto" aims at, as the Aleph Alpha API does.
AUTO_SEGMENTS = 30

_SPLITTERS: dict[str, Callable[[str], list[TokenSpan]]] = {
    "word": words,
    "sentence": sentences,
    "paragraph": paragraphs,
    "message": whole,
    "source": sources,
}


def cut(
    passage: Passage,
    granularity: Granularity,
    *,
    given: Sequence[TokenSpan] = (),
    include_special: bool = False,
) -> tuple[tuple[SegmentSpan, ...], Granularity]:
    """Segments in reading order, and the granularity that they have ("auto" decides for one).

    Args:
        passage: The passage.
        granularity: How fine. "message" has one segment a region, "source" one a numbered source and one a
            stretch of text around them, "given" those of ``given``.
        given: Characters of the context's text, for granularity "given"; where two overlap, the earlier
            one has it.
        include_special: Also have a segment for each special token.

    Raises:
        InvalidRequest: Granularity "given" without spans, "source" without numbered sources, or nothing is
            left to cut.
    """
    if granularity == "given" and not given:
        raise InvalidRequest("No segments were given.", hint="Choose another granularity.")
    if granularity == "source" and not any(
        has_sources(passage.text[region.start : region.end]) for region in passage.regions
    ):
        raise InvalidRequest(
            "There are no numbered sources ([1], [2] …) in this text.", hint="Choose another granularity."
        )
    chosen = _automatic(passage) if granularity == "auto" else granularity
    segments = _segments(passage, chosen, given)
    if include_special:
        segments += [_special(passage, index) for index, special in enumerate(passage.special) if special]
    if not segments:
        raise InvalidRequest(
            "The context has no text to weigh: it is all special tokens or template.",
            hint="Include special tokens, or choose a target further on.",
        )
    return tuple(sorted(segments, key=lambda segment: segment.tokens[0])), chosen


def _automatic(passage: Passage) -> Granularity:
    """The granularity whose number of segments is nearest to :data:`AUTO_SEGMENTS`, in proportion."""
    choices: list[Granularity] = ["token", "word", "sentence", "paragraph", "message"]

    def distance(granularity: Granularity) -> float:
        return abs(math.log(max(1, len(_segments(passage, granularity, ()))) / AUTO_SEGMENTS))

    return min(choices, key=distance)


def _segments(passage: Passage, granularity: Granularity, given: Sequence[TokenSpan]) -> list[SegmentSpan]:
    if granularity == "token":
        return _tokens(passage)
    if granularity == "given":
        return _assigned(passage, _apart(given))
    split = _SPLITTERS[granularity]
    units = [
        Region(start=region.start + start, end=region.start + end, label=region.label)
        for region in passage.regions
        for start, end in split(passage.text[region.start : region.end])
    ]
    return _assigned(passage, units)


def _apart(spans: Sequence[TokenSpan]) -> list[Region]:
    """Given spans in order, each cut off where the one before it ends."""
    units: list[Region] = []
    for start, end in sorted(spans):
        start = max(start, units[-1].end) if units else start
        if start < end:
            units.append(Region(start=start, end=end))
    return units


def _tokens(passage: Passage) -> list[SegmentSpan]:
    """One segment a token; the tokens of one character, which cannot be shown apart, are one segment."""
    segments: list[SegmentSpan] = []
    for index, number in _owners(passage, passage.regions).items():
        (start, end) = passage.spans[index]
        tokens: tuple[int, ...] = (index,)
        if segments and segments[-1].end > start:
            before = segments.pop()
            start, end, tokens = before.start, max(before.end, end), (*before.tokens, index)
        segments.append(_segment(passage, start, end, tokens, passage.regions[number].label))
    return segments


def _assigned(passage: Passage, units: Sequence[Region]) -> list[SegmentSpan]:
    """Give each token to its unit; a unit that a token of the one before reaches into, and has none, joins
    it.
    """
    tokens_of: dict[int, tuple[int, ...]] = {}
    for index, number in _owners(passage, units).items():
        tokens_of[number] = (*tokens_of.get(number, ()), index)
    segments: list[SegmentSpan] = []
    for number, unit in enumerate(units):
        if number in tokens_of:
            segments.append(_segment(passage, unit.start, unit.end, tokens_of[number], unit.label))
        elif segments and passage.spans[segments[-1].tokens[-1]][1] > unit.start:
            before = segments.pop()
            segments.append(_segment(passage, before.start, unit.end, before.tokens, before.label))
    return segments


def _owners(passage: Passage, units: Sequence[Region]) -> dict[int, int]:
    """Token -> number of the unit in which its first visible character lies; protected tokens are left
    out.
    """
    starts = [unit.start for unit in units]
    owners = {}
    for index, (start, end) in enumerate(passage.spans):
        if passage.special[index] or start == end:
            continue
        text = passage.text[start:end]
        first = start + (len(text) - len(text.lstrip()) if text.strip() else 0)
        number = bisect_right(starts, first) - 1
        if number >= 0 and first < units[number].end:
            owners[index] = number
    return owners


def _special(passage: Passage, index: int) -> SegmentSpan:
    return _segment(passage, *passage.spans[index], (index,), "special")


def _segment(passage: Passage, start: int, end: int, tokens: tuple[int, ...], label: str) -> SegmentSpan:
    return SegmentSpan(text=passage.text[start:end], start=start, end=end, tokens=tokens, label=label)
