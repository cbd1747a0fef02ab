"""Leave-one-out: remove a segment from the prompt and see how much worse the target is predicted.

The tokens themselves are removed, not the characters: the rest is not tokenized again, so only the segment
changes. Positions close up behind the gap. Works with every architecture; those whose state is not a KV
cache are read anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from inference.attribution.budget import in_batches
from inference.attribution.task import Cost, Scores, Task
from inference.events import MethodSpec

SPEC = MethodSpec(
    name="leave-one-out",
    title="Leave one out",
    summary="Removes each segment from the prompt and measures how much worse the target is predicted.",
    signed=True,
    exact=True,
)


def cost(task: Task) -> Cost:
    """One reading a segment, from just before the segment on."""
    return removal_cost(task, length=len(task.passage.read_ids), kept=task.rows)


def score(task: Task) -> Iterator[Scores]:
    """Exact scores; segments of one length go together."""
    length = len(task.passage.read_ids)

    def work(batch: Sequence[int]) -> Tensor:
        return task.values_without([task.segments[index].tokens for index in batch], first_read(task, batch))

    def rows(left: Sequence[int]) -> int:
        return removal_rows(task, left, length, task.rows)

    for batch, values in in_batches(removal_order(task), rows, work, task.budget, task.check):
        yield Scores(indices=tuple(batch), values=(task.base - values).T)


def without(task: Task, index: int, ids: Sequence[int]) -> list[int]:
    """The ids without a segment's tokens."""
    gone = set(task.segments[index].tokens)
    return [token for place, token in enumerate(ids) if place not in gone]


def removal_order(task: Task) -> list[int]:
    """Segments by number of tokens, then by place: readings of one length are neighbours."""
    return sorted(
        range(len(task.segments)),
        key=lambda index: (len(task.segments[index].tokens), task.segments[index].tokens[0]),
    )


def first_read(task: Task, batch: Sequence[int]) -> int:
    """Where the readings of a batch begin: at the token before the first gap, which predicts what follows
    it.
    """
    return max(0, task.segments[batch[0]].tokens[0] - 1) if task.reader.shares_prefixes else 0


def removal_rows(task: Task, left: Sequence[int], length: int, kept: int) -> int:
    """How many of the segments that are left make a batch: as many as have the first one's length, and
    fit.
    """
    size = len(task.segments[left[0]].tokens)
    alike = next((n for n, index in enumerate(left) if len(task.segments[index].tokens) != size), len(left))
    return min(alike, task.budget.rows(length - first_read(task, left), length, kept))


def removal_cost(task: Task, *, length: int, kept: int) -> Cost:
    """What reading ``length`` tokens without each segment in turn takes."""
    left = removal_order(task)
    passes = tokens = memory = 0
    while left:
        count = removal_rows(task, left, length, kept)
        queries = length - first_read(task, left) - len(task.segments[left[0]].tokens)
        passes, tokens = passes + 1, tokens + count * queries
        memory = max(memory, count * task.budget.row_bytes(queries, length, kept))
        left = left[count:]
    return Cost(passes=passes, tokens=tokens, memory=memory)
