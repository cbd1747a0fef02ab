"""What a run is steered by: sampling and attention, one immutable snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SteeringMode = Literal["log-additive", "multiplicative"]


Overlap = Literal["partial", "complete"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionControl:
    """Scale the attention that later tokens pay to a span of the prompt.

    ``start`` and ``end`` are character offsets into the text of message number ``message`` (``None``: into
    the raw prompt). ``factor`` 0 removes, 1 is neutral, above 1 amplifies. A token that the span covers in
    part gets ``1 + (factor - 1) * share``.
    """

    start: int
    end: int
    factor: float
    message: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SteeringOptions:
    """How attention controls act.

    ``mode`` "log-additive" adds ln(factor) to the scores of a token's key; "multiplicative" scales its
    scores. ``overlap`` "partial" scales with the covered share of a token, "complete" gives each touched
    token the whole factor. ``layers`` (first, last), both included, restricts it; None is all.
    ``similarity_threshold`` also controls related words: tokens whose input embedding has at least this
    cosine with a controlled one. ``entropy_threshold`` (nats) scales attention to tokens that the model was
    this unsure of by ``entropy_factor``.
    """

    mode: SteeringMode = "log-additive"
    overlap: Overlap = "partial"
    layers: tuple[int, int] | None = None
    similarity_threshold: float | None = None
    entropy_threshold: float | None = None
    entropy_factor: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterScale:
    """An attached adapter that is on; ``scale`` 1 is as it was trained."""

    name: str
    scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingControls:
    """Every knob that may move while the model is generating; the next token feels it.

    ``top_k`` 0, ``top_p`` 1, ``min_p`` 0 and the penalties' neutral values (1, 0, 0) switch a stage off;
    ``temperature`` 0 is greedy. ``seed`` None draws a fresh one, which :class:`Started` reports.
    ``adapters`` are those of the attached adapters that are on, ``experts_off`` the (layer, expert) pairs
    of a mixture that are left out; None leaves them as they are.
    """

    temperature: float = 0.7
    top_p: float = 0.95
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    seed: int | None = None
    max_new_tokens: int = 512
    stop: tuple[str, ...] = ()
    logit_bias: tuple[tuple[int, float], ...] = ()
    attention: tuple[AttentionControl, ...] = ()
    steering: SteeringOptions = SteeringOptions()
    adapters: tuple[AdapterScale, ...] | None = None
    experts_off: tuple[tuple[int, int], ...] | None = None
