"""Parts of a reply that are not its answer: thinking before it, and calls of tools.

Models mark them in a few ways, by tags or by special tokens of their own; which, is told by the text and by
the vocabulary, never by the model's name. Only the standard library is needed here: views fold sections, and
the engine asks which special tokens have to be kept in a reply's text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

SectionKind = Literal["thinking", "tool-call", "mark"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Characters ``start`` to ``end`` of a reply; its content is ``inner_start`` to ``inner_end``.

    A "mark" only tells where another part begins and is not shown. ``closed`` is whether its end has come;
    ``name`` is the tool that is called.
    """

    kind: SectionKind
    start: int
    end: int
    inner_start: int
    inner_end: int
    closed: bool = True
    name: str = ""


@dataclass(frozen=True, slots=True)
class _Form:
    """A way to mark a section. ``closing`` is a pattern, in which {tag} is the opening's tag; empty: nothing
    closes it, it goes on to the end.
    """

    kind: SectionKind
    opening: re.Pattern[str]
    closing: str = ""


_THOUGHT = r"[\w:]*(?:think(?:ing)?|thoughts?|reason(?:ing)?)"
_TOOL = r"tool_calls?|function_?calls?"
_CHANNEL = r"(?:<\|start\|>assistant)?(?: to=[\w.]+)?<\|channel\|>"
_NEXT = r"<\|call\|>|<\|end\|>|(?=<\|start\|>)"
_MARKED: tuple[tuple[SectionKind, str, str], ...] = (
    ("thinking", rf"^[ \t]*<(?P<tag>{_THOUGHT})>", "</{tag}>"),
    ("thinking", r"\[(?P<tag>THINK)\]", r"\[/{tag}\]"),
    ("thinking", r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),
    ("thinking", r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),
    ("thinking", rf"{_CHANNEL}analysis(?:<\|message\|>)?", _NEXT),
    ("tool-call", rf"{_CHANNEL}commentary to=[\w.]+(?:[^<]|<\|constrain\|>)*(?:<\|message\|>)?", _NEXT),
    ("mark", rf"(?:<\|end\|>)?{_CHANNEL}(?:final|commentary)(?:<\|message\|>)?", ""),
    # A channel that has not told its name yet.
    ("mark", r"<\|start\|>(?:assistant)?(?: to=[\w.]+)?(?:<\|channel\|>\w*)?\Z|<\|channel\|>\w*\Z", ""),
    ("mark", r"<\|(?:START|END)_RESPONSE\|>|<\|(?:begin|end)_of_solution\|>", ""),
    ("tool-call", rf"^[ \t]*<(?P<tag>{_TOOL})>", "</{tag}>"),
    ("tool-call", r"<\|tool_call\|>", r"<\|/tool_call\|>"),
    ("tool-call", r"\[TOOL_CALLS\]", ""),
    ("tool-call", r"<\|python_tag\|>", ""),
    ("tool-call", r"<｜tool▁calls▁begin｜>", r"<｜tool▁calls▁end｜>"),
    ("tool-call", r"<\|START_ACTION\|>", r"<\|END_ACTION\|>"),
)
_FORMS = tuple(_Form(kind, re.compile(opening, re.MULTILINE), closing) for kind, opening, closing in _MARKED)
#: The end of a section whose beginning stands in the prompt, and what such a prompt ends with.
_ORPHAN = re.compile(rf"</{_THOUGHT}>|\[/THINK\]|<\|END_THINKING\|>|<\|end_of_thought\|>")
_OPENED = re.compile(rf"(?:<{_THOUGHT}>|\[THINK\]|<\|START_THINKING\|>|<\|begin_of_thought\|>)\s*$")
_FENCE = re.compile(r"^ {0,3}(?:```|~~~)", re.MULTILINE)
_NAME = re.compile(
    r'"(?:tool_)?name"\s*:\s*"([^"]+)"|<function=([\w.-]+)>|to=(?:functions\.)?([\w.-]+)'
    r"|^\s*([A-Za-z_][\w.-]*)\s*(?=\[ARGS\]|\{)"
)
#: Special tokens that mark sections by themselves, and those that do where there are channels.
_MARK = re.compile(
    rf"</?(?:{_THOUGHT}|{_TOOL})>|\[/?(?:THINK|TOOL_CALLS|ARGS|CALL_ID)\]"
    r"|<\|(?:START|END)_(?:THINKING|ACTION|RESPONSE)\|>|<\|(?:begin|end)_of_(?:thought|solution)\|>"
    r"|<\|/?tool_call\|>|<\|python_tag\|>|<｜tool▁\w+｜>|<\|channel\|>"
)
_BESIDE_CHANNELS = frozenset(["<|start|>", "<|message|>", "<|end|>", "<|constrain|>"])


