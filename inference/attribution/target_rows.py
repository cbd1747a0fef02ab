"""AtMan in the target's rows only: segments are suppressed for the queries that predict the target, and
for no others.

A different quantity from exact AtMan, and labelled as such: what later context tokens took in from a
segment still reaches the target. It tells what the target looks at directly. Only T tokens are read for a
segment, so it costs N + NT positions instead of N(N+1)/2 + NT.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from inference.attribution.budget import in_batches
from inference.attribution.task import Cost, Scores, Task
from inference.events import MethodSpec

SPEC = MethodSpec(
    name="atman-target-rows",
    title="AtMan, target rows only",
    summary="Turns a segment down only where the target is predicted: what the target looks at directly.",
    signed=True,
    exact=True,
    uses_factor=True,
    needs_attention=True,
)


def cost(task: Task) -> Cost:
    """T positions a segment."""
    count, rows = len(task.segments), _rows(task)
    queries = len(task.passage.read_ids) - _start(task)
    memory = min(rows, count) * task.budget.row_bytes(queries, len(task.passage.read_ids), task.rows)
    return Cost(passes=-(-count // rows), tokens=count * queries, memory=memory)


def score(task: Task) -> Iterator[Scores]:
    """Scores in reading order."""
    order = list(range(len(task.segments)))
    if task.suppression.factor == 1.0:
        yield Scores(indices=tuple(order), values=torch.zeros(task.rows, len(order)))
        return

    def work(batch: Sequence[int]) -> torch.Tensor:
        return task.suppressed_values(batch, _start(task))

    for batch, values in in_batches(order, lambda _: _rows(task), work, task.budget, task.check):
        yield Scores(indices=tuple(batch), values=(task.base - values).T)


def _start(task: Task) -> int:
    """The last context token: the query that predicts the target's first token."""
    return task.passage.length - 1


def _rows(task: Task) -> int:
    length = len(task.passage.read_ids)
    return task.budget.rows(length - _start(task), length, task.rows)
