"""AtMan, coarse to fine: whole sentences first, then one by one the segments of those that matter.

Sentences are suppressed exactly; those with the largest scores are opened, and their segments are
suppressed exactly, until a share of all segments has been. The others keep a share of their sentence's
score in proportion to their number of tokens, and are marked as estimated. The strongest segments are
nearly always among those that were opened, at a fraction of the cost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from inference.attribution.atman import suppress_each, suppression_cost
from inference.attribution.segments import cut
from inference.attribution.task import Cost, Scores, Task
from inference.events import MethodSpec, ParameterSpec, SegmentSpan

SPEC = MethodSpec(
    name="atman-coarse-to-fine",
    title="AtMan, coarse to fine",
    summary="Suppresses sentences first and opens those that matter: the strongest segments at less cost.",
    signed=True,
    uses_factor=True,
    needs_attention=True,
    parameters=(
        ParameterSpec(
            name="share",
            title="Share to open",
            kind="float",
            default=0.2,
            minimum=0.02,
            maximum=1.0,
            help="The part of all segments that is suppressed one by one.",
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Group:
    """A coarse segment and the numbers of the fine ones in it."""

    segment: SegmentSpan
    members: tuple[int, ...]


def cost(task: Task) -> Cost:
    """The sentences' readings, and those of the segments to open, taken as spread over the text."""
    groups = grouped(task)
    if len(groups) == len(task.segments):
        return suppression_cost(task, range(len(task.segments)))
    coarse = suppression_cost(_coarse(task, groups), range(len(groups)))
    step = max(1, round(1 / float(task.setting("share", SPEC))))
    fine = suppression_cost(task, range(0, len(task.segments), step))
    return Cost(
        passes=coarse.passes + fine.passes,
        tokens=coarse.tokens + fine.tokens,
        memory=max(coarse.memory, fine.memory),
    )


def score(task: Task) -> Iterator[Scores]:
    """First every segment's share of its sentence as an estimate, then exact scores of the opened ones."""
    groups = grouped(task)
    if len(groups) == len(task.segments):
        yield from suppress_each(task, range(len(task.segments)))
        return
    coarse = torch.zeros(task.rows, len(groups))
    for part in suppress_each(_coarse(task, groups), range(len(groups))):
        coarse[:, list(part.indices)] = part.values
        yield _shares(task, groups, part)
    opened = _strongest(task, groups, coarse)
    yield from suppress_each(task, opened)


def grouped(task: Task) -> list[Group]:
    """The sentences that the segments lie in; segments in none (special tokens) are their own."""
    sentences, _ = cut(task.passage, "sentence")
    sentence_of = {token: number for number, sentence in enumerate(sentences) for token in sentence.tokens}
    members: dict[tuple[str, int], list[int]] = {}
    for index, segment in enumerate(task.segments):
        number = sentence_of.get(segment.tokens[0])
        members.setdefault(("own", index) if number is None else ("sentence", number), []).append(index)
    return [
        Group(
            replace(
                task.segments[inside[0]],
                tokens=tuple(token for index in inside for token in task.segments[index].tokens),
            ),
            tuple(inside),
        )
        for inside in members.values()
    ]


def _coarse(task: Task, groups: list[Group]) -> Task:
    return replace(task, segments=tuple(group.segment for group in groups))


def _shares(task: Task, groups: list[Group], part: Scores) -> Scores:
    """A coarse part's scores, shared among the segments inside by their numbers of tokens."""
    indices: list[int] = []
    columns: list[Tensor] = []
    for place, number in enumerate(part.indices):
        total = len(groups[number].segment.tokens)
        for index in groups[number].members:
            indices.append(index)
            columns.append(part.values[:, place] * (len(task.segments[index].tokens) / total))
    return Scores(
        indices=tuple(indices), values=torch.stack(columns, dim=1), preview=True, estimated=tuple(indices)
    )


def _strongest(task: Task, groups: list[Group], coarse: Tensor) -> list[int]:
    """The segments of the sentences with the largest scores, up to the share that is to be opened."""
    wanted = max(1, round(float(task.setting("share", SPEC)) * len(task.segments)))
    strength = coarse.sum(0).abs()
    opened: list[int] = []
    for number in strength.argsort(descending=True).tolist():
        if len(opened) >= wanted:
            break
        opened.extend(groups[number].members)
    return opened
