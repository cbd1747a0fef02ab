"""Cuts prose into sentences and into passages of the size that a document index holds."""

from __future__ import annotations

import random
import re

_ABBREVIATION_LIST = (
    "mr mrs ms dr st jr sr vs etc no vol fig prof gen col capt lt rev hon co inc ltd e.g i.e u.s cf ca "
    "approx jan feb mar apr jun jul aug sep sept oct nov dec"
)
_ABBREVIATIONS = frozenset(_ABBREVIATION_LIST.split())
_BOUNDARY = re.compile(r"(?<=[.!?])[\"”’')\]]*\s+(?=[\"“‘'(\[]?[A-Z0-9])|\n+")


def split_sentences(text: str) -> list[str]:
    """Sentences of `text`, stripped; a line break always ends one, initials and abbreviations never do."""
    sentences, begin = [], 0
    for match in _BOUNDARY.finditer(text):
        if "\n" not in match.group():
            last = text[begin : match.start()].rsplit(None, 1)[-1] if match.start() > begin else ""
            bare = last.rstrip(".").lstrip("(\"“‘'").lower()
            if last.endswith(".") and (bare in _ABBREVIATIONS or (len(bare) == 1 and bare.isalpha())):
                continue
        quotes = match.group().rstrip()
        sentence = (text[begin : match.start()] + quotes).strip()
        if sentence:
            sentences.append(sentence)
        begin = match.end()
    rest = text[begin:].strip()
    return [*sentences, rest] if rest else sentences


def cut_passage(text: str, words: int, rng: random.Random) -> str:
    """A run of whole sentences of about `words` words from a random place in `text`.

    Paragraph breaks inside the passage become single line breaks.
    """
    paragraphs = [part.strip() for part in text.split("\n") if part.strip()]
    sizes = [part.count(" ") + 1 for part in paragraphs]
    start = rng.randrange(len(paragraphs)) if sum(sizes) > words else 0
    taken: list[str] = []
    count = 0
    for part, size in zip(paragraphs[start:], sizes[start:], strict=True):
        if count and count + size > words * 1.2:
            break
        if size > words * 1.5:
            part = _run_of_sentences(part, words - count, rng if not taken else None)
            size = part.count(" ") + 1
        taken.append(part)
        count += size
        if count >= words * 0.8:
            break
    return "\n".join(taken)


def _run_of_sentences(paragraph: str, words: int, rng: random.Random | None) -> str:
    sentences = split_sentences(paragraph)
    start = rng.randrange(len(sentences)) if rng else 0
    taken: list[str] = []
    count = 0
    for sentence in sentences[start:]:
        taken.append(sentence)
        count += sentence.count(" ") + 1
        if count >= words:
            break
    return " ".join(taken)
