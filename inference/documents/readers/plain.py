"""Text, Markdown and source code, in whatever encoding."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from inference.documents.pages import Heading, Page
from inference.documents.readers.document import Document, UnreadableDocument

_MAX_BYTES = 64 * 2**20
_PART_CHARACTERS = 3000
_MARKDOWN_HEADING = re.compile(r"#{1,6}\s+(.+?)\s*#*$")
_ITEM = re.compile(r"\s*([-*+•]|\d{1,3}[.)])\s")


def read_bytes(path: Path) -> bytes:
    """The whole file.

    Raises:
        UnreadableDocument: It is too large for a text.
    """
    if path.stat().st_size > _MAX_BYTES:
        raise UnreadableDocument("too-large", f"The text is larger than {_MAX_BYTES // 2**20} MB.")
    return path.read_bytes()


def decode(data: bytes) -> str:
    """Text of unknown encoding: UTF-8, UTF-16 with its mark, or the likeliest that charset-normalizer finds.

    Raises:
        UnreadableDocument: It is no text.
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        from charset_normalizer import from_bytes

        best = from_bytes(data[:65536]).best()
        if best is None or b"\x00" in data[:65536]:
            raise UnreadableDocument(
                "unsupported", "The file is neither text nor a known document."
            ) from None
        return data.decode(best.encoding, errors="replace")
    if "\x00" in text[:65536]:
        raise UnreadableDocument("unsupported", "The file is neither text nor a known document.")
    return text


def open_text(path: Path, password: str | None) -> Document:
    """Prose or Markdown: hard-wrapped lines are joined, blank lines part paragraphs."""
    return Document(pages=_parts(_paragraphs(decode(read_bytes(path)))))


def open_code(path: Path, password: str | None) -> Document:
    """Source code and tables of values: lines stay as they are."""
    lines = decode(read_bytes(path)).splitlines()
    return Document(pages=_parts((number, line, "") for number, line in enumerate(lines, 1) if line.strip()))


def _paragraphs(text: str) -> Iterator[tuple[int, str, str]]:
    """Line number, text and heading (empty if it is none) of each paragraph."""
    start, words, fenced = 1, list[str](), False
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        fenced ^= line.startswith("```")
        heading = _MARKDOWN_HEADING.match(line) if not fenced else None
        if (not line or heading or fenced or _ITEM.match(raw)) and words:
            yield start, " ".join(words), ""
            words = []
        if heading:
            yield number, heading.group(1), heading.group(1)
        elif line:
            start = start if words else number
            words.append(line)
    if words:
        yield start, " ".join(words), ""


def _parts(blocks: Iterator[tuple[int, str, str]]) -> Iterator[Page]:
    """Parts of about 3,000 characters, named by their first line's number."""
    number, texts, headings, length, first = 1, list[str](), list[Heading](), 0, 1
    for line, text, heading in blocks:
        if texts and length + len(text) > _PART_CHARACTERS:
            yield Page(
                number=number,
                text="\n".join(texts),
                unit="part",
                label=f"line {first}",
                headings=tuple(headings),
            )
            number, texts, headings, length = number + 1, [], [], 0
        first = first if texts else line
        if heading:
            headings.append(Heading(start=length, text=heading[:120]))
        texts.append(text)
        length += len(text) + 1
    yield Page(
        number=number, text="\n".join(texts), unit="part", label=f"line {first}", headings=tuple(headings)
    )
