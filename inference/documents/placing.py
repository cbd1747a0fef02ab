"""The boxes of a stretch of a source's text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference.documents.records import unpack_places
from inference.events import Source

if TYPE_CHECKING:
    from inference.documents.libraries import Library

Boxes = tuple[tuple[float, float, float, float], ...]


def stretch_boxes(library: Library, source: Source, start: int, end: int) -> Boxes:
    """Where ``source.text[start:end]`` stands on its page; empty where the format has no places."""
    for document, file in library.ledger.files_of_documents().items():
        if file == source.file:
            places = library.store.places(document, source.page, source.start)
            return unpack_places(places, start, end)
    return ()
