"""Where words, sentences, paragraphs and numbered sources of a text begin and end."""

from __future__ import annotations

import re
from collections.abc import Iterable

from inference.steering import TokenSpan

_WORD = re.compile(r"\S+")
_PARAGRAPH_BREAK = re.compile(r"\n[ \t]*\n\s*")
#: "[3]" at the beginning of a line, as :mod:`inference.documents.prompting` and most others number sources.
_SOURCE = re.compile(r"^[ \t]*\[\d{1,3}\]", re.MULTILINE)
#: After a stop, its closing quotes and brackets, and a space; after a full-width stop; or at a line's end.
_SENTENCE_BREAK = re.compile(r"[.!?…]+[\"'”’)\]]*\s+|[。！？]+[\"'”’」』）]*\s*|\n+")
_ABBREVIATION = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|vs|cf|e\.g|i\.e|No|Fig|Vol|approx)|(?:^|\s)[A-Z])\.\s*$"
)


def words(text: str) -> list[TokenSpan]:
    """What whitespace separates."""
    return [match.span() for match in _WORD.finditer(text)]


def sentences(text: str) -> list[TokenSpan]:
    """Sentences with their closing punctuation; common abbreviations and initials do not end one."""
    ends = [
        match.end()
        for match in _SENTENCE_BREAK.finditer(text)
        if "\n" in match.group() or not _ABBREVIATION.search(text[: match.end()])
    ]
    return _between(text, ends)


def paragraphs(text: str) -> list[TokenSpan]:
    """What empty lines separate."""
    return _between(text, [match.end() for match in _PARAGRAPH_BREAK.finditer(text)])


def sources(text: str) -> list[TokenSpan]:
    """Numbered sources, and what stands before, between and after them.

    A source goes from its ``[n]`` at the beginning of a line to the next one, or to an empty line.
    """
    ends = []
    for match in _SOURCE.finditer(text):
        gap = _PARAGRAPH_BREAK.search(text, match.end())
        ends += [match.start(), gap.end() if gap else len(text)]
    return _between(text, sorted(set(ends)))


def has_sources(text: str) -> bool:
    """Whether a text has numbered sources."""
    return _SOURCE.search(text) is not None


def whole(text: str) -> list[TokenSpan]:
    """All of it."""
    return _between(text, [])


def _between(text: str, ends: Iterable[int]) -> list[TokenSpan]:
    """The stretches up to each end and the rest, without whitespace at their edges; empty ones left out."""
    spans, start = [], 0
    for end in [*ends, len(text)]:
        inner = text[start:end]
        if inner.strip():
            spans.append((start + len(inner) - len(inner.lstrip()), start + len(inner.rstrip())))
        start = end
    return spans
