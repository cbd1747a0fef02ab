"""Text that goes round in circles, to be unlearnt: small models like to say their last sentence again.

Two kinds. Made up: a story of the corpus is broken off and its last sentences are repeated word for word;
after that it goes on. And what the model itself says when it is asked for stories (see loop_sampler.py). The
loss is on not going on with the repetition (unlikelihood, Welleck et al. 2020), so the pieces carry negative
weights there; see `batches.weighted_loss`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from corpus import Document
from sentences import split_sentences

_ASKED = (
    "Tell me a story.",
    "Tell me a story about {}.",
    "Write a short story about {}.",
    "Tell me about {}.",
    "What happened next?",
    "Go on.",
)


@dataclass(frozen=True, slots=True)
class Loop:
    """`request` (a user's turn or ""), `begin`, `repeats` of what `begin` ended with, `end`."""

    request: str
    begin: str
    repeats: tuple[str, ...]
    end: str


def draw_loop(stories: Sequence[Document], rng: random.Random) -> Loop:
    """A broken-off story with one to three sentences said again up to six times."""
    while True:
        document = rng.choice(stories)
        length = rng.randint(400, 1600)
        at = rng.randrange(max(1, len(document.text) - length))
        sentences = split_sentences(document.text[at : at + length])[1:-1]
        cut = rng.randint(2, 8)
        span = rng.choice((1, 1, 1, 2, 3))
        if len(sentences) > cut:
            break
    again = " ".join(sentences[max(0, cut - span) : cut])
    repeats = (again,) * rng.randint(1, 6)
    about = document.title.lower()[:40]
    request = rng.choice(_ASKED).format(about) if rng.random() < 0.6 else ""
    return Loop(request, " ".join(sentences[:cut]), repeats, " ".join(sentences[cut:]))


@dataclass(frozen=True, slots=True)
class OwnSample:
    """What a model said: after a user's `request`, or (where that is empty) after the words `begin`."""

    request: str
    begin: str
    reply: str


def read_samples(path: Path) -> list[OwnSample]:
    """Samples that `loop_sampler` wrote; none where the file is missing."""
    if not path.exists():
        return []
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return [OwnSample(row["request"], row["begin"], row["reply"]) for row in rows]


def repeated_positions(ids: Sequence[int], run: int = 4) -> list[bool]:
    """Which tokens end `run` tokens in a row that stood in the same order before (Welleck et al. 2020)."""
    seen: set[tuple[int, ...]] = set()
    marks = [False] * len(ids)
    for end in range(run, len(ids) + 1):
        gram = tuple(ids[end - run : end])
        marks[end - 1] = gram in seen
        seen.add(gram)
    return marks


def first_of_each_loop(marks: Sequence[bool], most: int = 12) -> list[bool]:
    """The first `most` of consecutive marks: a loop must be left where it begins."""
    kept, length = [], 0
    for mark in marks:
        length = length + 1 if mark else 0
        kept.append(mark and length <= most)
    return kept
