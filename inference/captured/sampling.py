"""Logits -> distribution -> token on the device, with nothing that the host has to look at in between.

The same definitions as :mod:`inference.sampling` and :mod:`inference.generation.truncation`, as one
function of fixed shapes whose controls are tensors, so that it can be captured. Everything that is
recorded of a step goes into one row of numbers (:class:`Record` says where).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.captured.controls import (
    ENTROPY_BIAS,
    ENTROPY_THRESHOLD,
    FREQUENCY,
    KEY,
    MIN_P,
    PRESENCE,
    REPETITION,
    STEP,
    TEMPERATURE,
    TOP_K,
    TOP_P,
    ControlBuffers,
)
from inference.errors import InvalidLogits
from inference.generation.random_stream import exponentials
from inference.generation.truncation import GREEDY_BELOW
from inference.sampling import STAGES, Draw

#: Numbers of a record before its columns: the two totals, the entropy, and five removed masses.
_HEAD = 8
#: Rows of its columns: ids, raw log-probabilities, and the six stages.
_ROWS = 8


@dataclass(frozen=True, slots=True)
class Record:
    """A step's numbers: its head, then rows over the ``count`` likeliest tokens and the chosen one."""

    count: int

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return _HEAD + _ROWS * (self.count + 1)

    def read(self, numbers: list[float], candidates: int) -> Draw:
        """What the host makes of it.

        Args:
            numbers: Of :func:`sample`.
            candidates: How many alternatives to keep, at most ``count``.

        Raises:
            InvalidLogits: As :meth:`inference.sampling.Sampler.draw` does.
        """
        total, penalized_total, entropy = numbers[:3]
        check_totals(total, penalized_total)
        width = self.count + 1
        rows = [numbers[_HEAD + row * width : _HEAD + (row + 1) * width] for row in range(_ROWS)]
        kept = max(1, min(candidates, self.count))
        if rows[0][self.count] in rows[0][:kept]:
            rows = [row[:kept] for row in rows]
            place = rows[0].index(numbers[_HEAD + self.count])
        else:
            rows = [[*row[: kept - 1], row[self.count]] for row in rows]
            place = kept - 1
        ids, logprobs, *stages = rows
        tokens = [int(token) for token in ids]
        return Draw(
            token=tokens[place],
            raw_logprob=logprobs[place],
            sampled_prob=stages[-1][place],
            entropy=entropy,
            candidates=list(zip(tokens, logprobs, stages[-1], strict=True)),
            stages=[
                (name, tuple(stage), removed)
                for name, stage, removed in zip(STAGES, stages, (0.0, *numbers[3:_HEAD]), strict=True)
            ],
        )


def check_totals(total: float, penalized_total: float) -> None:
    """Refuse logits that are no distribution.

    Raises:
        InvalidLogits: By their log-sum-exp, or by that of the penalized ones.
    """
    if not math.isfinite(total):
        raise InvalidLogits("The model returned logits that are no numbers (NaN or infinite).")
    if not math.isfinite(penalized_total):
        raise InvalidLogits(
            "The controls leave no token that could come next.", hint="Reset logit bias and penalties."
        )


