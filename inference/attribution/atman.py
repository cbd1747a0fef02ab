"""AtMan, exact: suppress a segment's attention in every layer and see how much worse the target is predicted.

Deiseroth et al. 2023, "AtMan: Understanding Transformer Predictions Through Memory Efficient Attention
Manipulation" (arXiv:2301.08110). The score is the change of the target's cross-entropy, ``-log p`` with
the segment suppressed minus ``-log p`` as things are; positive = the segment supports the target.
Suppression is log-additive by default, where the paper multiplies scores (:mod:`inference.steering` says
how the two differ).

The naive way reads N + T tokens once for each of N segments. Here readings start at the segment they suppress
(N(N+1)/2 + NT tokens in all), go through the model in batches, and compute logits for the target alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch

from inference.attribution.budget import in_batches
from inference.attribution.task import Cost, Scores, Task
from inference.events import MethodSpec

SPEC = MethodSpec(
    name="atman",
    title="AtMan",
    summary="Turns down the attention to each segment and measures how much worse the target is predicted.",
    signed=True,
    exact=True,
    uses_factor=True,
    needs_attention=True,
)


def cost(task: Task) -> Cost:
    """One reading a segment, from the segment on."""
    return suppression_cost(task, range(len(task.segments)))


def score(task: Task) -> Iterator[Scores]:
    """Exact scores, batch by batch in reading order."""
    yield from suppress_each(task, range(len(task.segments)))


def suppress_each(task: Task, indices: Iterable[int]) -> Iterator[Scores]:
    """Score some segments exactly."""
    order = sorted(indices, key=task.first_changed)
    if task.suppression.factor == 1.0:
        yield Scores(indices=tuple(order), values=torch.zeros(task.rows, len(order)))
        return

    def rows(left: Sequence[int]) -> int:
        return _rows(task, left)

    def work(batch: Sequence[int]) -> torch.Tensor:
        return task.suppressed_values(batch, _start(task, batch))

    for batch, values in in_batches(order, rows, work, task.budget, task.check):
        yield Scores(indices=tuple(batch), values=(task.base - values).T)


def suppression_cost(task: Task, indices: Iterable[int]) -> Cost:
    """What :func:`suppress_each` takes, batch by batch as it will be done."""
    if task.suppression.factor == 1.0:
        return Cost(passes=0, tokens=0, memory=0)
    left = sorted(indices, key=task.first_changed)
    length = len(task.passage.read_ids)
    passes = tokens = memory = 0
    while left:
        count = min(_rows(task, left), len(left))
        queries = length - _start(task, left)
        passes, tokens = passes + 1, tokens + count * queries
        memory = max(memory, count * task.budget.row_bytes(queries, length, task.rows))
        left = left[count:]
    return Cost(passes=passes, tokens=tokens, memory=memory)


def _start(task: Task, batch: Sequence[int]) -> int:
    """Where the readings of a batch begin: at its first change."""
    return task.first_changed(batch[0]) if task.reader.shares_prefixes else 0


def _rows(task: Task, left: Sequence[int]) -> int:
    length = len(task.passage.read_ids)
    return task.budget.rows(length - _start(task, left), length, task.rows)
