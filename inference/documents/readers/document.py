"""The one interface behind which every format is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from inference.documents.pages import Page

#: What is said of a page that is a picture.
NO_TEXT_LAYER = "scanned page without a text layer"
RECOGNISED = "text was recognised in its picture and may have mistakes"
NOTHING_RECOGNISED = "scanned page in which no text was recognised"


def can_recognise() -> bool:
    """Whether the optional packages are there that read the text in pictures."""
    return find_spec("rapidocr") is not None and find_spec("onnxruntime") is not None


class UnreadableDocument(Exception):
    """A file that can't be indexed.

    Args:
        reason: For programs: "password", "damaged", "empty", "no-text", "unsupported", "too-large",
            "missing", "forbidden", "timeout", "memory", "crashed".
        message: For people, one sentence.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """An opened document; reading ``pages`` does the work. ``page_count`` 0: not known before it is read."""

    pages: Iterator[Page]
    page_count: int = 0
    title: str = ""


#: Opens a file (path, password) of one format.
Reader = Callable[[Path, str | None], Document]
