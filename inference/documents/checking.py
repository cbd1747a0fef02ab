"""What an answer stands on: its citations, the support of each sentence, and figures of quality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from inference.documents import prompting
from inference.documents.marking import whole_statement
from inference.documents.passages import split_sentences
from inference.documents.placing import stretch_boxes
from inference.documents.terms import terms
from inference.events import Answer, AnswerQuality, CitationMark, SentenceSupport, Source

if TYPE_CHECKING:
    from inference.documents.embedding import Vectors
    from inference.documents.libraries import Library

_SUPPORTED = 0.6  # of a sentence's words in a source's sentence, or their cosine
_ON_TOPIC = 0.35  # cosine of a source's sentence with the question


def check_answer(
    library: Library, run_id: int, question: str, text: str, sources: Sequence[Source]
) -> Answer:
    """The answer with all that can be said about it."""
    marks = prompting.find_citations(text, len(sources))
    cited = {mark.number for mark in marks}
    refused = prompting.is_refusal(text)
    sentences = _Sentences(library, sources)
    quote = prompting.parse_reply(text, len(sources)).quote
    asked, answered = library.embedder.embed([question, quote or question])
    support = () if refused else tuple(sentences.support(text, marks))
    return Answer(
        run_id=run_id,
        text=text,
        sources=tuple(
            sentences.marked(source, quote, answered) if source.number in cited and not refused else source
            for source in (replace(source, cited=source.number in cited) for source in sources)
        ),
        citations=tuple(CitationMark(start=mark.start, end=mark.end, number=mark.number) for mark in marks),
        sentences=support,
        found=not refused,
        quality=None
        if refused
        else AnswerQuality(
            context_relevance=sentences.share_on_topic(asked),
            answer_relevance=max(float(asked @ answered), 0.0),
            faithfulness=float(np.mean([one.supported for one in support])) if support else 0.0,
        ),
    )


class _Sentences:
    """The sentences of all sources, embedded once."""

    def __init__(self, library: Library, sources: Sequence[Source]) -> None:
        self._library = library
        self._owners = [
            (source, start, end) for source in sources for start, end in split_sentences(source.text)
        ]
        texts = [source.text[start:end] for source, start, end in self._owners]
        self._vectors: Vectors = library.embedder.embed(texts)
        self._words = [set(terms(text)) for text in texts]

    def share_on_topic(self, asked: Vectors) -> float:
        """Which share of the sentences has to do with a question."""
        return float(np.mean(self._vectors @ asked >= _ON_TOPIC)) if self._owners else 0.0

    def support(self, text: str, marks: Sequence[prompting.Citation]) -> list[SentenceSupport]:
        """How well each sentence of an answer is supported; a sentence that is only a mark counts for
        nothing.
        """
        found = []
        for start, end in split_sentences(text):
            bare = _without_marks(text, start, end, marks)
            if not any(letter.isalnum() for letter in bare):
                continue
            share, source = self._best(bare)
            found.append(
                SentenceSupport(
                    start=start, end=end, support=share, source=source.number, supported=share >= _SUPPORTED
                )
            )
        return found

    def _best(self, sentence: str) -> tuple[float, Source]:
        vector = self._library.embedder.embed([sentence])[0]
        words = set(terms(sentence))
        shares = [len(words & known) / len(words) if words else 0.0 for known in self._words]
        scores = np.maximum(np.array(shares), self._vectors @ vector)
        best = int(scores.argmax())
        return min(max(float(scores[best]), 0.0), 1.0), self._owners[best][0]

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
        spans = [(start, end) for _, start, end in (self._owners[index] for index in own)]
        start, end = whole_statement(source.text, spans, first, last)
        boxes = stretch_boxes(self._library, source, start, end)
        return replace(source, boxes=boxes or source.boxes, marked=source.text[start:end])


def _without_marks(text: str, start: int, end: int, marks: Sequence[prompting.Citation]) -> str:
    kept, at = "", start
    for mark in marks:
        if start <= mark.start < end:
            kept += text[at : mark.start]
            at = min(mark.end, end)
    return kept + text[at:end]
