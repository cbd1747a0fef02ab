"""Server-sent events: bytes as they come -> the data of whole events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

#: A line that goes on for longer is no event.
MOST = 4 << 20


class NotEvents(ValueError):
    """The bytes are no stream of events; ``shown`` is how they begin."""

    def __init__(self, shown: bytes) -> None:
        super().__init__("not a stream of events")
        self.shown = shown


def events(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The data of each event, in order; several data lines of one event are joined (WHATWG HTML, 9.2).

    Comments (a server keeping the line open) and fields other than data are left out. An event that is cut
    off by the end of the stream is not given.

    Raises:
        NotEvents: A line is none of a stream of events, or does not end.
    """
    data: list[bytes] = []
    for line in _lines(chunks):
        if not line:
            if data:
                yield b"\n".join(data)
            data = []
        elif line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif not line.startswith((b":", b"event:", b"id:", b"retry:")):
            if line.startswith(b"error:"):  # older versions of llama.cpp
                data.append(b'{"error": ' + line[6:].strip() + b"}")
            else:
                raise NotEvents(line)


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Whole lines without their ends; what follows the last end is left out."""
    rest = b""
    for chunk in chunks:
        rest += chunk
        *whole, rest = rest.split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r")
        if len(rest) > MOST:
            raise NotEvents(rest)
    if rest.strip() and not rest.lstrip().startswith((b"data", b":", b"event", b"id", b"retry", b"error")):
        raise NotEvents(rest)
