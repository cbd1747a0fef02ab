"""Text that goes round in circles, to be unlearnt: small models like to say their last sentence again.

What the model itself says when it is asked for stories (see loop_sampler.py) is learnt from anew: teachers
predict each token, and where a loop begins they predict what else could stand there. Without teachers the
loss there is on not going on with the repetition (unlikelihood, Welleck et al. 2020); see
`batches.weighted_loss`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class OwnSample:
    """What a model said: the tokens of the prompt and of its reply."""

    prompt: tuple[int, ...]
    reply: tuple[int, ...]


def read_samples(path: Path) -> list[OwnSample]:
    """Samples that `loop_sampler` wrote; none where the file is missing."""
    if not path.exists():
        return []
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return [OwnSample(tuple(row["prompt"]), tuple(row["reply"])) for row in rows]


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
