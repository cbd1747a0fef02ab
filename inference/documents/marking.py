"""Which sentences of a passage are marked: those that match the question best."""

from __future__ import annotations

import re
from collections.abc import Sequence

from inference.documents.passages import split_sentences
from inference.documents.terms import terms

_MOST = 250  # characters of blocks that are taken together
_STOP = re.compile(r"(?:([^\W\d_])[)\]]?[.!?…]|\d{3}[)\]]?[.!?…]|[。！？｡])[\"'”’»)\]」』]*$")


def best_sentence(text: str, words: set[str], scores: Sequence[float] = ()) -> tuple[int, int]:
    """Offsets of the sentence that matches a question best.

    Args:
        text: A passage.
        words: The question's index terms.
        scores: Of each sentence of :func:`split_sentences`; none: the share of common words decides.
    """
    spans = split_sentences(text) or [(0, len(text))]
    if len(scores) != len(spans):
        scores = [shared_words(words, text[start:end]) for start, end in spans]
    return spans[max(range(len(spans)), key=lambda index: scores[index])]


def whole_statement(text: str, spans: Sequence[tuple[int, int]], first: int, last: int) -> tuple[int, int]:
    """Offsets of all between two full stops around some sentences.

    A sentence of prose is a statement of its own. Headings, items of a list and cells end without a full
    stop and say something only together with what stands beside them: they are taken along, up to
    :data:`_MOST` characters.

    Args:
        text: A passage, or a page.
        spans: Its sentences.
        first: Index of the first one that belongs to it in any case.
        last: Index of the last one.
    """
    while first > 0 and not _ends(text, spans[first - 1]) and spans[last][1] - spans[first - 1][0] <= _MOST:
        first -= 1
    while (
        last + 1 < len(spans)
        and not _ends(text, spans[last])
        and spans[last + 1][1] - spans[first][0] <= _MOST
    ):
        last += 1
    return spans[first][0], spans[last][1]


def _ends(text: str, span: tuple[int, int]) -> bool:
    """Whether a sentence ends a statement, and not just its block: with a stop after a word.

    After a capital or a short number it may as well belong to an item, a reference or a version; years and
    amounts are longer.
    """
    match = _STOP.search(text[span[0] : span[1]])
    return match is not None and not (match.group(1) or "").isupper()


def shared_words(words: set[str], text: str) -> float:
    """Which share of ``words`` stand in a text."""
    return len(words & set(terms(text))) / len(words) if words else 0.0
