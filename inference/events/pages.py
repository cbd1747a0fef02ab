"""Requests and events of the text on pages: selecting, copying and searching within a document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from inference.events.base import Event, Request

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmPagesRequest(Request):
    """Start the process that draws pages, so that the first page need not wait for it -> nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageTextRequest(Request):
    """The characters of a PDF's page with their places -> :class:`PageText`. ``page`` counts from 1."""

    file: str
    page: int
    password: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FindTextRequest(Request):
    """Look for words in a PDF -> :class:`TextFound` ... Case, width, accents and line ends make no
    difference.

    ``first`` is the page to begin with; after the last page comes the first one.
    """

    file: str
    text: str
    first: int = 1
    password: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageText(Event):
    """The characters of a page in the order in which PDFium reads them.

    ``boxes`` holds four float32 (left, bottom, right, top; PDF points in the page's user space) for each
    character of ``text``, NaN for one without ink. "\\x02" stands for a hyphen that is only there because a
    line ends.
    """

    event: ClassVar[str] = "page-text"
    file: str
    page: int
    text: str
    boxes: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFound(Event):
    """Where words stand on a page: for each place one box for each line that it runs over.

    ``pages_done`` of ``pages`` have been looked at; an event without ``places`` says only that.
    """

    event: ClassVar[str] = "text-found"
    file: str
    text: str
    page: int
    places: tuple[tuple[Box, ...], ...]
    pages_done: int
    pages: int
