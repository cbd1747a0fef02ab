"""One explanation as it is shown: scores that fill up while they are computed, and the scale they share."""

from __future__ import annotations

import math
from collections.abc import Sequence

from inference.events import (
    Explanation,
    ExplanationPart,
    ExplanationStarted,
    MethodSpec,
    Postprocessing,
    SegmentSpan,
    TargetSpan,
)

Score = float | None


class ExplanationScores:
    """Scores of segments (columns) for the target or each token of it (rows); None: not computed yet.

    Args:
        started: What is explained.
        spec: The method that computes the scores.
        target_text: The target as the user chose it.
        contrast: Text of the token that the target is held against; empty without one.
        steered: Whether the text was read under factors on the attention.
    """

    def __init__(
        self,
        started: ExplanationStarted,
        spec: MethodSpec,
        target_text: str,
        contrast: str = "",
        *,
        steered: bool = False,
    ) -> None:
        self.spec = spec
        self.context = started.context
        self.segments: tuple[SegmentSpan, ...] = started.segments
        self.targets: tuple[TargetSpan, ...] = started.targets
        self.granularity = started.granularity
        self.cost = started.cost
        self.target_text = target_text
        self.contrast = contrast
        self.steered = steered
        self.rows: list[list[Score]] = [[None] * len(started.segments) for _ in started.targets]
        self.preview: set[int] = set()
        self.done, self.total = 0, len(started.segments)
        self.final: Explanation | None = None
        #: Whether the run ended before all was computed.
        self.broken = False
        self._values: dict[tuple[int | None, Postprocessing], list[Score]] = {}
        self._scales: dict[Postprocessing, float] = {}

    @property
    def complete(self) -> bool:
        """Whether every score is final."""
        return self.final is not None and self.final.complete

    def take_part(self, part: ExplanationPart) -> None:
        """Fill in some scores."""
        self._forget()
        for row, values in zip(self.rows, part.scores, strict=False):
            for index, value in zip(part.indices, values, strict=True):
                row[index] = value
        if part.preview:
            self.preview.update(part.indices)
        else:
            self.preview.difference_update(part.indices)
        self.done, self.total = part.done, part.total

    def take_final(self, final: Explanation) -> None:
        """Take the end of the run; what was only previewed keeps its preview."""
        self._forget()
        for row, values in zip(self.rows, final.scores, strict=False):
            for index, value in enumerate(values):
                if value is not None:
                    row[index] = value
        if final.complete:
            self.preview.clear()
            self.done = self.total
        self.final = final

    def cell(self, row: int, segment: int, post: Postprocessing = "none") -> Score:
        """The score of a segment for one row."""
        value = self.rows[row][segment]
        return None if value is None else processed(value, post)

    def value(self, segment: int, row: int | None = None, post: Postprocessing = "none") -> Score:
        """The score of a segment for one row, or for the whole target (None): the sum over its tokens."""
        if row is not None:
            return self.cell(row, segment, post)
        known = [values[segment] for values in self.rows]
        present = [value for value in known if value is not None]
        return processed(math.fsum(present), post) if present else None

    def values(self, row: int | None = None, post: Postprocessing = "none") -> list[Score]:
        """The score of every segment; see :meth:`value`. Not to be changed: it is kept until scores come."""
        if (row, post) not in self._values:
            count = len(self.segments)
            self._values[row, post] = [self.value(segment, row, post) for segment in range(count)]
        return self._values[row, post]

    def scale(self, post: Postprocessing = "none") -> float:
        """The largest absolute score: the end of the colour scale of every view; 1 if all are 0."""
        if post not in self._scales:
            shown = [*self.rows, self.values()]
            largest = max((abs(v) for row in shown for v in row if v is not None), default=0.0)
            self._scales[post] = (largest * largest if post == "square" else largest) or 1.0
        return self._scales[post]

    def _forget(self) -> None:
        self._values, self._scales = {}, {}

    def ranking(self, row: int | None = None, post: Postprocessing = "none") -> list[int]:
        """Segments that have a score, the strongest supporter first."""
        values = self.values(row, post)
        known = [(value, index) for index, value in enumerate(values) if value is not None]
        return [index for value, index in sorted(known, key=lambda pair: (-pair[0], pair[1]))]

    def segment_at(self, offset: int) -> int | None:
        """The segment that holds a character of the context."""
        for index, segment in enumerate(self.segments):
            if segment.start <= offset < segment.end:
                return index
        return None


def processed(value: float, post: Postprocessing) -> float:
    """A score after postprocessing."""
    if post == "absolute":
        return abs(value)
    return value * value if post == "square" else value


def relative(value: Score, scale: float) -> float:
    """A score on the colour scale, -1 to 1; 0 where there is none."""
    return 0.0 if value is None or value != value else min(max(value / scale, -1.0), 1.0)


def format_score(value: Score, unit: str = "", *, scale: float | None = None) -> str:
    """A score with its sign and unit: ``+0.352 nats``; three significant digits where it is tiny.

    Args:
        value: The score; None: there is none.
        unit: Its unit.
        scale: The largest score of the list it stands in: all of the list get the same decimals.
    """
    if value is None:
        return "not computed"
    size = abs(value) if scale is None else scale
    if not 0 < size < 0.01:
        text = f"{value:+.3f}"
    elif size < 1e-4:
        text = f"{value:+.2e}"
    else:
        text = f"{value:+.{2 - math.floor(math.log10(size))}f}"
    return f"{text} {unit}".rstrip()


def one_line(text: str) -> str:
    """A segment's text on one line."""
    return text.replace("\n", "⏎").replace("\t", "⇥").strip(" ") or "␣"


def short(text: str, longest: int = 60) -> str:
    """A text for a sentence: cut in its middle if it is long."""
    flat = " ".join(text.split())
    if len(flat) <= longest:
        return flat
    half = (longest - 1) // 2
    return f"{flat[:half].rstrip()}…{flat[-half:].lstrip()}"


def ranks(values: Sequence[Score]) -> dict[int, int]:
    """For each segment that has a score, its place from 1 (the strongest supporter)."""
    known = [(value, index) for index, value in enumerate(values) if value is not None]
    order = sorted(known, key=lambda pair: (-pair[0], pair[1]))
    return {index: place for place, (_, index) in enumerate(order, start=1)}
