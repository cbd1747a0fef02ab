"""Scores as they come in, in the rows that a request asked for."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from inference.attribution.comparison import spearman
from inference.attribution.task import Scores, Task
from inference.events import ExplainRequest, ExplanationPart


@dataclass(slots=True)
class ScoreTable:
    """Collects parts; knows what is final, what is estimated, and what was previewed.

    Attributes:
        task: What is explained.
        request: Says which rows are wanted, and how they are postprocessed.
        final: Segments with a score that no later part will replace.
        estimated: Segments whose score is an estimate so far.
        known: The scores of each segment, by row.
        previewed: Of each segment, the preview's score of the whole target.
        note: What the user should know; may be empty.
    """

    task: Task
    request: ExplainRequest
    final: set[int] = field(default_factory=set)
    estimated: set[int] = field(default_factory=set)
    known: dict[int, list[float]] = field(default_factory=dict)
    previewed: dict[int, float] = field(default_factory=dict)
    note: str = ""

    def add(self, part: Scores, *, preview: bool = False) -> ExplanationPart:
        """Take scores in, and say so."""
        rows = self._rows(part.values)
        self.note = f"{self.note} {part.note}".strip()
        for place, index in enumerate(part.indices):
            if preview:
                self.previewed[index] = float(rows[:, place].sum())
                continue
            self.known[index] = rows[:, place].tolist()
            self.estimated.discard(index)
            if not part.preview:
                self.final.add(index)
        if not preview:
            self.estimated |= set(part.estimated)
        return ExplanationPart(
            run_id=self.request.run_id,
            method=self.request.method,
            indices=part.indices,
            scores=tuple(map(tuple, rows.tolist())),
            done=len(self.final),
            total=len(self.task.segments),
            preview=preview or part.preview,
        )

    def scores(self) -> tuple[tuple[float | None, ...], ...]:
        """All rows; None where nothing was computed."""
        count = len(next(iter(self.known.values()), [0.0]))
        return tuple(
            tuple(
                self.known[index][row] if index in self.known else None
                for index in range(len(self.task.segments))
            )
            for row in range(count)
        )

    def preview_correlation(self) -> float | None:
        """Spearman's between the preview and the scores that followed."""
        both = [index for index in self.previewed if index in self.known]
        return spearman([self.previewed[i] for i in both], [sum(self.known[i]) for i in both])

    def _rows(self, values: Tensor) -> Tensor:
        """One row for the target or one for each token, postprocessed."""
        rows = values if self.request.target_granularity == "token" else values.sum(0, keepdim=True)
        if self.request.postprocessing == "absolute":
            return rows.abs()
        return rows.square() if self.request.postprocessing == "square" else rows
