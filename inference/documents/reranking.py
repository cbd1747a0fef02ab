"""A second, closer look at the best passages, with the embedder that is there anyway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from inference.documents.terms import STOP_WORDS

if TYPE_CHECKING:
    from inference.documents.embedding import Embedder

_FAINT = 0.1  # weight of a word piece that is a stop word or a punctuation mark


def late_interaction_scores(embedder: Embedder, query: str, texts: Sequence[str]) -> list[float]:
    """ColBERT's MaxSim (Khattab and Zaharia 2020) over the embedder's token vectors.

    For each word piece of the query its best cosine with a word piece of the text, averaged; stop words and
    punctuation hardly count, as every text has them.
    """
    (asked, _), *candidates = embedder.token_vectors([query, *texts])
    pieces, spans = embedder.pieces(query)
    words = [query[start:end].casefold() for start, end in spans][: max(len(asked) - 2, 0)]
    weights = np.array(
        [_FAINT if word in STOP_WORDS or not word.isalnum() else 1.0 for word in words], dtype=np.float32
    )
    inner = asked[1 : 1 + len(words)]  # without the marks of beginning and end
    if not pieces or not len(inner):
        return [0.0] * len(texts)
    return [float((inner @ text.T).max(axis=1) @ weights / weights.sum()) for text, _ in candidates]
