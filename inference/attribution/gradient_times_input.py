"""Gradient x input: the derivative of the target's log-probability along each token's own embedding.

Shrikumar et al. 2016 (arXiv:1605.01713). The score of a token is the dot product of its input embedding
with the gradient there: to first order, what removing the embedding would cost. Known to be noisy; shown
to be compared.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from inference.attribution.gradients import gradient_rows, gradient_tokens, in_memory, segment_sums
from inference.attribution.task import Cost, Scores, Task
from inference.events import MethodSpec

SPEC = MethodSpec(
    name="gradient-x-input",
    title="Gradient × input",
    summary="The slope of the target's log-probability along each token's embedding; one backward pass.",
    signed=True,
    needs_gradient=True,
)


def cost(task: Task) -> Cost:
    """A forward and a backward pass."""
    return gradient_tokens(task, passes=1)


def score(task: Task) -> Iterator[Scores]:
    """All scores at once."""
    by_token = in_memory(task, lambda recompute: _by_token(task, recompute))
    yield Scores(indices=tuple(range(len(task.segments))), values=segment_sums(task, by_token))


def _by_token(task: Task, recompute: bool) -> Tensor:
    """(rows, tokens) dot products."""
    ids, base = task.ids, task.base_factors.unsqueeze(0)
    with torch.inference_mode(False), torch.enable_grad():
        embeddings = task.reader.embedding(ids.clone()).detach().clone().requires_grad_(True)
        reading = task.reader.differentiable(
            ids, task.rows, task.steering_of(base), embeddings=embeddings, recompute=recompute
        )
        with reading as logits:
            slopes = gradient_rows(task, task.objective.values(logits)[0], embeddings)
        products: Tensor = (slopes[:, 0].float() * embeddings[0].detach().float()).sum(-1)
    return products