def sample(logits: Tensor, controls: ControlBuffers, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw a token; nothing is changed.

    Args:
        logits: (vocabulary,) of any float type.
        controls: What acts.
        count: How many alternatives are recorded.

    Returns:
        The token (1,) int64, the record (:attr:`Record.size`,) float64, and the bias (1,) float32 that the
        token's own key gets if the model was too unsure of it.
    """
    numbers, whole = controls.numbers, controls.whole
    raw = logits.float()
    total = torch.logsumexp(raw, 0)
    entropy = _entropy(raw, total)
    penalized = _penalized(raw, controls)
    penalized_total = torch.logsumexp(penalized, 0)
    temperature = numbers[TEMPERATURE].float()
    greedy = temperature < GREEDY_BELOW
    highest, likeliest = penalized.max(0)
    scaled = (penalized - highest) / torch.where(greedy, 1.0, temperature)
    heated = (scaled - torch.logsumexp(scaled, 0)).exp()
    probs, order = heated.sort(descending=True, stable=True)
    after_k, removed_k = _top_k(probs, whole[TOP_K])
    after_p, removed_p = _top_p(after_k, numbers[TOP_P])
    after_min, removed_min = _min_p(after_p, numbers[MIN_P].float())
    noise = exponentials(whole[KEY], whole[STEP], order)
    place = (after_min / noise).argmax().view(1)
    # index_select: indexing with a tensor of no dimensions would ask the device for its value.
    token = torch.where(greedy, likeliest, order.index_select(0, place))

    tokens = torch.cat([raw.topk(count).indices, token])
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))[tokens]
    certain = (tokens == token).float()
    stages = torch.stack([heated[tokens], after_k[rank], after_p[rank], after_min[rank]])
    stages = torch.where(greedy, certain, stages)
    raw_logprobs, penalized_logprobs = raw[tokens] - total, penalized[tokens] - penalized_total
    nothing = torch.zeros_like(total)
    lost = 1.0 - penalized_logprobs[-1].exp()
    removed = torch.stack([nothing, torch.where(greedy, lost, nothing), removed_k, removed_p, removed_min])
    removed[2:] *= torch.where(greedy, 0.0, 1.0)
    head = torch.cat([torch.stack([total, penalized_total, entropy]), removed])
    columns = torch.cat([raw_logprobs, raw_logprobs.exp(), penalized_logprobs.exp(), stages.flatten()])
    record = torch.cat([head.double(), tokens.double(), columns.double()])
    unsure = entropy.double() > numbers[ENTROPY_THRESHOLD]
    return token, record, torch.where(unsure, numbers[ENTROPY_BIAS], 0.0).float().view(1)


def _penalized(logits: Tensor, controls: ControlBuffers) -> Tensor:
    """Logit bias, repetition penalty (CTRL), frequency and presence penalties (OpenAI)."""
    numbers = controls.numbers.float()
    biased = logits + controls.bias
    repetition = numbers[REPETITION]
    repeated = torch.where(biased < 0, biased * repetition, biased / repetition)
    repeated = torch.where(controls.seen, repeated, biased)
    came = (controls.counts > 0).float()
    return repeated - (controls.counts * numbers[FREQUENCY] + came * numbers[PRESENCE])


def _top_k(probs: Tensor, top_k: Tensor) -> tuple[Tensor, Tensor]:
    lowest = probs.index_select(0, (top_k - 1).clamp_min(0).view(1))
    return _renormalized(probs, probs >= lowest, top_k > 0)


def _top_p(probs: Tensor, top_p: Tensor) -> tuple[Tensor, Tensor]:
    exact = probs.double()
    above = exact.cumsum(0) - exact
    first = torch.arange(len(probs), device=probs.device) == 0
    return _renormalized(probs, (above < top_p) | first, top_p < 1.0)


def _min_p(probs: Tensor, min_p: Tensor) -> tuple[Tensor, Tensor]:
    return _renormalized(probs, probs >= min_p * probs[0], min_p > 0.0)


def _renormalized(probs: Tensor, stays: Tensor, acts: Tensor) -> tuple[Tensor, Tensor]:
    """What stays, summing to 1, and the mass that went; all as it was where the stage does not act."""
    kept = torch.where(stays, probs, 0.0)
    mass = kept.sum()
    removed = torch.where(acts, (1.0 - mass).clamp(0.0, 1.0), 0.0)
    return torch.where(acts, kept / mass, probs), removed


def _entropy(logits: Tensor, total: Tensor) -> Tensor:
    logprobs = (logits - total).clamp_(min=-100.0)
    return -(logprobs.exp() * logprobs).sum()
