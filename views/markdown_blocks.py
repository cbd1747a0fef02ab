"""Where the blocks of a Markdown text begin and end.

A block is what stands between blank lines, or a fenced piece of code. A reply is cut while it streams: a
block that has ended never changes again, whatever comes later.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    pass

BlockKind = Literal["prose", "code"]


#: A block longer than this is cut, so that laying one out never takes long.
LONGEST = 2400


_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})[ \t]*([^\s`]*)[^`\n]*$")


@dataclass(frozen=True, slots=True)
class Block:
    """Characters ``start`` to ``end`` of a text.

    For code, ``inner_start`` to ``inner_end`` is what stands between the fences. ``joined`` blocks continue
    the one before them, which had become too long; ``closed`` says that no later text can change the block.
    """

    kind: BlockKind
    start: int
    end: int
    inner_start: int
    inner_end: int
    language: str = ""
    joined: bool = False
    closed: bool = True


def split_blocks(text: str, start: int = 0) -> list[Block]:
    """Cut ``text`` from ``start`` (the beginning of a block) into blocks; only the last may be open."""
    blocks: list[Block] = []
    position, size = start, len(text)
    while position < size:
        line_end = _line_end(text, position)
        line = text[position:line_end]
        fence = _FENCE.match(line.rstrip("\n"))
        if fence:
            blocks.extend(_code(text, position, line_end, fence.group(1), fence.group(2)))
        elif line.strip():
            blocks.extend(_prose(text, position))
        else:
            position = line_end
            continue
        position = blocks[-1].end
    return blocks


def split_lines(text: str) -> list[Block]:
    """Cut plain text at line ends into blocks that are not too long."""
    blocks: list[Block] = []
    start, size = 0, len(text)
    while size - start > LONGEST:
        cut = _sentence_end(text, start, start + LONGEST)
        blocks.append(Block("prose", start, cut, start, cut, joined=bool(blocks)))
        start = cut
    blocks.append(Block("prose", start, size, start, size, joined=bool(blocks)))
    return blocks


def _line_end(text: str, position: int) -> int:
    """Offset behind the line's break."""
    found = text.find("\n", position)
    return len(text) if found < 0 else found + 1


def _code(text: str, start: int, body: int, fence: str, language: str) -> list[Block]:
    position, size = body, len(text)
    inner_end, end, closed = size, size, False
    while position < size:
        line_end = _line_end(text, position)
        line = text[position:line_end].strip()
        if len(line) >= len(fence) and line == line[0] * len(line) and line[0] == fence[0]:
            inner_end, end, closed = position, line_end, line_end > position + len(line) or line_end < size
            break
        position = line_end
    blocks: list[Block] = []
    inner = body
    while inner_end - inner > LONGEST:
        cut = text.rfind("\n", inner, inner + LONGEST) + 1 or inner + LONGEST
        first = start if not blocks else inner
        blocks.append(Block("code", first, cut, inner, cut, language, joined=bool(blocks)))
        inner = cut
    first = inner if blocks else start
    blocks.append(Block("code", first, end, inner, inner_end, language, joined=bool(blocks), closed=closed))
    return blocks


def _prose(text: str, start: int) -> list[Block]:
    position, size, closed = start, len(text), False
    end = size
    while position < size:
        line_end = _line_end(text, position)
        line = text[position:line_end]
        if position > start and (not line.strip() or _FENCE.match(line.rstrip("\n"))):
            end, closed = position, line.endswith("\n") or bool(line.strip())
            break
        position = line_end
    blocks: list[Block] = []
    while end - start > LONGEST:
        cut = _sentence_end(text, start, start + LONGEST)
        blocks.append(Block("prose", start, cut, start, cut, joined=bool(blocks)))
        start = cut
    blocks.append(Block("prose", start, end, start, end, joined=bool(blocks), closed=closed))
    return blocks


def _sentence_end(text: str, start: int, limit: int) -> int:
    """The best place to cut before ``limit``: a line's end, a sentence's, a word's, or anywhere."""
    for ending in ("\n", ". ", " "):
        found = text.rfind(ending, start + LONGEST // 2, limit)
        if found >= 0:
            return found + len(ending)
    return limit
