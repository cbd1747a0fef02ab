"""Pages cut into passages: windows of whole sentences that overlap and know where they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from inference.documents.pages import Page

#: Size of a passage and of the overlap with its neighbour, in word pieces as :func:`estimate_tokens` counts
#: them.
PASSAGE_TOKENS = 120
OVERLAP_TOKENS = 30
MAX_SENTENCE_TOKENS = 100

_ABBREVIATION_LIST = """
e.g i.e etc vs cf al fig figs eq eqs sec secs no nos vol pp p ch dr mr mrs ms prof st jr sr inc ltd
co corp dept est approx u.s u.k a.m p.m jan feb mar apr jun jul aug sep sept oct nov dec bzw z.b d.h
usw vgl nr abb bsp ggf
"""
_ABBREVIATIONS = frozenset(_ABBREVIATION_LIST.split())
_END = re.compile(r"[.!?…]+[\"'”’»)\]]*(?=\s)|[。！？｡]+[」』”）]*|\n")
_WIDE = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\u3040-\u30ff\u0590-\u0dff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """``page.text[start:end]`` of one page, and the heading that it stands under."""

    page: int
    start: int
    end: int
    text: str
    heading: str = ""


def estimate_tokens(text: str) -> int:
    """About how many word pieces a text is: one for four characters, one for each character of a script
    without spaces.
    """
    wide = len(_WIDE.findall(text))
    return wide + (len(text) - wide + 3) // 4


def split_sentences(text: str) -> list[tuple[int, int]]:
    """Offsets of the sentences of a text, in order; together they cover all but white space.

    A sentence ends at a full stop (not after an abbreviation, an initial, or within a number), a question or
    exclamation mark, their East Asian forms, or a newline. What is longer than :data:`MAX_SENTENCE_TOKENS`
    is cut at a space.
    """
    spans: list[tuple[int, int]] = []
    start = 0
    for match in _END.finditer(text):
        if match.group().startswith(".") and _is_inner_stop(text, match.start(), match.end()):
            continue
        spans.extend(_trimmed(text, start, match.end()))
        start = match.end()
    spans.extend(_trimmed(text, start, len(text)))
    return spans


def split_passages(
    pages: Iterator[Page], *, size: int = PASSAGE_TOKENS, lap: int = OVERLAP_TOKENS
) -> Iterator[Passage]:
    """Cut pages into passages, in order. A passage never crosses a page, so that its citation is one page.

    Args:
        pages: In the order of the document: a heading holds until the next one, across pages.
        size: About how many tokens a passage has at most.
        lap: About how many of them it shares with the one before.
    """
    heading = ""
    for page in pages:
        yield from page_passages(page, heading=heading, size=size, lap=lap)
        heading = page.headings[-1].text if page.headings else heading


def page_passages(
    page: Page, *, heading: str = "", size: int = PASSAGE_TOKENS, lap: int = OVERLAP_TOKENS
) -> Iterator[Passage]:
    """The passages of one page; ``heading`` is the last one of the pages before."""
    sentences = split_sentences(page.text)
    costs = [estimate_tokens(page.text[start:end]) for start, end in sentences]
    first = 0
    while first < len(sentences):
        last, total = first, 0
        while last < len(sentences) and (last == first or total + costs[last] <= size):
            total += costs[last]
            last += 1
        start, end = sentences[first][0], sentences[last - 1][1]
        yield Passage(
            page=page.number,
            start=start,
            end=end,
            text=page.text[start:end],
            heading=_heading_at(page, start, sentences[first][1], heading),
        )
        if last >= len(sentences):
            return
        first = _step_back(costs, first, last, lap)


def _step_back(costs: list[int], first: int, last: int, lap: int) -> int:
    """The first sentence of the next passage: as many of the last ones again as fit into the overlap."""
    shared = 0
    while last - 1 > first and shared + costs[last - 1] <= lap:
        shared += costs[last - 1]
        last -= 1
    return last


def _heading_at(page: Page, start: int, end: int, before: str) -> str:
    """The heading that text from ``start`` stands under; one that begins the passage itself counts."""
    found = before
    for heading in page.headings:
        if heading.start >= max(end, start + 1):
            break
        found = heading.text
    return found


def _is_inner_stop(text: str, stop: int, end: int) -> bool:
    """Whether a full stop belongs to an abbreviation, an initial or an ordinal and ends no sentence."""
    word = text[max(text.rfind(" ", 0, stop), text.rfind("\n", 0, stop)) + 1 : stop].lstrip("([\"'“")
    following = text[end : end + 3].strip()
    if following and following[0].islower():
        return True
    if word.lower() in _ABBREVIATIONS:
        return True
    return len(word) == 1 and word.isalpha() and word.isupper()


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    while start < end and estimate_tokens(text[start:end]) > MAX_SENTENCE_TOKENS:
        cut = _cut_long(text, start, end)
        yield start, cut
        start = cut
        while start < end and text[start].isspace():
            start += 1
    if start < end:
        yield start, end


def _cut_long(text: str, start: int, end: int) -> int:
    """Where to cut a sentence that is too long: at the last separator before the limit, at the limit if
    there is none.
    """
    wide = bool(_WIDE.match(text[start]))
    limit = start + (MAX_SENTENCE_TOKENS * (1 if wide else 3))
    limit = min(limit, end)
    for separators in (";:", ",、", " "):
        cut = max(text.rfind(separator, start + 1, limit) for separator in separators)
        if cut > start + (limit - start) // 2:
            return cut + 1
    return limit
