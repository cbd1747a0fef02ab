"""What is kept of a passage, and how the places of its characters are packed."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from inference.documents.pages import Box, Boxes, Page, merge_into_lines
from inference.documents.passages import Passage
from inference.documents.terms import terms

_STEP = 0.2  # points: the grid that places are rounded to
_NONE = -32768


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A passage ready to be embedded and stored.

    ``terms`` are the index terms of its text, its heading and its document's name, parted by spaces;
    ``places`` the packed boxes of its characters (empty: none).
    """

    page: int
    start: int
    end: int
    text: str
    heading: str
    label: str
    unit: str
    terms: str
    places: bytes

    @property
    def embedded_text(self) -> str:
        """What the vector is made of: the heading says what a passage that names nothing is about."""
        heading, text = embedded_parts(self.heading, self.text)
        return f"{heading}\n{text}" if heading else text


def embedded_parts(heading: str, text: str) -> tuple[str, str]:
    """What a passage is embedded as: its heading, unless it begins with it, and its text."""
    return ("" if text.startswith(heading) else heading), text


def make_record(page: Page, passage: Passage, document_terms: list[str]) -> Record:
    """The record of a passage of ``page``; ``document_terms`` are those of the document's name and title."""
    boxes = None if page.boxes is None else page.boxes[passage.start : passage.end]
    return Record(
        page=passage.page,
        start=passage.start,
        end=passage.end,
        text=passage.text,
        heading=passage.heading,
        label=page.label,
        unit=page.unit,
        terms=" ".join([*document_terms, *terms(passage.heading), *terms(passage.text)]),
        places=b"" if boxes is None else pack_places(boxes, vertical=page.vertical),
    )


def pack_places(boxes: Boxes, *, vertical: bool) -> bytes:
    """Boxes of characters, shape (characters, 4), in about one byte each."""
    grid = np.clip(np.round(boxes / _STEP), _NONE + 1, 32767)
    whole = np.where(np.isnan(grid), _NONE, grid).astype("<i2")
    return bytes([vertical]) + zlib.compress(np.ascontiguousarray(whole.T).tobytes(), 1)


def unpack_places(places: bytes, start: int, end: int) -> tuple[Box, ...]:
    """One box for each stretch of a line of the characters from ``start`` to ``end`` of a passage."""
    if not places:
        return ()
    return merge_into_lines(unpack_characters(places)[start:end], vertical=bool(places[0]))


def unpack_characters(places: bytes) -> Boxes:
    """The box of each character of a passage, shape (characters, 4)."""
    whole = np.frombuffer(zlib.decompress(places[1:]), dtype="<i2").reshape(4, -1).T
    return np.where(whole == _NONE, np.nan, whole * _STEP).astype(np.float32)
