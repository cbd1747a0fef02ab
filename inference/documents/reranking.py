"""A second, closer look at the best passages, with the embedder that is there anyway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inference.documents.passages import split_sentences
from inference.documents.terms import STOP_WORDS

if TYPE_CHECKING:
    from inference.documents.embedding import Embedder, Vectors

_FAINT = 0.1  # weight of a word piece that is a stop word or a punctuation mark


@dataclass(frozen=True, slots=True, kw_only=True)
class CloserLook:
    """What one pass over a passage tells.

    ``likeness`` is ColBERT's MaxSim (Khattab and Zaharia 2020) over the embedder's token vectors: for each
    word piece of the query its best cosine with one of the passage, averaged; stop words and punctuation
    hardly count, as every text has them. ``cosines`` are those of the query with each sentence, whose
    vectors are the means of their word pieces' ("late chunking", Günther et al. 2024).
    """

    likeness: float
    cosines: tuple[float, ...]


def look_closely(embedder: Embedder, query: str, vector: Vectors, texts: Sequence[str]) -> list[CloserLook]:
    """Compare passages with a query word by word and sentence by sentence.

    Args:
        embedder: Reads each passage once.
        query: A question.
        vector: Its unit vector.
        texts: Passages.
    """
    (asked, _), *read = embedder.token_vectors([query, *texts])
    asked, weights = _weighted(embedder, query, asked)
    looks = []
    for text, (tokens, _) in zip(texts, read, strict=True):
        likeness = float((asked @ tokens.T).max(axis=1) @ weights) if len(asked) else 0.0
        looks.append(CloserLook(likeness=likeness, cosines=_sentence_cosines(embedder, text, tokens, vector)))
    return looks


def _weighted(embedder: Embedder, query: str, vectors: Vectors) -> tuple[Vectors, Vectors]:
    """The query's word pieces without the marks of its ends, and their weights, which add up to 1."""
    _, spans = embedder.pieces(query)
    words = [query[start:end].casefold() for start, end in spans][: max(len(vectors) - 2, 0)]
    weights = np.array(
        [_FAINT if word in STOP_WORDS or not word.isalnum() else 1.0 for word in words], dtype=np.float32
    )
    return vectors[1 : 1 + len(words)], weights / max(float(weights.sum()), 1e-9)


def _sentence_cosines(embedder: Embedder, text: str, tokens: Vectors, vector: Vectors) -> tuple[float, ...]:
    _, spans = embedder.pieces(text)
    known = spans[: max(len(tokens) - 2, 0)]
    starts = np.array([start for start, _ in known])
    cosines = []
    for start, end in split_sentences(text):
        inside = np.flatnonzero((starts >= start) & (starts < end))
        mean = tokens[1 + inside].mean(axis=0) if len(inside) else np.zeros_like(vector)
        cosines.append(float(mean @ vector / max(float(np.linalg.norm(mean)), 1e-9)))
    return tuple(cosines)
