"""The characters of a PDF page as PDFium gives them, cut into lines with their places."""

from __future__ import annotations

import ctypes
import unicodedata
from dataclasses import dataclass

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c
from numpy.typing import NDArray

from inference.documents.pages import Boxes

#: PDFium's marks for a hyphen that only stands there because the line ends.
LINE_END_HYPHENS = frozenset("\u0002\ufffe\u00ad")
_LIGATURES = {code: unicodedata.normalize("NFKC", chr(code)) for code in range(0xFB00, 0xFB07)}
_WIDE_GAP = 1.1  # times the line's height: the next word may belong to another column or cell


@dataclass(slots=True, kw_only=True)
class Line:
    """A stretch of one line: its text, a box for each character (NaN for spaces), and the font's height in
    points.
    """

    text: str
    boxes: Boxes
    size: float
    box: tuple[float, float, float, float]

    @property
    def height(self) -> float:
        """Height in points, at least 1."""
        return max(self.box[3] - self.box[1], 1.0)


def read_lines(page: pdfium.PdfPage) -> tuple[list[Line], bool]:
    """The lines of a page in the order in which PDFium extracts them.

    Returns:
        The lines, and whether they run along the y axis (a rotated page). For such a page the boxes of the
        lines are turned so that reading goes left to right and top to bottom as on any other page;
        :func:`unturn` undoes it.
    """
    textpage = page.get_textpage()
    try:
        codes, boxes = read_characters(textpage)
        turn = _quarter_turns(codes, boxes)
        turned = _turn(boxes, turn)
        lines = [
            line
            for start, end in _cuts(codes, turned)
            if (line := _make_line(textpage, codes, boxes, turned, (start, end), sideways=turn in (1, 3)))
            is not None
        ]
    finally:
        textpage.close()
    return lines, turn in (1, 3)


def read_characters(textpage: pdfium.PdfTextPage) -> tuple[NDArray[np.uint32], Boxes]:
    """PDFium's code units of a page, and their boxes: shape (units, 4), NaN where there is no ink."""
    count = max(pdfium_c.FPDFText_CountChars(textpage), 0)
    codes = np.zeros(count, dtype=np.uint32)
    boxes = np.full((count, 4), np.nan, dtype=np.float32)
    left, right, bottom, top = (ctypes.c_double() for _ in range(4))
    get_code, get_box = pdfium_c.FPDFText_GetUnicode, pdfium_c.FPDFText_GetCharBox
    for index in range(count):
        code = get_code(textpage, index)
        codes[index] = code
        if code not in (10, 13, 32) and get_box(textpage, index, left, right, bottom, top):
            values = (left.value, bottom.value, right.value, top.value)
            if values[2] > values[0] and values[3] > values[1]:
                boxes[index] = values
    return codes, boxes


def _quarter_turns(codes: NDArray[np.uint32], boxes: Boxes) -> int:
    """Which way the text runs: 0 rightwards, 1 upwards, 3 downwards (in user space)."""
    inked = ~np.isnan(boxes[:, 0])
    pairs = inked[:-1] & inked[1:]
    if pairs.sum() < 3:
        return 0
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    step = (centres[1:] - centres[:-1])[pairs]
    upright = np.abs(step[:, 0]) >= np.abs(step[:, 1])
    if upright.mean() >= 0.5:
        return 0
    return 1 if np.median(step[~upright, 1]) > 0 else 3


def _turn(boxes: Boxes, turn: int) -> Boxes:
    left, bottom, right, top = boxes.T
    if turn == 1:
        return np.stack([bottom, -right, top, -left], axis=1)
    if turn == 3:
        return np.stack([-top, left, -bottom, right], axis=1)
    return boxes


def _cuts(codes: NDArray[np.uint32], boxes: Boxes) -> list[tuple[int, int]]:
    """Where lines begin and end: at line breaks, and at wide gaps between two characters."""
    cuts, start, last = [], 0, -1
    for index, code in enumerate(codes.tolist()):
        if code in (10, 13):
            cuts.append((start, index))
            start, last = index + 1, -1
        elif not np.isnan(boxes[index, 0]):
            if last >= 0 and _is_apart(boxes[last], boxes[index]):
                cuts.append((start, index))
                start = index
            last = index
    cuts.append((start, len(codes)))
    return [(start, end) for start, end in cuts if end > start]


def _is_apart(before: Boxes, after: Boxes) -> bool:
    height = max(float(before[3] - before[1]), float(after[3] - after[1]), 4.0)
    gap = max(float(after[0] - before[2]), float(before[0] - after[2]))
    return gap > _WIDE_GAP * height


def _make_line(
    textpage: pdfium.PdfTextPage,
    codes: NDArray[np.uint32],
    boxes: Boxes,
    turned: Boxes,
    span: tuple[int, int],
    *,
    sideways: bool,
) -> Line | None:
    start, end = span
    letters: list[str] = []
    rows: list[Boxes] = []
    index = start
    while index < end:
        text, used = _decode(codes, index, end)
        if text.isspace():
            if letters and letters[-1] != " ":
                letters.append(" ")
                rows.append(np.full(4, np.nan, dtype=np.float32))
        else:
            letters.extend(text)
            rows.extend(_shares(boxes[index], len(text)))
        index += used
    while letters and letters[-1] == " ":
        letters.pop()
        rows.pop()
    inked = turned[start:end][~np.isnan(turned[start:end, 0])]
    if not letters or not len(inked):
        return None
    first = start + int(np.flatnonzero(~np.isnan(turned[start:end, 0]))[0])
    size = _font_height(textpage, first, sideways=sideways)
    low, high = inked.min(axis=0), inked.max(axis=0)
    box = (float(low[0]), float(low[1]), float(high[2]), float(high[3]))
    return Line(text="".join(letters), boxes=np.array(rows, dtype=np.float32), size=size, box=box)


def _font_height(textpage: pdfium.PdfTextPage, index: int, *, sideways: bool) -> float:
    """Height of the font on the page: the font size alone is wrong where the text matrix scales it."""
    loose = pdfium_c.FS_RECTF()
    if not pdfium_c.FPDFText_GetLooseCharBox(textpage, index, loose):
        return 0.0
    return float(abs(loose.right - loose.left) if sideways else abs(loose.top - loose.bottom))


def _decode(codes: NDArray[np.uint32], index: int, end: int) -> tuple[str, int]:
    """The text of one PDFium character, and how many code units it took (2 for a surrogate pair)."""
    code = int(codes[index])
    if 0xD800 <= code < 0xDC00 and index + 1 < end and 0xDC00 <= int(codes[index + 1]) < 0xE000:
        return chr(0x10000 + ((code - 0xD800) << 10) + int(codes[index + 1]) - 0xDC00), 2
    if code == 0 or 0xD800 <= code < 0xE000 or code > 0x10FFFF:
        return "\ufffd", 1
    if code in _LIGATURES:
        return _LIGATURES[code], 1
    letter = chr(code)
    if letter in LINE_END_HYPHENS:
        return "\u0002", 1
    if code < 32 or unicodedata.category(letter) == "Zs":
        return " ", 1
    return letter, 1


def _shares(box: Boxes, count: int) -> list[Boxes]:
    """The box of a ligature, cut into one part for each of its letters."""
    if count == 1:
        return [box]
    edges = np.linspace(float(box[0]), float(box[2]), count + 1)
    return [np.array([edges[k], box[1], edges[k + 1], box[3]], dtype=np.float32) for k in range(count)]
