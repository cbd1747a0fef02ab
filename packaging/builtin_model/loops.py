"""Text that goes round in circles, to be unlearnt: small models like to say their last sentence again.

A story of the corpus is broken off and its last sentences are repeated word for word. The loss is on not
going on with the repetition (unlikelihood, Welleck et al. 2020), so the pieces carry negative weights there;
see `batches.weighted_loss`. After it the story goes on.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

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
