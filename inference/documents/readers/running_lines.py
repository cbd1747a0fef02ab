"""Running headers and footers: lines at a page's edge that come back on the pages around it."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator

from inference.documents.readers.pdf_lines import Line

_EDGE_LINES = 3  # looked at from the top and from the bottom of a page
_REACH = 6  # pages looked at on each side
_ENOUGH = 2  # other pages in reach that have the line too
_NUMBER = re.compile(r"\d+|\b[ivxlc]+\b", re.IGNORECASE)

#: A line's signature: its text with numbers blanked, and its height on the page in steps of 6 points.
Signature = tuple[str, int]


def without_running_lines(pages: Iterable[list[Line]]) -> Iterator[list[Line]]:
    """Drop running headers, footers and page numbers, looking a few pages ahead.

    The first page that shows a running line keeps it, so that what only stands there (an edition, a date)
    can be found; every later one drops it.

    Args:
        pages: The lines of each page, in the order of the document.

    Yields:
        The lines of each page without the running ones.
    """
    window: deque[tuple[list[Line], set[Signature]]] = deque()
    before: deque[set[Signature]] = deque(maxlen=_REACH)
    seen: set[Signature] = set()
    for lines in pages:
        window.append((lines, set(_edge_signatures(lines).values())))
        if len(window) > _REACH:
            yield _next(window, before, seen)
    while window:
        yield _next(window, before, seen)


def _next(
    window: deque[tuple[list[Line], set[Signature]]], before: deque[set[Signature]], seen: set[Signature]
) -> list[Line]:
    lines, own = window.popleft()
    others = [*before, *(signatures for _, signatures in window)]
    running = {signature for signature in own if sum(signature in other for other in others) >= _ENOUGH}
    kept = [
        line
        for index, line in enumerate(lines)
        if (signature := _edge_signatures(lines).get(index)) not in running or signature not in seen
    ]
    seen |= running
    before.append(own)
    return kept or lines  # a page that holds nothing else is no header


def _edge_signatures(lines: list[Line]) -> dict[int, Signature]:
    """Signatures of the lines nearest to the top and the bottom edge, by their index."""
    by_height = sorted(range(len(lines)), key=lambda index: -lines[index].box[3])
    edges = {*by_height[:_EDGE_LINES], *by_height[-_EDGE_LINES:]}
    return {index: _signature(lines[index]) for index in edges}


def _signature(line: Line) -> Signature:
    return _NUMBER.sub("#", line.text).strip(), round(line.box[1] / 6)
