"""Search: vectors and words together, fused by reciprocal rank."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from inference.documents.marking import Stretch, best_sentences, shared_words
from inference.documents.records import unpack_places
from inference.documents.store import Found, StoredPassage
from inference.documents.terms import terms
from inference.events import Hits, SearchMode, SearchRequest, Source

if TYPE_CHECKING:
    from inference.documents.embedding import Vectors
    from inference.documents.libraries import Library

#: Reciprocal rank fusion (Cormack et al. 2009): a passage of rank r scores 1 / (FUSION_K + r) in each list.
FUSION_K = 10
_DEPTH = 120  # passages taken from each list
_RERANKED = 32  # passages that are compared word by word


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A passage in the fused order."""

    row: int
    score: float
    similarity: float = 0.0
    word_score: float = 0.0
    vector_rank: int = 0
    word_rank: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieved:
    """What a search found, best first; ``vector`` is the query's, ``cosines`` those of each hit's best
    sentence.
    """

    hits: tuple[Source, ...]
    found: bool
    vector: Vectors
    cosines: tuple[float, ...] = ()


def search(library: Library, request: SearchRequest) -> Hits:
    """Answer a :class:`SearchRequest`."""
    began = time.perf_counter()
    retrieved = retrieve(
        library,
        request.query,
        limit=request.limit,
        mode=request.mode,
        rerank=request.rerank,
        files=request.files,
    )
    return Hits(
        run_id=request.run_id,
        query=request.query,
        hits=retrieved.hits,
        found=retrieved.found,
        seconds=time.perf_counter() - began,
    )


def retrieve(
    library: Library,
    query: str,
    *,
    limit: int,
    mode: SearchMode = "both",
    rerank: bool = False,
    files: Collection[str] = (),
) -> Retrieved:
    """The best passages for a query: the best of each page first, then further ones of the same pages."""
    vector = library.embedder.embed([query])[0]
    live = library.ledger.files_of_documents()
    if files:
        wanted = set(files)
        live = {document: file for document, file in live.items() if file in wanted}
    ranked = rank(library, vector, terms(query), mode, live if files else None) if live else []
    stored = library.store.fetch([one.row for one in ranked[: max(2 * _RERANKED, 4 * limit)]])
    passages = {row: passage for row, passage in stored.items() if passage.document in live}
    ranked = [one for one in ranked if one.row in passages]
    if rerank and mode == "both" and ranked:
        ranked = _reranked(library, query, ranked, passages)
    best = _pages_first(ranked, passages)[:limit]
    hits = tuple(_source(one, passages[one.row], live[passages[one.row].document]) for one in best)
    spans = best_sentences(library.embedder, query, vector, [hit.text for hit in hits])
    marked = tuple(
        _marked(hit, passages[one.row].places, span) for hit, one, span in zip(hits, best, spans, strict=True)
    )
    found = is_found(marked, [span.cosine for span in spans], terms(query))
    return Retrieved(hits=marked, found=found, vector=vector, cosines=tuple(span.cosine for span in spans))


def rank(
    library: Library,
    vector: Vectors,
    words: Sequence[str],
    mode: SearchMode,
    documents: Collection[str] | None,
) -> list[Ranked]:
    """Stored passages in the fused order, of these documents only where some are given."""
    store = library.store
    store.refresh()
    near = store.nearest(vector, _DEPTH, documents) if mode != "words" else []
    match = store.matching(words, _DEPTH, documents) if mode != "vectors" else []
    return fuse(near, match)


def fuse(near: Sequence[Found], match: Sequence[Found]) -> list[Ranked]:
    """Reciprocal rank fusion of two lists, each best first; ties keep the order of the first list."""
    fused: dict[int, Ranked] = {}
    for number, one in enumerate(near, start=1):
        fused[one.row] = Ranked(
            row=one.row, score=1 / (FUSION_K + number), similarity=one.score, vector_rank=number
        )
    for number, one in enumerate(match, start=1):
        known = fused.get(one.row, Ranked(row=one.row, score=0.0))
        fused[one.row] = replace(
            known, score=known.score + 1 / (FUSION_K + number), word_score=one.score, word_rank=number
        )
    return sorted(fused.values(), key=lambda one: -one.score)


#: Calibrated with ``bench index --quality``: on questions whose document is in the library, and is taken out.
MIN_SIMILARITY = 0.45
MIN_SHARED_WORDS = 0.75


def is_found(hits: Sequence[Source], cosines: Sequence[float], words: Collection[str]) -> bool:
    """Whether the best hits are close enough to answer from.

    Either a sentence or a passage is near in meaning (``cosines`` are those of each hit's best sentence),
    or a passage holds most of the question's words.
    """
    if not hits or not words:
        return False
    if max(max(cosines), max(hit.similarity for hit in hits)) >= MIN_SIMILARITY:
        return True
    return any(shared_words(set(words), hit.text) >= MIN_SHARED_WORDS for hit in hits)


def _reranked(
    library: Library, query: str, ranked: list[Ranked], passages: dict[int, StoredPassage]
) -> list[Ranked]:
    """The best ones in the order of three lists fused: as they came, by word-by-word likeness, by best
    sentence.
    """
    from inference.documents.reranking import late_interaction_scores, sentence_scores

    head = ranked[:_RERANKED]
    texts = [passages[one.row].text for one in head]
    fused = [0.0] * len(head)
    orders = [
        [-float(index) for index in range(len(head))],
        late_interaction_scores(library.embedder, query, texts),
        sentence_scores(library.embedder, query, texts),
    ]
    for scores in orders:
        for number, index in enumerate(sorted(range(len(head)), key=lambda index: -scores[index]), start=1):
            fused[index] += 1 / (5 + number)
    again = [replace(one, score=score) for one, score in zip(head, fused, strict=True)]
    floor = min(fused)
    rest = [replace(one, score=floor * one.score / (head[-1].score or 1.0)) for one in ranked[_RERANKED:]]
    return sorted(again, key=lambda one: -one.score) + rest


def _pages_first(ranked: Sequence[Ranked], passages: dict[int, StoredPassage]) -> list[Ranked]:
    """The best passage of each page, so that the list shows as many places as rows; then the others."""
    seen: set[tuple[str, int]] = set()
    first: list[Ranked] = []
    others: list[Ranked] = []
    for one in ranked:
        page = (passages[one.row].document, passages[one.row].page)
        (others if page in seen else first).append(one)
        seen.add(page)
    return first + others


def _source(one: Ranked, passage: StoredPassage, file: str) -> Source:
    boxes = unpack_places(passage.places, 0, len(passage.text))
    return Source(
        file=file,
        page=passage.page,
        text=passage.text,
        score=one.score,
        passage_boxes=boxes,
        boxes=boxes,
        unit=passage.unit,
        label=passage.label,
        heading=passage.heading,
        start=passage.start,
        end=passage.end,
        similarity=one.similarity,
        word_score=one.word_score,
        vector_rank=one.vector_rank,
        word_rank=one.word_rank,
        marked=passage.text,
    )


def _marked(source: Source, places: bytes, stretch: Stretch) -> Source:
    """The source with its boxes narrowed to a stretch of its text."""
    boxes = unpack_places(places, stretch.start, stretch.end)
    return replace(source, boxes=boxes or source.boxes, marked=source.text[stretch.start : stretch.end])
