"""Integrated gradients: gradients along the straight line from an empty context to the real one.

Sundararajan, Taly and Yan 2017 (arXiv:1703.01365). The context's embeddings are faded in from a baseline;
the score of a token is the average gradient along the way times how far its embedding moved. The scores of
all context tokens add up to the value at the end minus the value at the baseline (completeness), which
tells whether there were enough steps: the midpoint rule's error falls with the square of their number, once
they are dense enough. From a baseline of zeros they hardly ever are: norms make an embedding of any size as
large as the others, so that much happens in the first thousandth of the way. That is why the mean of the
embeddings is the default; what is missing is told. The target's own embeddings stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import torch
from torch import Tensor

from inference.attribution.budget import in_batches
from inference.attribution.gradients import gradient_rows, gradient_tokens, in_memory, segment_sums
from inference.attribution.task import Cost, Scores, Task
from inference.events import MethodSpec, ParameterSpec

_COMPLETE = 0.1  # of what the context adds may be missing from the scores before it is told

SPEC = MethodSpec(
    name="integrated-gradients",
    title="Integrated gradients",
    summary="Averages gradients while the context is faded in; scores add up to what the context adds.",
    signed=True,
    needs_gradient=True,
    parameters=(
        ParameterSpec(
            name="steps",
            title="Steps",
            kind="int",
            default=32,
            minimum=2,
            maximum=512,
            help="Points on the way from the baseline to the context; more is more exact.",
        ),
        ParameterSpec(
            name="baseline",
            title="Fade in from",
            kind="choice",
            default="mean",
            choices=("mean", "zero"),
            help="The mean of all embeddings, or no embedding at all, which takes many more steps.",
        ),
    ),
)


def cost(task: Task) -> Cost:
    """A forward and a backward pass a step, and the two ends of the way."""
    ways = gradient_tokens(task, passes=int(task.setting("steps", SPEC)))
    return replace(ways, passes=ways.passes + 2, tokens=ways.tokens + 2 * len(task.passage.read_ids))


def score(task: Task) -> Iterator[Scores]:
    """All scores after each step, as the steps so far make them; final after the last."""
    steps = int(task.setting("steps", SPEC))
    ids, base = task.ids, task.base_factors.unsqueeze(0)
    with torch.inference_mode(False):
        embeddings = task.reader.embedding(ids.clone()).detach().clone()[0]
    way = embeddings - _baseline(task, embeddings)
    way[task.passage.length :] = 0.0

    def work(batch: Sequence[int]) -> Tensor:
        return in_memory(task, lambda recompute: gradient(batch[0], recompute))

    def gradient(number: int, recompute: bool) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            left = 1.0 - (number + 0.5) / steps
            point = (embeddings - left * way).unsqueeze(0).requires_grad_(True)
            with reading(point, recompute) as logits:
                slopes = gradient_rows(task, task.objective.values(logits)[0], point)
        part: Tensor = (slopes[:, 0].float() * way.float()).sum(-1).cpu() / steps
        return part

    def reading(point: Tensor, recompute: bool) -> AbstractContextManager[Tensor]:
        return task.reader.differentiable(
            ids, task.rows, task.steering_of(base), embeddings=point, recompute=recompute
        )

    def value(point: Tensor) -> float:
        """The objective of the whole target, in nats."""

        def read(recompute: bool) -> float:
            with reading(point.unsqueeze(0), recompute) as logits:
                return float(task.objective.values(logits).sum())

        return in_memory(task, read)

    every, total = tuple(range(len(task.segments))), torch.zeros(1)
    parts = in_batches(_spread(steps), lambda _: 1, work, task.budget, task.check)
    for done, (_, part) in enumerate(parts, start=1):
        total = total + part
        if done < steps:
            so_far = segment_sums(task, total * (steps / done))
            yield Scores(indices=every, values=so_far, preview=True, estimated=every)
    added = value(embeddings) - value(embeddings - way)
    yield Scores(indices=every, values=segment_sums(task, total), note=_note(float(total.sum()), added))


def _note(total: float, added: float) -> str:
    """What to say where the scores fall short of what the context adds, in nats."""
    if abs(total - added) <= max(_COMPLETE * abs(added), 0.05):
        return ""
    return f"The scores add up to {total:.2f} of {added:.2f} nats: more steps would be more exact."


def _spread(steps: int) -> list[int]:
    """The steps in an order whose every beginning is spread over the whole way (that of the golden ratio)."""
    return sorted(range(steps), key=lambda step: (step * 0.6180339887498949) % 1.0)


def _baseline(task: Task, embeddings: Tensor) -> Tensor:
    """(N + T - 1, hidden): what the context is faded in from."""
    if task.setting("baseline", SPEC) == "zero":
        return torch.zeros_like(embeddings)
    every = torch.arange(task.reader.embedding.weight.shape[0], device=embeddings.device)
    with torch.inference_mode(False), torch.no_grad():
        mean: Tensor = task.reader.embedding(every).float().mean(0)
    baseline: Tensor = mean.to(embeddings.dtype).expand_as(embeddings)
    return baseline
