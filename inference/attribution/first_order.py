"""AtMan to first order: one gradient scores all segments at once.

Suppressing key k adds ``ln f`` to its scores. To first order the target's log-probability then changes by
``ln f * g_k``, where ``g_k`` is its derivative with respect to the bias of k in all layers; so the score
of a segment is ``-ln f`` times the sum of its tokens' derivatives (multiplicative mode: ``(1 - f)`` times
the derivatives with respect to the keys' scales). One forward and one backward pass, about three and a
half forward passes' time.

In the log-additive mode each softmax is followed exactly (:mod:`.softmax_taps`) unless that is switched
off or the architecture keeps its attention weights to itself; only what later layers make of it is linear
then. Scores can still disagree with the exact ones far from factor 1: use these to rank, those to tell.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from inference.attribution.gradients import (
    NO_GRADIENTS,
    gradient_rows,
    gradient_tokens,
    gradients_in_turn,
    in_memory,
)
from inference.attribution.reader import Factors
from inference.attribution.softmax_taps import SoftmaxTaps
from inference.attribution.task import Cost, Scores, Task
from inference.errors import NotAvailable
from inference.events import MethodSpec, ParameterSpec

SPEC = MethodSpec(
    name="atman-first-order",
    title="AtMan, first order",
    summary="Estimates all of AtMan's scores from one gradient; fast, and best for ranking.",
    signed=True,
    uses_factor=True,
    needs_attention=True,
    needs_gradient=True,
    parameters=(
        ParameterSpec(
            name="saturation",
            title="Follow each softmax exactly",
            kind="bool",
            default=True,
            help="Finds tokens that hold nearly all of a head's attention; log-additive mode only.",
        ),
    ),
)

#: The slope at factor 1 says nothing about factor 0, whose logarithm is infinite; it is taken as this.
SMALLEST_FACTOR = 0.01


def cost(task: Task) -> Cost:
    """A forward and a backward pass (a backward pass for each target token where rows are asked for)."""
    return gradient_tokens(task, passes=1, weights=_follows_softmax(task))


def score(task: Task) -> Iterator[Scores]:
    """All scores at once."""
    every = tuple(range(len(task.segments)))
    if _follows_softmax(task):
        try:
            values = in_memory(task, lambda recompute: _through_softmax(task, recompute), weights=True)
            yield Scores(indices=every, values=values)
            return
        except NotAvailable as problem:
            if problem.message == NO_GRADIENTS:
                raise
    slopes = derivatives(task)
    steps = torch.stack([_step(task, task.factors(index)) for index in every])
    task.check()
    yield Scores(indices=every, values=slopes @ steps.T)


def _follows_softmax(task: Task) -> bool:
    return task.suppression.mode == "log-additive" and bool(task.setting("saturation", SPEC))


def _through_softmax(task: Task, recompute: bool) -> Tensor:
    """(rows, segments) scores with every softmax followed exactly."""
    related = task.suppression.similarity_threshold is not None
    taps = SoftmaxTaps(
        [segment.tokens for segment in task.segments],
        task.suppression.factor,
        torch.stack([task.factors(index) for index in range(len(task.segments))]) if related else None,
        task.passage.length,
        task.reader.device,
    )
    base = task.base_factors.unsqueeze(0).to(task.reader.device)
    factors = Factors(base, "log-additive", task.suppression.layers)
    reading = task.reader.differentiable(task.ids.clone(), task.rows, factors, recompute=recompute, taps=taps)
    with reading as logits:
        values = task.objective.values(logits)[0]
        if not values.requires_grad:  # no mask passed by; the plain estimate may still have a gradient
            raise NotAvailable("This architecture's masks carry no gradient.")
        return torch.stack([taps.take() for _ in gradients_in_turn(task, values, taps.anchor)])


def derivatives(task: Task) -> Tensor:
    """(rows, N) derivatives of the objective with respect to the logarithm of each key's factor, where it
    is read.
    """
    return in_memory(task, lambda recompute: _derivatives(task, recompute))


def _derivatives(task: Task, recompute: bool) -> Tensor:
    suppression = task.suppression
    with torch.inference_mode(False), torch.enable_grad():
        point = task.base_factors.unsqueeze(0).to(task.reader.device).clone().requires_grad_(True)
        factors = Factors(point, suppression.mode, suppression.layers)
        reading = task.reader.differentiable(task.ids.clone(), task.rows, factors, recompute=recompute)
        with reading as logits:
            slopes = gradient_rows(task, task.objective.values(logits)[0], point)
    return (slopes[:, 0] * point[0].detach()).float().cpu()


def _step(task: Task, factors: Tensor) -> Tensor:
    """By how much each key moves against its derivative when a segment is suppressed."""
    if task.suppression.mode == "multiplicative":
        return 1.0 - factors
    return -factors.clamp(min=SMALLEST_FACTOR).log()
