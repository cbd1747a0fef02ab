"""The forms in which sources and a question may reach the model.

The first is the app's own (inference/documents/prompting.py). The others are how people and other programs
write the same thing, so that the model does not depend on one layout.
"""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))
from inference.documents.prompting import (
    REFUSAL,
    SYSTEM_PROMPTS,
    AnswerStyle,
    Source,
    build_messages,
    format_sources,
)

_SPAN_SYSTEMS = (
    f"Answer from the sources. If they do not hold the answer, say: {REFUSAL}",
    "Use only the given sources and cite them as [n].",
    "You answer questions about documents. Quote the source and name it as [n].",
    "Answer the question with words from the text.",
    "You are a helpful assistant.",
    "Answer with a short quote.",
)
_SENTENCE_SYSTEMS = (
    "Quote the whole sentence that answers the question.",
    "Answer with the full sentence of the source and its number [n].",
    f"Quote the sentence that holds the answer, or say: {REFUSAL}",
)


@dataclass(frozen=True, slots=True)
class SourceForm:
    """A layout: `numbered` sources are cited as [n]; `single` layouts hold one passage only."""

    name: str
    style: AnswerStyle
    numbered: bool
    single: bool
    system: str | None


# name, weight, numbered, single
_FORMS = (
    ("app", 0.4, True, False),
    ("numbered, question last", 0.17, True, False),
    ("numbered, question first", 0.05, True, False),
    ("numbered, bare question", 0.05, True, False),
    ("source n", 0.05, True, False),
    ("context colon", 0.1, False, False),
    ("bare context", 0.08, False, True),
    ("question first", 0.05, False, True),
    ("passage", 0.05, False, True),
)


def draw_form(style: AnswerStyle, rng: random.Random) -> SourceForm:
    """A random form. Whole-sentence answers are always asked for in words, by the system prompt."""
    name, _, numbered, single = rng.choices(_FORMS, [form[1] for form in _FORMS])[0]
    if style is AnswerStyle.SENTENCE:
        system: str | None = SYSTEM_PROMPTS[style] if rng.random() < 0.6 else rng.choice(_SENTENCE_SYSTEMS)
    elif name == "app":
        system = SYSTEM_PROMPTS[style] if rng.random() < 0.7 else None
    else:
        system = rng.choices((None, SYSTEM_PROMPTS[style], rng.choice(_SPAN_SYSTEMS)), (0.5, 0.2, 0.3))[0]
    return SourceForm(name, style, numbered, single, system)


def render(form: SourceForm, question: str, sources: list[Source]) -> list[tuple[str, str]]:
    """System and user turns that put `question` about `sources` in the given form."""
    if form.name == "app":
        user = build_messages(question, sources, style=form.style)[-1]["content"]
    else:
        user = _user_turn(form.name, question, sources)
    return ([("system", form.system)] if form.system else []) + [("user", user)]


def _user_turn(name: str, question: str, sources: list[Source]) -> str:
    numbered = format_sources(sources)
    plain = "\n\n".join(source.text.strip() for source in sources)
    if name == "numbered, question last":
        return f"Sources:\n{numbered}\n\nQuestion: {question}"
    if name == "numbered, question first":
        return f"{question}\n\n{numbered}"
    if name == "numbered, bare question":
        return f"{numbered}\n\n{question}"
    if name == "source n":
        parts = (f"Source {n}: {source.text.strip()}" for n, source in enumerate(sources, start=1))
        return "\n\n".join(parts) + f"\n\nQuestion: {question}"
    if name == "context colon":
        return f"Context: {plain}\n\nQuestion: {question}"
    if name == "bare context":
        return f"{plain}\n\n{question}"
    if name == "question first":
        return f"{question}\n\n{plain}"
    return f"Read the passage and answer the question.\n\nPassage:\n{plain}\n\nQuestion: {question}\nAnswer:"
