"""The characters of a page: which one is under the mouse, which words are selected, what is copied."""

from __future__ import annotations

import re

from inference.events import PageText

Box = tuple[float, float, float, float]
_WIDE = 1.5  # times the height: characters further apart are not painted as one stretch


class PageCharacters:
    """Looks things up in a :class:`~inference.events.PageText`; places are in its PDF points."""

    def __init__(self, event: PageText) -> None:
        import numpy as np  # not before the window is painted

        self.file, self.page, self.text = event.file, event.page, event.text
        self._boxes = np.frombuffer(event.boxes, dtype="<f4").reshape(-1, 4)
        self._inked = np.flatnonzero(~np.isnan(self._boxes).any(axis=1))

    def nearest(self, x: float, y: float, within: float = float("inf")) -> int | None:
        """The character nearest to a point, at most ``within`` points away; None: there is none."""
        import numpy as np

        if not len(self._inked):
            return None
        left, bottom, right, top = self._boxes[self._inked].T
        across = np.maximum(np.maximum(left - x, x - right), 0.0)
        along = np.maximum(np.maximum(bottom - y, y - top), 0.0)
        far = np.hypot(across, along)
        best = int(far.argmin())
        return int(self._inked[best]) if far[best] <= within else None

    def word_at(self, index: int) -> tuple[int, int]:
        """The word that a character belongs to."""
        for match in re.finditer(r"\w+(?:\x02\n?\w+)*|\S", self.text):
            if match.start() <= index < match.end():
                return match.span()
        return index, index + 1

    def places(self, start: int, end: int) -> list[Box]:
        """One box for each stretch of a line."""
        import numpy as np

        merged: list[list[float]] = []
        rows = self._boxes[start:end]
        for box in rows[~np.isnan(rows).any(axis=1)].tolist():
            if merged and _go_together(merged[-1], box):
                last = merged[-1]
                last[:2] = [min(last[0], box[0]), min(last[1], box[1])]
                last[2:] = [max(last[2], box[2]), max(last[3], box[3])]
            else:
                merged.append(list(box))
        return [(box[0], box[1], box[2], box[3]) for box in merged]

    def copied(self, start: int, end: int) -> str:
        """The text as it goes to the clipboard: words broken at a line end are whole again."""
        return re.sub(r"\x02\n?", "", self.text[start:end]).strip("\n")


def _go_together(line: list[float], box: list[float]) -> bool:
    """Whether a character goes on a line, which may run across the page or along it."""
    for low, high, near, far in ((1, 3, 0, 2), (0, 2, 1, 3)):
        shared = min(line[high], box[high]) - max(line[low], box[low])
        size = min(line[high] - line[low], box[high] - box[low])
        gap = max(box[near] - line[far], line[near] - box[far])
        thin = line[high] - line[low] <= 3 * (box[high] - box[low])  # a line, not a column of them
        if thin and shared >= 0.5 * size and gap <= _WIDE * max(size, 1.0):
            return True
    return False
