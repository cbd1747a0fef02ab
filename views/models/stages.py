"""What each stage of sampling did to one step's distribution."""

from __future__ import annotations

import math
from dataclasses import dataclass

from inference.events import Stage
from views.models.candidates import format_probability

#: Number of "all tokens that were not recorded" among the candidates' numbers.
OTHERS = -1
_SAME = 1e-6

STAGE_TITLES = {
    "raw": "Raw (the model's own)",
    "sampled": "As the server draws",
    "server": "As the server tells it",
    "penalties": "Penalties and bias",
    "temperature": "Temperature",
    "top-k": "Top-k",
    "top-p": "Top-p",
    "min-p": "Min-p",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRow:
    """One stage over the recorded candidates.

    Attributes:
        name: As in :class:`~inference.events.Stage`.
        probs: Probability of each candidate after the stage.
        others: Probability of all tokens that were not recorded.
        removed: Mass that the stage set to zero, as a share of the distribution before it.
        cut: Numbers of the candidates that the stage set to zero.
        acts: Whether the stage changed anything.
    """

    name: str
    probs: tuple[float, ...]
    others: float
    removed: float
    cut: tuple[int, ...]
    acts: bool

    @property
    def kept(self) -> int:
        """Number of recorded candidates that can still be drawn."""
        return sum(probability > 0 for probability in self.probs)


def stage_rows(stages: tuple[Stage, ...]) -> tuple[StageRow, ...]:
    """Compare each stage with the one before it; the first one always acts."""
    rows: list[StageRow] = []
    before: tuple[float, ...] | None = None
    for stage in stages:
        others = max(0.0, 1.0 - math.fsum(stage.probs))
        earlier = before if before is not None else stage.probs
        cut = tuple(
            i for i, (old, new) in enumerate(zip(earlier, stage.probs, strict=True)) if old > 0 and new == 0
        )
        moved = any(abs(old - new) > _SAME for old, new in zip(earlier, stage.probs, strict=True))
        rows.append(
            StageRow(
                name=stage.name,
                probs=stage.probs,
                others=others,
                removed=stage.removed,
                cut=cut,
                acts=before is None or moved or stage.removed > _SAME,
            )
        )
        before = stage.probs
    return tuple(rows)


def cut_next(row: StageRow, following: StageRow) -> tuple[int, ...]:
    """What the following stage removes, the tokens that were not recorded included."""
    no_others_left = row.others > _SAME and following.others <= _SAME
    return (*following.cut, OTHERS) if no_others_left and following.removed > 0 else following.cut


def effect_of(row: StageRow, rows: tuple[StageRow, ...]) -> str:
    """What a stage did, in a few words."""
    if not row.acts:
        return "changes nothing"
    if row is rows[0]:
        return f"most likely {format_probability(max(row.probs, default=0.0))}"
    if row.removed > 0:
        kept = f"{row.kept} kept" if row.others <= _SAME else f"{row.kept}+ kept"
        return f"removes {format_probability(row.removed)}, {kept}"
    before = rows[rows.index(row) - 1]
    top = max(range(len(row.probs)), key=before.probs.__getitem__, default=None)
    if top is None:
        return ""
    return f"{format_probability(before.probs[top])} → {format_probability(row.probs[top])}"
