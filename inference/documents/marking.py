"""Which sentences of a passage are marked: those that match the question best."""

from __future__ import annotations

from collections.abc import Sequence

from inference.documents.passages import estimate_tokens, split_sentences
from inference.documents.terms import terms

_ENOUGH_TOKENS = 20  # a shorter sentence is marked with the better of its neighbours
_WORD_WEIGHT = 0.5  # of the share of common words against the cosine


def best_stretch(text: str, words: set[str], cosines: Sequence[float] = ()) -> tuple[int, int]:
    """Offsets of the stretch of whole sentences that matches a question best.

    Args:
        text: A passage.
        words: The question's index terms.
        cosines: Of the question with each sentence of :func:`split_sentences`; none: words alone decide.
    """
    spans = split_sentences(text) or [(0, len(text))]
    known = list(cosines) if len(cosines) == len(spans) else [0.0] * len(spans)
    scores = [
        cosine + _WORD_WEIGHT * shared_words(words, text[start:end])
        for cosine, (start, end) in zip(known, spans, strict=True)
    ]
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


def shared_words(words: set[str], text: str) -> float:
    """Which share of ``words`` stand in a text."""
    return len(words & set(terms(text))) / len(words) if words else 0.0
