"""Reading order: columns whose lines PDFium gives row by row are put one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from inference.documents.readers.pdf_lines import Line

_MIN_LINES = 6  # of prose on each side of a gutter
_MIN_CHARACTERS = 18  # in the median line of a column; below it is a table
_MIN_FILL = 0.55  # of the column's width that its median line takes


def in_reading_order(lines: Sequence[Line]) -> list[Line]:
    """Reorder the lines of a page where two columns of prose are interleaved; otherwise leave them as they
    are.

    PDFium's order is that of the content stream, which most programs write column by column. A table is
    read row by
    row: only columns whose lines are long and fill their width are taken for prose.
    """
    gutter = _interleaved_gutter(lines)
    if gutter is None:
        return list(lines)
    ordered: list[Line] = []
    left: list[Line] = []
    right: list[Line] = []
    for line in sorted(lines, key=lambda line: -line.box[3]):
        if line.box[2] <= gutter + 1:
            left.append(line)
        elif line.box[0] >= gutter - 1:
            right.append(line)
        else:  # a line across both columns ends the band above it
            ordered += [*_rows(left), *_rows(right), line]
            left, right = [], []
    return [*ordered, *in_reading_order(_rows(left)), *in_reading_order(_rows(right))]


def _rows(lines: Sequence[Line]) -> list[Line]:
    """Lines of one column from top to bottom; what stands on one height goes from left to right."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: -line.box[3]):
        if rows and _same_row(rows[-1][-1], line):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda line: line.box[0])]


def _same_row(first: Line, second: Line) -> bool:
    shared = min(first.box[3], second.box[3]) - max(first.box[1], second.box[1])
    return shared >= 0.5 * min(first.height, second.height)


def _interleaved_gutter(lines: Sequence[Line]) -> float | None:
    """The x of a white strip between two columns of prose whose lines alternate in extraction order."""
    if len(lines) < 2 * _MIN_LINES:
        return None
    low, high = min(line.box[0] for line in lines), max(line.box[2] for line in lines)
    edges = sorted({round(line.box[0], 0) for line in lines if low + 30 < line.box[0] < high - 30})
    best: tuple[int, float] | None = None
    for edge in edges:
        left = [line for line in lines if line.box[2] < edge - 2]
        right = [line for line in lines if line.box[0] >= edge - 1]
        if len(left) + len(right) < 0.7 * len(lines) or min(len(left), len(right)) < _MIN_LINES:
            continue
        if not (_is_prose(left) and _is_prose(right)) or not _alternates(lines, edge):
            continue
        balance = min(len(left), len(right))
        if best is None or balance > best[0]:
            best = (balance, edge - 1.5)
    return best[1] if best else None


def _is_prose(lines: Sequence[Line]) -> bool:
    width = max(line.box[2] for line in lines) - min(line.box[0] for line in lines)
    filled = median(line.box[2] - line.box[0] for line in lines)
    return filled >= _MIN_FILL * width and median(len(line.text) for line in lines) >= _MIN_CHARACTERS


def _alternates(lines: Sequence[Line], edge: float) -> bool:
    """Whether the order jumps across the gutter about as often as it could."""
    sides = [line.box[0] >= edge - 1 for line in lines if line.box[2] < edge - 2 or line.box[0] >= edge - 1]
    jumps = sum(first != second for first, second in pairwise(sides))
    return jumps >= max(4, 0.6 * 2 * min(sum(sides), len(sides) - sum(sides)))
