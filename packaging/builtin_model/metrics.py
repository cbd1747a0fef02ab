"""Scores of replies: exact match and F1 as in SQuAD (Rajpurkar et al. 2016), quotes, citations, refusals."""

from __future__ import annotations

import re
import string
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))
from inference.documents.prompting import parse_reply

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation + "’‘“”")


def normalise(text: str) -> str:
    """Lower case, without punctuation and articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(reply: str, answer: str) -> float:
    """1 where the normalised texts are equal."""
    return float(normalise(reply) == normalise(answer))


def f1(reply: str, answer: str) -> float:
    """Harmonic mean of precision and recall of the normalised words."""
    said, wanted = normalise(reply).split(), normalise(answer).split()
    shared = sum((Counter(said) & Counter(wanted)).values())
    return 2 * shared / (len(said) + len(wanted)) if shared else 0.0


def contains(reply: str, answer: str) -> float:
    """1 where the normalised reply holds the normalised answer as whole words."""
    return float(f" {normalise(answer)} " in f" {normalise(reply)} ")


def is_literal_quote(quote: str, sources: Iterable[str]) -> float:
    """1 where the words stand in a source exactly, white space aside."""
    wanted = " ".join(quote.split())
    return float(bool(wanted) and any(wanted in " ".join(source.split()) for source in sources))


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a question asks for. `answer` is empty where the sources do not hold it; `gold` counts from 1."""

    answer: str
    sources: tuple[str, ...]
    gold: int


def score(replies: Sequence[str], expected: Sequence[Expected]) -> dict[str, float]:
    """Means over answerable questions, and how refusals fell.

    Returns:
        Shares from 0 to 1. `exact`, `f1`, `contains`, `cited_right` and `false_refusals` are over answerable
        questions, `literal` over the replies given to them that are not refusals, `refused_right` over
        unanswerable ones; plus `answerable` and `unanswerable`, the counts.
    """
    sums: dict[str, float] = defaultdict(float)
    for text, item in zip(replies, expected, strict=True):
        reply = parse_reply(text, len(item.sources))
        if not item.answer:
            sums["unanswerable"] += 1
            sums["refused_right"] += reply.refused
            continue
        sums["answerable"] += 1
        sums["false_refusals"] += reply.refused
        sums["exact"] += exact_match(reply.quote, item.answer)
        sums["f1"] += f1(reply.quote, item.answer)
        sums["contains"] += contains(reply.quote, item.answer)
        sums["cited_right"] += reply.citations == (item.gold,)
        if not reply.refused:
            sums["given"] += 1
            sums["literal"] += is_literal_quote(reply.quote, item.sources)
    answerable, unanswerable = max(sums["answerable"], 1), max(sums["unanswerable"], 1)
    names = ("exact", "f1", "contains", "cited_right", "false_refusals")
    shares = {name: sums[name] / answerable for name in names}
    shares["literal"] = sums["literal"] / max(sums["given"], 1)
    shares["refused_right"] = sums["refused_right"] / unanswerable
    return shares | {"answerable": sums["answerable"], "unanswerable": sums["unanswerable"]}
