"""Do methods agree, and which is faithful here? Rank correlations and deletion curves.

A deletion curve removes the segments that a method holds to be the strongest first and follows the target's
probability (Petsiuk et al. 2018, "RISE", arXiv:1806.07421): the sooner it falls, the smaller the area
under the curve, the better the method knew what carried the target.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import torch

from inference.attribution.task import Task
from inference.events import DeletionCurve

#: Shuffles whose mean is the curve of chance.
RANDOM_ORDERS = 3


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rank correlation, ties at their mean rank; None if either is constant or shorter than
    two.
    """
    return _pearson(_ranks(first), _ranks(second))


def kendall(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Kendall's tau-b; None if either is constant or shorter than two."""
    a = torch.tensor(first, dtype=torch.float64)
    b = torch.tensor(second, dtype=torch.float64)
    signs_a, signs_b = (a[:, None] - a[None, :]).sign(), (b[:, None] - b[None, :]).sign()
    pairs = float(signs_a.abs().sum() * signs_b.abs().sum())
    return float((signs_a * signs_b).sum()) / math.sqrt(pairs) if pairs > 0.0 else None


def deletion_curve(task: Task, method: str, order: Sequence[int], steps: int) -> DeletionCurve:
    """Remove segments in an order, the first first, and follow the target's log-probability.

    Args:
        task: The passage, which has been read.
        method: Whose order it is.
        order: All segments, the strongest first.
        steps: Points of the curve besides the whole prompt.
    """
    counts = sorted({round(len(order) * step / steps) for step in range(steps + 1)})
    logprobs = [_logprob_without(task, order[:count]) for count in counts]
    fractions = [count / len(order) for count in counts]
    heights = [math.exp(min(0.0, logprob - logprobs[0])) for logprob in logprobs]
    area = sum(
        (right - left) * (low + high) / 2
        for left, right, low, high in zip(fractions, fractions[1:], heights, heights[1:], strict=False)
    )
    return DeletionCurve(method=method, removed=tuple(fractions), logprobs=tuple(logprobs), area=area)


def random_curve(task: Task, steps: int) -> DeletionCurve:
    """The mean curve of shuffled orders: what a method without any idea gets."""
    orders = [list(range(len(task.segments))) for _ in range(RANDOM_ORDERS)]
    curves = []
    for seed, order in enumerate(orders):
        random.Random(seed).shuffle(order)
        curves.append(deletion_curve(task, "random", order, steps))
    return DeletionCurve(
        method="random",
        removed=curves[0].removed,
        logprobs=tuple(sum(each) / len(curves) for each in zip(*(c.logprobs for c in curves), strict=True)),
        area=sum(curve.area for curve in curves) / len(curves),
    )


def _logprob_without(task: Task, gone: Sequence[int]) -> float:
    """The target's value when some segments' tokens are removed from the prompt."""
    task.check()
    tokens = [token for index in gone for token in task.segments[index].tokens]
    return float(task.values_without([tokens], 0).sum())


def _ranks(values: Sequence[float]) -> list[float]:
    """1-based ranks; equal values share the mean of theirs."""
    order = sorted(range(len(values)), key=lambda index: values[index])
    ranks = [0.0] * len(values)
    place = 0
    while place < len(order):
        end = place
        while end + 1 < len(order) and values[order[end + 1]] == values[order[place]]:
            end += 1
        for index in order[place : end + 1]:
            ranks[index] = (place + end) / 2 + 1
        place = end + 1
    return ranks


def _pearson(first: Sequence[float], second: Sequence[float]) -> float | None:
    if len(first) < 2:
        return None
    mean_a, mean_b = sum(first) / len(first), sum(second) / len(second)
    a, b = [x - mean_a for x in first], [y - mean_b for y in second]
    spread = math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / spread if spread > 0.0 else None