def find_sections(text: str, *, inside: bool = False, start: int = 0) -> tuple[Section, ...]:
    """The sections of a reply, in order.

    Args:
        text: The reply.
        inside: The prompt has opened a section already (see :func:`opens_inside`).
        start: What is before this place is known, and no section goes on there: a text that grows need not
            be read again from its beginning.
    """
    if not inside and "<" not in text and "[" not in text and "{" not in text:
        return ()
    found = [] if start else _begun_before(text, inside=inside)
    position = found[-1].end if found else start
    while (opened := _next_opening(text, position)) is not None:
        form, opening = opened
        found.append(_section(text, form, opening))
        position = max(found[-1].end, opening.end())
    if not start and not any(section.kind == "tool-call" for section in found):
        found += _bare_call(text, position)
    return tuple(found)


def answer_of(text: str) -> str:
    """A reply without its sections."""
    kept, position = [], 0
    for section in find_sections(text):
        kept.append(text[position : section.start])
        position = section.end
    return "".join((*kept, text[position:]))


def thinking_of(text: str) -> str:
    """What a reply thinks before its answer."""
    sections = (section for section in find_sections(text) if section.kind == "thinking")
    return "\n\n".join(text[section.inner_start : section.inner_end].strip() for section in sections)


def opens_inside(prompt: str) -> bool:
    """Whether a reply to this prompt begins inside of a section: the template has opened it."""
    return _OPENED.search(prompt[-64:]) is not None


def marks_among(special: Iterable[str]) -> frozenset[str]:
    """Those of a vocabulary's special tokens that mark sections, so that a reply's text has to keep them."""
    texts = frozenset(special)
    beside = texts & _BESIDE_CHANNELS if "<|channel|>" in texts else frozenset()
    return frozenset(text for text in texts if _MARK.fullmatch(text)) | beside


def _next_opening(text: str, position: int) -> tuple[_Form, re.Match[str]] | None:
    """The first section that opens from a place on; what stands in a block of code is none."""
    while True:
        first: tuple[_Form, re.Match[str]] | None = None
        for form in _FORMS:
            end = len(text) if first is None else first[1].start()
            if (opening := form.opening.search(text, position, end)) is not None:
                first = form, opening
        if first is None or not _in_code(text, first[1].start()):
            return first
        position = first[1].end()


def _section(text: str, form: _Form, opening: re.Match[str]) -> Section:
    start, inner = opening.start(), opening.end()
    if form.kind == "mark":
        return Section(kind="mark", start=start, end=inner, inner_start=inner, inner_end=inner)
    pattern = form.closing.format(tag=re.escape(opening.groupdict().get("tag") or ""))
    closing = re.compile(pattern).search(text, inner) if pattern else None
    stop, end = (closing.start(), closing.end()) if closing is not None else (len(text), len(text))
    called = _NAME.search(text[start:stop]) if form.kind == "tool-call" else None
    if called is None and form.kind == "tool-call":
        called = _NAME.search(text[inner:stop])
    return Section(
        kind=form.kind,
        start=start,
        end=end,
        inner_start=inner,
        inner_end=stop,
        closed=closing is not None or not pattern,
        name=next((group for group in called.groups() if group), "") if called is not None else "",
    )


def _begun_before(text: str, *, inside: bool) -> list[Section]:
    """The section that was opened before the reply began: it is closed without an opening."""
    closing = _ORPHAN.search(text)
    if closing is None:
        whole = Section(
            kind="thinking", start=0, end=len(text), inner_start=0, inner_end=len(text), closed=False
        )
        return [whole] if inside else []
    line = text[text.rfind("\n", 0, closing.start()) + 1 : closing.start()]
    opened = _next_opening(text, 0)
    is_own = opened is None or opened[1].start() > closing.start()
    if not is_own or (line.strip() and not inside) or _in_code(text, closing.start()):
        return []
    end = closing.end()
    return [Section(kind="thinking", start=0, end=end, inner_start=0, inner_end=closing.start())]


def _bare_call(text: str, start: int) -> list[Section]:
    """A reply that is nothing but the JSON of a call, as Llama 3.1 writes it."""
    body = text[start:].strip()
    if not (body.startswith("{") and body.endswith("}") and '"name"' in body):
        return []
    try:
        call = json.loads(body)
    except (ValueError, RecursionError):
        return []
    if not isinstance(call.get("name"), str) or not {"parameters", "arguments"} & call.keys():
        return []
    at = text.index(body, start)
    end = at + len(body)
    return [Section(kind="tool-call", start=at, end=end, inner_start=at, inner_end=end, name=call["name"])]


def _in_code(text: str, place: int) -> bool:
    """Whether a place lies between fences."""
    return sum(1 for _ in _FENCE.finditer(text, 0, place)) % 2 == 1
