"""The lexical baseline: the sentence of the sources with the highest BM25 score is the answer."""

from __future__ import annotations

import math
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sentences import split_sentences

sys.path.append(str(Path(__file__).resolve().parents[2]))
from inference.documents.prompting import format_reply

_WORD = re.compile(r"\w+")
_K1, _B = 1.2, 0.75


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def best_sentence(question: str, sources: Sequence[str]) -> str:
    """The best sentence as a reply with its citation (Robertson and Zaragoza 2009, k1 1.2, b 0.75)."""
    candidates = [(number, s) for number, text in enumerate(sources, 1) for s in split_sentences(text)]
    if not candidates:
        return ""
    bags = [Counter(_words(sentence)) for _, sentence in candidates]
    mean_length = sum(map(Counter.total, bags)) / len(bags) or 1.0
    holding = Counter(word for bag in bags for word in bag)
    scores = []
    for bag in bags:
        length = _K1 * (1 - _B + _B * bag.total() / mean_length)
        total = 0.0
        for word in set(_words(question)):
            idf = math.log(1 + (len(bags) - holding[word] + 0.5) / (holding[word] + 0.5))
            total += idf * bag[word] * (_K1 + 1) / (bag[word] + length)
        scores.append(total)
    number, sentence = candidates[max(range(len(scores)), key=scores.__getitem__)]
    return format_reply(sentence, number)
