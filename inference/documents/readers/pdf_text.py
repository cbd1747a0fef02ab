"""From a page's lines to its clean text: hyphens mended, lines joined, blocks and headings found."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from statistics import median

import numpy as np

from inference.documents.pages import Boxes, Heading, Page
from inference.documents.readers.document import NO_TEXT_LAYER
from inference.documents.readers.pdf_lines import Line

_HYPHEN = "\u0002"
_HEADING_GROWTH = 1.12  # a heading's font is at least this much higher than the body's
_MAX_HEADING = 120  # characters
_MAX_GARBLED = 0.12  # share of characters that stand for nothing
_NO_INK = np.full((1, 4), np.nan, dtype=np.float32)


def make_page(lines: Sequence[Line], *, number: int, label: str, vertical: bool, has_images: bool) -> Page:
    """Join the lines of a page, which are in reading order, into its text.

    A line that goes on in the next one is joined to it by a space, or by nothing where a hyphen only stood
    for the line's end. A newline marks where a block ends: before a gap, a heading, a step to another
    column.
    """
    body = _body_height(lines)
    text: list[str] = []
    boxes: list[Boxes] = []
    headings: list[Heading] = []
    length = 0
    for before, line in zip([None, *lines], lines, strict=False):
        if before is not None:
            joint = _joint(before, line, body)
            if text and text[-1].endswith(_HYPHEN):
                joint = "" if joint == " " and line.text[:1].isalnum() else joint
                text[-1], boxes[-1], length = text[-1][:-1], boxes[-1][:-1], length - 1
            text.append(joint)
            boxes.append(np.repeat(_NO_INK, len(joint), axis=0))
            length += len(joint)
        kept, places = _without_inner_hyphens(line)
        if _is_heading(line, body) and (before is None or text[-1] == "\n"):
            headings.append(Heading(start=length, text=kept.strip(_HYPHEN)))
        text.append(kept)
        boxes.append(places)
        length += len(kept)
    if text and text[-1].endswith(_HYPHEN):
        text[-1], boxes[-1] = text[-1][:-1], boxes[-1][:-1]
    joined = "".join(text)
    return Page(
        number=number,
        text=joined,
        label=label,
        boxes=np.concatenate(boxes) if boxes else np.empty((0, 4), dtype=np.float32),
        vertical=vertical,
        headings=_whole_headings(headings, joined),
        problem=_problem(joined, has_images),
    )


def _body_height(lines: Sequence[Line]) -> float:
    """The font height that most characters of the page have."""
    heights: dict[float, int] = {}
    for line in lines:
        rounded = round(line.size * 2) / 2
        heights[rounded] = heights.get(rounded, 0) + len(line.text)
    return max(heights, key=lambda height: heights[height]) if heights else 0.0


def _joint(before: Line, line: Line, body: float) -> str:
    """What stands between two lines: a space within a block, a newline between blocks."""
    height = median((before.height, line.height))
    shared = min(before.box[3], line.box[3]) - max(before.box[1], line.box[1])
    if shared >= 0.5 * min(before.height, line.height):
        return " " if abs(before.size - line.size) < 0.3 * body + 0.5 else "\n"
    gap = before.box[1] - line.box[3]
    if gap > max(1.1 * height, 0.9 * body) or gap < -2.5 * height:
        return "\n"  # a gap, or a step up to the next column
    if _is_heading(before, body) != _is_heading(line, body):
        return "\n"
    if _starts_item(line.text):
        return "\n"
    return " "


def _starts_item(text: str) -> bool:
    """Whether a line begins an item of a list."""
    if text[:1] in "•‣▪●○◦■□–*·":
        return True
    head = text.split(" ", 1)[0]
    return len(head) <= 4 and len(text) > len(head) and head[-1:] in ").:" and head.strip("().:").isdigit()


def _is_heading(line: Line, body: float) -> bool:
    return (
        body > 0
        and line.size >= _HEADING_GROWTH * body
        and 2 < len(line.text) <= _MAX_HEADING
        and any(letter.isalpha() for letter in line.text)
    )


def _without_inner_hyphens(line: Line) -> tuple[str, Boxes]:
    """Drop soft hyphens inside a line (they show nothing there); one at its end is kept for the joint."""
    if _HYPHEN not in line.text[:-1]:
        return line.text, line.boxes
    keep = [
        index for index, letter in enumerate(line.text) if letter != _HYPHEN or index == len(line.text) - 1
    ]
    return "".join(line.text[index] for index in keep), line.boxes[keep]


def _whole_headings(headings: Sequence[Heading], text: str) -> tuple[Heading, ...]:
    """Each heading with all of its lines: up to the end of its block."""
    whole = []
    for heading in headings:
        end = text.find("\n", heading.start)
        full = text[heading.start : end if end >= 0 else len(text)]
        whole.append(Heading(start=heading.start, text=full if len(full) <= _MAX_HEADING else heading.text))
    return tuple(whole)


def _problem(text: str, has_images: bool) -> str:
    letters = [letter for letter in text if not letter.isspace()]
    if not letters:
        return NO_TEXT_LAYER if has_images else ""
    if _garbled_share(letters) > _MAX_GARBLED:
        return "text layer is garbled (its font has no usable letters)"
    return ""


def _garbled_share(letters: Sequence[str]) -> float:
    """Share of characters that no text has: replacement marks, private use, unassigned, stray control
    codes.
    """
    bad = sum(
        unicodedata.category(letter) in ("Co", "Cn", "Cc", "Cs") or letter == "\ufffd" for letter in letters
    )
    return bad / len(letters)
