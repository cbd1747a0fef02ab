"""What an answer stands on: its citations, the support of each sentence, and figures of quality."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from inference.documents import prompting
from inference.documents.passages import split_sentences
from inference.documents.placing import source_surroundings
from inference.documents.terms import terms
from inference.events import Answer, AnswerQuality, CitationMark, SentenceSupport, Source

if TYPE_CHECKING:
    from inference.documents.embedding import Vectors
    from inference.documents.libraries import Library

_SUPPORTED = 0.6
_ON_TOPIC = 0.35  # cosine of a source's sentence with the question
_FEW_TERMS = 7  # an answer of fewer says nothing without its question
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def check_answer(
    library: Library, run_id: int, question: str, text: str, sources: Sequence[Source]
) -> Answer:
    """The answer with all that can be said about it; citations that lead astray are mended."""
    if prompting.is_refusal(text):
        return Answer(
            run_id=run_id, text=text, sources=tuple(sources), found=False, nearest=1 if sources else 0
        )
    sentences = _Sentences(library, sources, question)
    text, marks, support = _mended(sentences, text, len(sources))
    cited = {mark.number for mark in marks if mark.supported}
    quote = prompting.parse_reply(text, len(sources)).quote
    answered = library.embedder.embed([quote or question])[0]
    return Answer(
        run_id=run_id,
        text=text,
        sources=tuple(
            sentences.marked(source, quote, answered) if source.cited else source
            for source in (replace(source, cited=source.number in cited) for source in sources)
        ),
        citations=marks,
        sentences=support,
        nearest=0 if any(one.supported for one in support) else 1,
        quality=AnswerQuality(
            context_relevance=sentences.share_on_topic(),
            answer_relevance=max(float(sentences.asked @ answered), 0.0),
            faithfulness=float(np.mean([one.support * one.supported for one in support])) if support else 0.0,
        ),
    )


def _mended(
    sentences: _Sentences, text: str, count: int
) -> tuple[str, tuple[CitationMark, ...], tuple[SentenceSupport, ...]]:
    """The text with each [n] led to a source that supports its sentence, its marks, and the support."""
    written = prompting.find_citations(text, count)
    new, at = "", 0
    marks: list[CitationMark] = []
    support: list[SentenceSupport] = []
    for start, end in _with_marks(text, written):
        own = [mark for mark in written if start <= mark.start < end]
        bare = _without_marks(text, start, end, own)
        shares = sentences.shares(bare) if any(letter.isalnum() for letter in bare) else {}
        best = max(shares, key=lambda number: shares[number], default=0)
        begins = len(new) + start - at
        for mark in own:
            astray = bool(shares) and shares.get(mark.number, 0.0) < _SUPPORTED
            held = not shares or shares[best] >= _SUPPORTED
            number = best if astray and held else mark.number
            new += f"{text[at : mark.start]}[{number}]"
            marks.append(
                CitationMark(
                    start=len(new) - len(f"[{number}]"),
                    end=len(new),
                    number=number,
                    written=mark.number if number != mark.number else 0,
                    supported=held,
                )
            )
            at = mark.end
        new += text[at:end]
        at = end
        if shares:
            support.append(
                SentenceSupport(
                    start=begins,
                    end=len(new),
                    support=shares[best],
                    source=best,
                    supported=shares[best] >= _SUPPORTED,
                )
            )
    return new + text[at:], tuple(marks), tuple(support)


def _with_marks(text: str, marks: Sequence[prompting.Citation]) -> list[tuple[int, int]]:
    """The sentences of an answer; marks that stand after a full stop belong to what is before them."""
    spans: list[tuple[int, int]] = []
    for start, end in split_sentences(text):
        if spans and not any(letter.isalnum() for letter in _without_marks(text, start, end, marks)):
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    for index, (start, end) in enumerate(spans):
        leading = [mark.end for mark in marks if start <= mark.start and not text[start : mark.start].strip()]
        if index and leading:
            spans[index - 1] = (spans[index - 1][0], leading[0])
            spans[index] = (leading[0], end)
    return spans


class _Sentences:
    """The sentences of all sources, embedded once, and what they have to do with the question."""

    def __init__(self, library: Library, sources: Sequence[Source], question: str) -> None:
        self._library = library
        self._owners = [
            (source, start, end) for source in sources for start, end in split_sentences(source.text)
        ]
        texts = [source.text[start:end] for source, start, end in self._owners]
        vectors = library.embedder.embed([question, *texts])
        self.asked, self._vectors = vectors[0], vectors[1:]
        self._words = [set(terms(text)) for text in texts]
        self._numbers = [_numbers(text) for text in texts]
        self._relations = self._related()

    def share_on_topic(self) -> float:
        """Which share of the sentences has to do with the question."""
        return float(np.mean(self._vectors @ self.asked >= _ON_TOPIC)) if self._owners else 0.0

    def _related(self) -> Vectors:
        """How much each sentence or its neighbour is about the question, beside the one that is most."""
        cosines = np.maximum(self._vectors @ self.asked, 0.0)
        wide = cosines.copy()
        for one in range(1, len(cosines)):
            if self._owners[one][0].number == self._owners[one - 1][0].number:
                wide[one] = max(wide[one], cosines[one - 1])
                wide[one - 1] = max(wide[one - 1], cosines[one])
        related: Vectors = wide / max(float(wide.max(initial=0.0)), 1e-9)
        return related

    def shares(self, sentence: str) -> dict[int, float]:
        """How well each source supports a sentence of the answer, by its number."""
        words, numbers = set(terms(sentence)), _numbers(sentence)
        held = np.array([len(words & known) / len(words) if words else 0.0 for known in self._words])
        if len(words) < _FEW_TERMS:
            scores = held * self._relations
        else:
            scores = np.maximum(held, self._vectors @ self._library.embedder.embed([sentence])[0])
        found: dict[int, float] = {}
        for (source, _, _), score, known in zip(self._owners, scores.tolist(), self._numbers, strict=True):
            whole = score if numbers <= known else 0.5 * score  # another number is another statement
            found[source.number] = max(found.get(source.number, 0.0), min(max(whole, 0.0), 1.0))
        return found

    def marked(self, source: Source, quote: str, vector: Vectors) -> Source:
        """The source with the sentences marked that hold the quoted words, or else come nearest to them."""
        own = [index for index, (owner, _, _) in enumerate(self._owners) if owner.number == source.number]
        if not own or not quote:
            return source
        at = source.text.casefold().find(quote.casefold().rstrip(".")) if len(quote) > 2 else -1
        if at >= 0:
            held = [k for k in own if self._owners[k][2] > at and self._owners[k][1] < at + len(quote)]
            first, last = held[0] - own[0], held[-1] - own[0]
        else:
            words = set(terms(quote))
            scores = [
                float(self._vectors[index] @ vector) + len(words & self._words[index]) / max(len(words), 1)
                for index in own
            ]
            first = last = int(np.argmax(scores))
        start, end = self._owners[own[0] + first][1], self._owners[own[0] + last][2]
        around = source_surroundings(self._library, [source]).get(source.number)
        if around is None:
            return replace(source, marked=source.text[start:end])
        marked, boxes = around.statement(source.start + start, source.start + end)
        return replace(source, boxes=boxes or source.boxes, marked=marked)


def _without_marks(text: str, start: int, end: int, marks: Sequence[prompting.Citation]) -> str:
    kept, at = "", start
    for mark in marks:
        if start <= mark.start < end:
            kept += text[at : mark.start]
            at = min(mark.end, end)
    return kept + text[at:end]


def _numbers(text: str) -> set[str]:
    return {number.rstrip(".,") for number in _NUMBER.findall(text)}
