"""A second, closer look at the best passages, with the embedder that is there anyway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inference.documents.passages import split_sentences
from inference.documents.terms import IDENTIFIER, STOP_WORDS, asks_for_a_number, holds_a_number, terms

if TYPE_CHECKING:
    from inference.documents.embedding import Embedder, Vectors

_FAINT = 0.1  # weight of a word piece that is a stop word or a punctuation mark
#: What the parts of a passage's score weigh; chosen with ``bench index --quality``.
_COSINE, _LIKENESS, _RARE, _SHARED, _BM25, _NUMBER = 1.0, 1.5, 1.0, 0.6, 0.5, 0.3
_ALL = _COSINE + _LIKENESS + _RARE + _SHARED + _BM25


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question and what is known of its words.

    Attributes:
        query: As it is searched for.
        vector: Its unit vector.
        weights: How much each of its index terms says, on the scale of BM25; rare ones say most.
    """

    query: str
    vector: Vectors
    weights: Mapping[str, float]

    @property
    def total(self) -> float:
        """What all terms say together."""
        return max(sum(self.weights.values()), 1e-9)

    def shared(self, found: set[str]) -> float:
        """Which share of what the terms say is said by those that are found, 0 to 1."""
        return sum(weight for term, weight in self.weights.items() if term in found) / self.total


@dataclass(frozen=True, slots=True, kw_only=True)
class CloserLook:
    """What one pass over a passage tells: its score, 0 to about 1, and that of each of its sentences."""

    score: float
    sentences: tuple[float, ...]

    @property
    def best_sentence(self) -> float:
        """The score of the best one."""
        return max(self.sentences, default=0.0)


def look_closely(
    embedder: Embedder, asked: Asked, passages: Sequence[tuple[str, str]], word_scores: Sequence[float]
) -> list[CloserLook]:
    """Compare passages with a question word by word and sentence by sentence.

    The parts of a score: the best cosine of the question with a sentence, whose vector is the mean of its
    word pieces' ("late chunking", Günther et al. 2024); ColBERT's MaxSim (Khattab and Zaharia 2020) over
    the embedder's token vectors, for each word piece of the question its best cosine with one of the
    passage, averaged once with equal weights and once with the rarer words weighing more; the share of the
    question's words in the best sentence; the BM25 score as a share of the most that it could be. Of a
    sentence counts, too, whether a number stands in it, if one is asked for.

    Args:
        embedder: Reads each passage once.
        asked: A question.
        passages: Headings and texts.
        word_scores: BM25 scores of the passages.
    """
    whole = [f"{heading}\n{text}" if heading else text for heading, text in passages]
    (tokens, _), *read = embedder.token_vectors([asked.query, *whole])
    flat, rare = _weights(embedder, asked, len(tokens))
    number = _NUMBER if asks_for_a_number(asked.query) else 0.0
    tokens = tokens[1 : 1 + len(flat)]
    looks = []
    for (heading, text), (found, _), word_score in zip(passages, read, word_scores, strict=True):
        near = tokens @ found[1:-1].T if len(found) > 2 else np.zeros((len(flat), 1), np.float32)
        best = near.max(axis=1)
        cosines, likenesses, shares = _sentences(embedder, asked, heading, text, found, near, (flat, rare))
        score = (
            _COSINE * max(cosines, default=0.0)
            + _LIKENESS * float(best @ flat)
            + _RARE * float(best @ rare)
            + _SHARED * max(shares, default=0.0)
            + _BM25 * min(word_score / asked.total, 1.0)
        )
        spans = split_sentences(text)
        sentences = tuple(
            (_COSINE * cosine + likeness + _SHARED * share + number * holds_a_number(text[start:end])) / _ALL
            for cosine, likeness, share, (start, end) in zip(cosines, likenesses, shares, spans, strict=True)
        )
        looks.append(CloserLook(score=score / _ALL, sentences=sentences))
    return looks


def _weights(embedder: Embedder, asked: Asked, count: int) -> tuple[Vectors, Vectors]:
    """Weights of the question's word pieces that add up to 1: nearly equal ones, and by rarity."""
    _, spans = embedder.pieces(asked.query)
    spans = spans[: max(count - 2, 0)]
    pieces = [asked.query[start:end].casefold() for start, end in spans]
    flat = np.array(
        [_FAINT if piece in STOP_WORDS or not piece.isalnum() else 1.0 for piece in pieces], dtype=np.float32
    )
    rare = np.full(len(spans), _FAINT, dtype=np.float32)
    for word in IDENTIFIER.finditer(asked.query):
        own = [index for index, (start, _) in enumerate(spans) if word.start() <= start < word.end()]
        known = [asked.weights[term] for term in terms(word.group()) if term in asked.weights]
        if own and known:
            rare[own] = max(known) / len(own)
    return flat / max(float(flat.sum()), 1e-9), rare / max(float(rare.sum()), 1e-9)


def _sentences(
    embedder: Embedder,
    asked: Asked,
    heading: str,
    text: str,
    tokens: Vectors,
    near: Vectors,
    weights: tuple[Vectors, Vectors],
) -> tuple[list[float], list[float], list[float]]:
    """Of each sentence its cosine with the question, its likeness and its share of the question's words."""
    before = len(heading) + 1 if heading else 0
    _, spans = embedder.pieces(f"{heading}\n{text}" if heading else text)
    starts = np.array([start - before for start, _ in spans[: max(len(tokens) - 2, 0)]])
    cosines, likenesses, shares = [], [], []
    for start, end in split_sentences(text):
        inside = np.flatnonzero((starts >= start) & (starts < end))
        mean = tokens[1 + inside].mean(axis=0) if len(inside) else np.zeros_like(asked.vector)
        cosines.append(float(mean @ asked.vector / max(float(np.linalg.norm(mean)), 1e-9)))
        best = near[:, inside].max(axis=1) if len(inside) else np.zeros(len(near), np.float32)
        likenesses.append(float(_LIKENESS * best @ weights[0] + _RARE * best @ weights[1]))
        shares.append(asked.shared(set(terms(text[start:end]))))
    return cosines, likenesses, shares
