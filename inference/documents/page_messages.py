"""What is said over the pipe to the process that draws pages."""

from __future__ import annotations

from dataclasses import dataclass

from inference.documents.pages import Box, Boxes
from inference.documents.reader_process import Refused
from inference.events import PageTextRequest, RenderPageRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Characters:
    """``text`` of a page with a row of ``boxes`` for each of its characters."""

    text: str
    boxes: Boxes


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One rendered page, as the process gives it."""

    pages: int
    width: int
    height: int
    points: tuple[float, float]
    transform: tuple[float, float, float, float, float, float]
    rgb: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Find:
    """Look for words on the pages from ``first`` to ``last``, both included."""

    file: str
    text: str
    password: str | None
    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Pages that hold the words, with the places, and how many pages the file has."""

    places: tuple[tuple[int, tuple[tuple[Box, ...], ...]], ...]
    pages: int


Question = RenderPageRequest | PageTextRequest | Find
Answer = Picture | Characters | Found | Refused
