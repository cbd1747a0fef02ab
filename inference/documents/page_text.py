"""The text of a page as it stands there, and where words stand in it. Runs in the process that draws pages.

Unlike the readers' clean text this one keeps every character that can be seen, headers and footers too: it
is for selecting, copying and finding what the eye sees.
"""

from __future__ import annotations

import unicodedata

import numpy as np
import pypdfium2 as pdfium

from inference.documents.page_messages import Characters
from inference.documents.pages import Box, merge_into_lines
from inference.documents.readers.pdf_lines import LINE_END_HYPHENS, read_characters


def page_characters(page: pdfium.PdfPage) -> Characters:
    """All characters of a page in PDFium's order."""
    textpage = page.get_textpage()
    try:
        codes, boxes = read_characters(textpage)
    finally:
        textpage.close()
    letters: list[str] = []
    rows: list[int] = []
    units = codes.tolist()
    index = 0
    while index < len(units):
        code, used = units[index], 1
        if 0xD800 <= code < 0xDC00 and index + 1 < len(units) and 0xDC00 <= units[index + 1] < 0xE000:
            code, used = 0x10000 + ((code - 0xD800) << 10) + units[index + 1] - 0xDC00, 2
        if code != 13:
            letters.append(_visible(code))
            rows.append(index)
        index += used
    return Characters(text="".join(letters), boxes=boxes[np.array(rows, dtype=np.int64)])


def _visible(code: int) -> str:
    if code == 10:
        return "\n"
    if code == 0 or 0xD800 <= code < 0xE000 or code > 0x10FFFF:
        return "\ufffd"
    letter = chr(code)
    if letter in LINE_END_HYPHENS:
        return "\x02"
    return " " if code < 32 or unicodedata.category(letter) == "Zs" else letter


def find(text: str, wanted: str) -> list[tuple[int, int]]:
    """Offsets of all places of some words in the text of a page; case, width, accents and line ends make no
    difference.
    """
    folded, owners = fold(text)
    sought = fold(wanted.strip())[0]
    places: list[tuple[int, int]] = []
    at = folded.find(sought) if sought else -1
    while at >= 0:
        places.append((owners[at], owners[at + len(sought) - 1] + 1))
        at = folded.find(sought, at + len(sought))
    return places


def fold(text: str) -> tuple[str, list[int]]:
    """The text as it is compared, and for each of its letters the offset that it comes from."""
    letters: list[str] = []
    owners: list[int] = []
    mending = False
    for offset, letter in enumerate(text):
        if letter == "\x02":
            mending = True
            continue
        if letter.isspace():
            if letters and letters[-1] != " " and not mending:
                letters.append(" ")
                owners.append(offset)
            continue
        mending = False
        for part in unicodedata.normalize("NFKD", letter).casefold():
            if not unicodedata.combining(part):
                letters.append(part)
                owners.append(offset)
    return "".join(letters), owners


def places_on_page(page: pdfium.PdfPage, wanted: str) -> tuple[tuple[Box, ...], ...]:
    """For each place of some words on a page, one box for each line."""
    textpage = page.get_textpage()
    try:  # without places first: that is quick, and most pages do not hold the words
        plain = textpage.get_text_range(errors="replace")
    finally:
        textpage.close()
    for mark in LINE_END_HYPHENS:
        plain = plain.replace(mark, "\x02")
    if not find(plain, wanted):
        return ()
    characters = page_characters(page)
    sideways = page.get_rotation() % 180 == 90
    return tuple(
        merge_into_lines(characters.boxes[start:end], vertical=sideways)
        for start, end in find(characters.text, wanted)
    )
