"""What a reader hands over: pages of clean text, each character with its place on the page.

Offsets count characters of :attr:`Page.text`. Boxes are ``(left, bottom, right, top)`` in PDF points, in
the page's own user space (origin bottom left, before the page's rotation): the coordinates that PDFium's
text functions use, so that a view maps them with PDFium's page-to-device transform.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
Boxes = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """A heading that begins at ``start`` of the page's text."""

    start: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page, slide, sheet or chapter.

    Attributes:
        number: Counts from 1 in the file; ``unit`` says what is counted ("page", "slide", "sheet",
            "chapter").
        text: Clean text: wrapped lines are joined by a space, blocks are separated by a newline.
        boxes: Shape (len(text), 4); rows of NaN for characters without ink. None where the format has no
            places.
        headings: In the order of the text.
        problem: Why the text is missing or not to be trusted; empty if all is well.
    """

    number: int
    text: str
    unit: str = "page"
    label: str = ""
    boxes: Boxes | None = None
    vertical: bool = False
    headings: tuple[Heading, ...] = ()
    problem: str = ""

    def line_boxes(self, start: int, end: int) -> tuple[Box, ...]:
        """The places of ``text[start:end]``, one box for each stretch of a line."""
        if self.boxes is None:
            return ()
        return merge_into_lines(self.boxes[start:end], vertical=self.vertical)


def merge_into_lines(boxes: Boxes, *, vertical: bool = False) -> tuple[Box, ...]:
    """Join the boxes of neighbouring characters into one box for each stretch of a line.

    Args:
        boxes: Shape (characters, 4); rows with NaN are skipped.
        vertical: Lines run along the y axis of user space (a rotated page).

    Returns:
        Boxes in reading order, rounded to a hundredth of a point.
    """
    merged: list[list[float]] = []
    for left, bottom, right, top in _rows(boxes, vertical):
        if merged:
            line = merged[-1]
            height = max(line[3] - line[1], top - bottom, 1.0)
            overlap = min(line[3], top) - max(line[1], bottom)
            gap = max(left - line[2], line[0] - right)
            if overlap >= 0.3 * min(line[3] - line[1], top - bottom) and gap <= 1.5 * height:
                line[:] = [min(line[0], left), min(line[1], bottom), max(line[2], right), max(line[3], top)]
                continue
        merged.append([left, bottom, right, top])
    return tuple(_unswap(line, vertical) for line in merged)


def area(boxes: Iterable[Box]) -> float:
    """Area that the boxes cover together, in square points; overlaps count once."""
    return _sweep([boxes])[0]


def overlap(first: Iterable[Box], second: Iterable[Box]) -> float:
    """Intersection over union of two sets of boxes, each taken as the area that it covers."""
    union, both = _sweep([first, second])
    return both / union if union else 0.0


def _sweep(sets: list[Iterable[Box]]) -> tuple[float, float]:
    """Areas of the union of all sets and of the intersection of all, on the grid of their edges."""
    lists = [list(boxes) for boxes in sets]
    every = np.array([box for boxes in lists for box in boxes], dtype=np.float64).reshape(-1, 4)
    if not len(every):
        return 0.0, 0.0
    xs, ys = np.unique(every[:, [0, 2]]), np.unique(every[:, [1, 3]])
    cells = np.outer(np.diff(xs), np.diff(ys))
    covered = []
    for boxes in lists:
        mask = np.zeros(cells.shape, dtype=bool)
        for left, bottom, right, top in boxes:
            columns = slice(*np.searchsorted(xs, [left, right]))
            mask[columns, slice(*np.searchsorted(ys, [bottom, top]))] = True
        covered.append(mask)
    union, both = np.logical_or.reduce(covered), np.logical_and.reduce(covered)
    return float(cells[union].sum()), float(cells[both].sum())


def _rows(boxes: Boxes, vertical: bool) -> Iterable[list[float]]:
    inked = boxes[~np.isnan(boxes).any(axis=1)]
    order = [1, 0, 3, 2] if vertical else [0, 1, 2, 3]
    rows: list[list[float]] = inked[:, order].tolist()
    return rows


def _unswap(line: list[float], vertical: bool) -> Box:
    left, bottom, right, top = (round(value, 2) for value in line)
    return (bottom, left, top, right) if vertical else (left, bottom, right, top)
