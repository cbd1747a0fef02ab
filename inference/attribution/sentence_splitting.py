"""Where words, sentences and paragraphs of a text begin and end."""

from __future__ import annotations

import re
from collections.abc import Iterable

from inference.steering import TokenSpan

_WORD = re.compile(r"\S+")
_PARAGRAPH_BREAK = re.compile(r"\n[ \t]*\n\s*")
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
