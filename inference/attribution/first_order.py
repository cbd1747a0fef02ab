"""AtMan to first order: the gradient with respect to the attention bias scores all segments at once.

Suppressing key k adds ``ln f`` to its scores. To first order the target's log-probability then changes by
``ln f * g_k``, where ``g_k`` is its derivative with respect to the bias of k in all layers; so the score
of a segment is ``-ln f`` times the sum of its tokens' derivatives (multiplicative mode: ``(1 - f)`` times
the derivatives with respect to the keys' scales). One forward and one backward pass, about
three and a half forward passes' time; it can disagree with the exact scores far from factor 1: use it to
rank, those to tell.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from inference.attribution.gradients import gradient_rows, gradient_tokens, must_recompute
from inference.attribution.reader import Factors
from inference.attribution.task import Cost, Scores, Task
from inference.events import MethodSpec

SPEC = MethodSpec(
    name="atman-first-order",
    title="AtMan, first order",
    summary="Estimates all of AtMan's scores from one gradient; fast, and best for ranking.",
    signed=True,
    uses_factor=True,
    needs_attention=True,
    needs_gradient=True,
)

#: The slope at factor 1 says nothing about factor 0, whose logarithm is infinite; it is taken as this.
SMALLEST_FACTOR = 0.01


def cost(task: Task) -> Cost:
    """A forward and a backward pass (a backward pass for each target token where rows are asked for)."""
    return gradient_tokens(task, passes=1)


def score(task: Task) -> Iterator[Scores]:
    """All scores at once."""
    slopes = derivatives(task)
    steps = torch.stack([_step(task, task.factors(index)) for index in range(len(task.segments))])
    task.check()
    yield Scores(indices=tuple(range(len(task.segments))), values=slopes @ steps.T)


def derivatives(task: Task) -> Tensor:
    """(rows, N) derivatives of the objective with respect to the logarithm of each key's factor, where it
    is read.
    """
    suppression = task.suppression
    with torch.inference_mode(False), torch.enable_grad():
        point = task.base_factors.unsqueeze(0).to(task.reader.device).clone().requires_grad_(True)
        factors = Factors(point, suppression.mode, suppression.layers)
        reading = task.reader.differentiable(
            task.ids.clone(), task.rows, factors, recompute=must_recompute(task)
        )
        with reading as logits:
            (slopes,) = gradient_rows(task, task.objective.values(logits)[0], point)
    return (slopes[:, 0] * point[0].detach()).float().cpu()


def _step(task: Task, factors: Tensor) -> Tensor:
    """By how much each key moves against its derivative when a segment is suppressed."""
    if task.suppression.mode == "multiplicative":
        return 1.0 - factors
    return -factors.clamp(min=SMALLEST_FACTOR).log()
