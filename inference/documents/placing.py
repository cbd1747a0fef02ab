"""Statements on the page that a passage was cut from, and their boxes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inference.documents.marking import whole_statement
from inference.documents.pages import Boxes, merge_into_lines
from inference.documents.passages import split_sentences
from inference.documents.records import unpack_characters
from inference.events import Source

if TYPE_CHECKING:
    from inference.documents.libraries import Library
    from inference.documents.store import PassageStore, StoredPassage

Marks = tuple[tuple[float, float, float, float], ...]
#: A document, a page of it, and the offset where a passage begins.
Place = tuple[str, int, int]
_REACH = 700  # characters: a passage that begins farther away touches no statement of this one


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The text around a passage, as far as it stands on the same page.

    Attributes:
        start: The offset of ``text[0]`` on the page.
        boxes: Of each character, shape (len(text), 4); None where the format has no places.
        vertical: Lines run along the y axis.
    """

    text: str
    start: int
    boxes: Boxes | None
    vertical: bool = False

    def statement(self, start: int, end: int) -> tuple[str, Marks]:
        """The whole statement (:func:`whole_statement`) around two offsets on the page, and its boxes.

        A passage is a window: what it holds of a statement at its ends goes on in the next one.
        """
        start, end = start - self.start, end - self.start
        spans = split_sentences(self.text)
        held = [number for number, span in enumerate(spans) if span[1] > start and span[0] < end]
        if held:
            start, end = whole_statement(self.text, spans, held[0], held[-1])
        boxes = () if self.boxes is None else merge_into_lines(self.boxes[start:end], vertical=self.vertical)
        return self.text[start:end], boxes


def surroundings_of(store: PassageStore, passages: Collection[Place]) -> dict[Place, Surroundings]:
    """The surroundings of passages that are still there."""
    near = store.around(passages, _REACH)
    found = {}
    for place in passages:
        document, page, start = place
        own = [one for one in near if (one.document, one.page) == (document, page)]
        own = [one for one in own if abs(one.start - start) <= _REACH]
        if own:
            found[place] = join(own)
    return found


def source_surroundings(library: Library, sources: Sequence[Source]) -> dict[int, Surroundings]:
    """The surroundings of sources, by their number; those whose file has gone are left out."""
    documents = {file: document for document, file in library.ledger.files_of_documents().items()}
    places = {
        one.number: (documents[one.file], one.page, one.start) for one in sources if one.file in documents
    }
    found = surroundings_of(library.store, set(places.values()))
    return {number: found[place] for number, place in places.items() if place in found}


def join(passages: Sequence[StoredPassage]) -> Surroundings:
    """Neighbouring passages of a page, in order, as one text; what stood between them was white space."""
    start, end = passages[0].start, max(one.end for one in passages)
    letters = ["\n"] * (end - start)
    placed = any(one.places for one in passages)
    boxes = np.full((end - start, 4), np.nan, dtype=np.float32) if placed else None
    for one in passages:
        at = one.start - start
        letters[at : at + len(one.text)] = one.text
        if boxes is not None and one.places:
            boxes[at : at + len(one.text)] = unpack_characters(one.places)
    vertical = any(one.places and one.places[0] for one in passages)
    return Surroundings(text="".join(letters), start=start, boxes=boxes, vertical=vertical)
