"""Which sentences of a passage are marked: those that match the question, or the answer, best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inference.documents.passages import estimate_tokens, split_sentences
from inference.documents.terms import terms

if TYPE_CHECKING:
    from inference.documents.embedding import Embedder, Vectors

_ENOUGH_TOKENS = 20  # a shorter sentence is marked with the better of its neighbours
_WORD_WEIGHT = 0.5  # of the share of common words against the cosine


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Offsets of whole sentences, and the cosine of the nearest sentence of the text."""

    start: int
    end: int
    cosine: float


def best_sentences(embedder: Embedder, wanted: str, vector: Vectors, texts: Sequence[str]) -> list[Stretch]:
    """For each text the stretch of whole sentences that matches ``wanted`` best.

    Args:
        embedder: Makes the sentences' vectors.
        wanted: A question, or an answer.
        vector: Its unit vector.
        texts: Passages.
    """
    sentences = [split_sentences(text) or [(0, len(text))] for text in texts]
    flat = [text[start:end] for text, spans in zip(texts, sentences, strict=True) for start, end in spans]
    if not flat:
        return []
    words = set(terms(wanted))
    cosines = embedder.embed(flat) @ vector
    scores = cosines + _WORD_WEIGHT * np.array([shared_words(words, text) for text in flat])
    found, at = [], 0
    for text, spans in zip(texts, sentences, strict=True):
        start, end = _stretch(text, spans, scores[at : at + len(spans)].tolist())
        found.append(Stretch(start=start, end=end, cosine=float(cosines[at : at + len(spans)].max())))
        at += len(spans)
    return found


def shared_words(words: set[str], text: str) -> float:
    """Which share of ``words`` stand in a text."""
    return len(words & set(terms(text))) / len(words) if words else 0.0


def _stretch(text: str, spans: Sequence[tuple[int, int]], scores: Sequence[float]) -> tuple[int, int]:
    """The best sentence, with its better neighbours as long as it is short."""
    first = last = max(range(len(spans)), key=lambda index: scores[index])
    while estimate_tokens(text[spans[first][0] : spans[last][1]]) < _ENOUGH_TOKENS:
        before = scores[first - 1] if first > 0 else -9.0
        after = scores[last + 1] if last + 1 < len(spans) else -9.0
        if before == after == -9.0:
            break
        if before > after:
            first -= 1
        else:
            last += 1
    return spans[first][0], spans[last][1]
