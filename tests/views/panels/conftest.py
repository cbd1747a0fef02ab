"""Fixtures of the panels' tests: a theme, and steps whose stages are computed by hand, not by the engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest
from PySide6.QtWidgets import QApplication

from inference.events import Candidate, Stage, Token
from views.theme import Theme

MakeToken = Callable[..., Token]

TEXTS = (" the", " a", " Nile", " river", " longest", "\n", " Amazon", " in", " one", " that", ".", " two")


@pytest.fixture
def theme(qapp: QApplication) -> Iterator[Theme]:
    """The light theme, on the test's application."""
    theme = Theme(qapp, "light")
    yield theme
    theme.deleteLater()


def normalise(values: list[float]) -> list[float]:
    total = math.fsum(values)
    return [value / total for value in values]


def make_token_with(
    index: int = 0,
    chosen: int = 0,
    *,
    temperature: float = 0.7,
    top_p: float = 0.9,
    rest: float = 0.05,
    sharpness: float = 0.6,
) -> Token:
    """A step with twelve candidates that hold ``1 - rest`` of the raw mass; stages raw, temperature, top-p.

    Everything that was not recorded counts as one token of mass ``rest``, which top-p removes first.
    """
    weights = [math.exp(-sharpness * rank) for rank in range(len(TEXTS))]
    raw = [weight * (1 - rest) for weight in normalise(weights)]
    heated = normalise([p ** (1 / temperature) for p in (*raw, rest)])
    order = sorted(range(len(raw)), key=lambda i: -heated[i])
    kept, mass = set(), 0.0
    for i in order:
        if mass >= top_p:
            break
        kept.add(i)
        mass += heated[i]
    last = [heated[i] / mass if i in kept else 0.0 for i in range(len(raw))]
    candidates = tuple(
        Candidate(id=100 + i, text=text, raw_logprob=math.log(raw[i]), sampled_prob=last[i])
        for i, text in enumerate(TEXTS)
    )
    return Token(
        run_id=1,
        index=index,
        id=100 + chosen,
        text=TEXTS[chosen],
        data=TEXTS[chosen].encode(),
        special=False,
        raw_logprob=math.log(raw[chosen]),
        sampled_prob=last[chosen],
        entropy=-math.fsum(p * math.log(p) for p in raw),
        candidates=candidates,
        stages=(
            Stage(name="raw", probs=tuple(raw), removed=0.0),
            Stage(name="penalties", probs=tuple(raw), removed=0.0),
            Stage(name="temperature", probs=tuple(heated[: len(raw)]), removed=0.0),
            Stage(name="top-k", probs=tuple(heated[: len(raw)]), removed=0.0),
            Stage(name="top-p", probs=tuple(last), removed=1 - mass),
            Stage(name="min-p", probs=tuple(last), removed=0.0),
        ),
        at=0.1 * index,
    )


@pytest.fixture
def make_token() -> MakeToken:
    """Makes steps; see :func:`make_token_with`."""
    return make_token_with
