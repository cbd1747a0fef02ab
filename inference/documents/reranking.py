"""A second, closer look at the best passages, with the embedder that is there anyway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from inference.documents.passages import split_sentences

if TYPE_CHECKING:
    from inference.documents.embedding import Embedder


def late_interaction_scores(embedder: Embedder, query: str, texts: Sequence[str]) -> list[float]:
    """ColBERT's MaxSim (Khattab and Zaharia 2020) over the embedder's token vectors.

    For each word piece of the query its best cosine with a word piece of the text, averaged with weights
    that fall with the number of texts that hold the word piece: what all candidates share tells nothing.
    """
    (asked, asked_ids), *candidates = embedder.token_vectors([query, *texts])
    holds = np.array(
        [sum(piece in set(ids) for _, ids in candidates) for piece in asked_ids], dtype=np.float64
    )
    weights = np.log(1 + (len(candidates) - holds + 0.5) / (holds + 0.5)) + 0.1
    weights[[0, -1]] = 0.0  # the marks of beginning and end
    if not weights.sum():
        return [0.0] * len(texts)
    return [float((asked @ text.T).max(axis=1) @ weights / weights.sum()) for text, _ in candidates]


def sentence_scores(embedder: Embedder, query: str, texts: Sequence[str]) -> list[float]:
    """The cosine of the query with the nearest sentence of each text."""
    sentences = [[text[start:end] for start, end in split_sentences(text)] or [text] for text in texts]
    vectors = embedder.embed([query, *(sentence for parts in sentences for sentence in parts)])
    cosines = vectors[1:] @ vectors[0]
    scores, at = [], 0
    for parts in sentences:
        scores.append(float(cosines[at : at + len(parts)].max()))
        at += len(parts)
    return scores
