"""How numbered sources, a question and a cited answer are written for a language model.

This is the one place that knows the format: the built-in model is trained on it, the evaluation
measures with it, and the document tab asks with it. Standard library only.

A user turn looks like this (the question stands first so that the sources are read with it in mind,
and last so that it is fresh when the answer begins)::

    Question: How long is the Nile?

    Sources:
    [1] rivers.pdf, page 3
    The Nile is 6,650 kilometres long.

    [2] The Amazon carries more water.

    Question: How long is the Nile?

and the reply is ``6,650 kilometres [1]``, or :data:`REFUSAL`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

REFUSAL = "The sources do not contain the answer."

_CITATION = re.compile(r"\s?\[(\d{1,3})\]")


class AnswerStyle(StrEnum):
    """How much of a source the answer quotes."""

    SPAN = "span"
    SENTENCE = "sentence"


SYSTEM_PROMPTS = {
    AnswerStyle.SPAN: (
        "Answer with the exact words of the numbered sources and cite the source as [n]. "
        f"If the answer is not there, say: {REFUSAL}"
    ),
    AnswerStyle.SENTENCE: (
        "Answer by quoting the whole sentence of the numbered sources that holds the answer and cite the "
        f"source as [n]. If the answer is not there, say: {REFUSAL}"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A passage that is put before the model. `label` says where it is from ("rivers.pdf, page 3")."""

    text: str
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """A mark such as ``[2]`` in a reply: `start` and `end` are character offsets, `number` counts from 1."""

    start: int
    end: int
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A reply taken apart: `quote` is the text without its citation marks."""

    quote: str
    citations: tuple[int, ...]
    refused: bool


def format_source(number: int, source: Source) -> str:
    """One numbered source. Blank lines inside it are closed up, since a blank line ends a source."""
    text = re.sub(r"\s*\n\s*", "\n", source.text.strip())
    return f"[{number}] {source.label.strip()}\n{text}" if source.label.strip() else f"[{number}] {text}"


def format_sources(sources: Sequence[Source]) -> str:
    """All sources, numbered from 1 and separated by blank lines."""
    return "\n\n".join(format_source(number, source) for number, source in enumerate(sources, start=1))


def format_user_turn(question: str, sources: Sequence[Source]) -> str:
    """The user's turn: question, numbered sources, question. Without sources, the bare question."""
    question = question.strip()
    if not sources:
        return question
    return f"Question: {question}\n\nSources:\n{format_sources(sources)}\n\nQuestion: {question}"


def build_messages(
    question: str,
    sources: Sequence[Source],
    *,
    history: Sequence[tuple[str, str]] = (),
    style: AnswerStyle = AnswerStyle.SPAN,
) -> list[dict[str, str]]:
    """Chat messages that ask `question` about `sources`.

    Args:
        question: The question as the user typed it.
        sources: The passages, in the order in which they are numbered.
        history: Earlier (question, reply) pairs, oldest first, without their sources.
        style: Whether to quote the answer's words only or the whole sentence.

    Returns:
        Messages with "role" and "content", as `apply_chat_template` of transformers takes them.
    """
    messages = [{"role": "system", "content": SYSTEM_PROMPTS[style]}]
    for asked, replied in history:
        messages.append({"role": "user", "content": asked})
        messages.append({"role": "assistant", "content": replied})
    messages.append({"role": "user", "content": format_user_turn(question, sources)})
    return messages


def format_reply(quote: str, number: int | None) -> str:
    """The reply that quotes `quote` from source `number` (counted from 1; None: sources without numbers)."""
    return quote if number is None else f"{quote} [{number}]"


def find_citations(text: str, source_count: int | None = None) -> list[Citation]:
    """Citation marks in `text`, in order; numbers beyond `source_count` are not citations."""
    found = []
    for match in _CITATION.finditer(text):
        number = int(match.group(1))
        if number >= 1 and (source_count is None or number <= source_count):
            start = match.end() - len(match.group().lstrip())
            found.append(Citation(start=start, end=match.end(), number=number))
    return found


def is_refusal(text: str) -> bool:
    """Whether a reply says that the sources do not hold the answer."""
    return text.strip().startswith(REFUSAL.rstrip("."))


def parse_reply(text: str, source_count: int | None = None) -> Reply:
    """Takes a reply apart into the quoted words and the cited source numbers (each once, in order)."""
    citations = find_citations(text, source_count)
    quote, at = "", 0
    for citation in citations:
        quote += text[at : citation.start].rstrip()
        at = citation.end
    quote += text[at:]
    numbers = tuple(dict.fromkeys(citation.number for citation in citations))
    return Reply(quote=quote.strip(), citations=numbers, refused=is_refusal(text))
