"""Search: vectors and words together, fused by reciprocal rank, one hit a page."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from inference.documents.marking import best_sentences
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
    """What a search found, best first; ``vector`` is the query's."""

    hits: tuple[Source, ...]
    found: bool
    vector: Vectors


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
    """The best passages for a query, at most one a page."""
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
    best = _one_a_page(ranked, passages)[:limit]
    hits = tuple(_source(one, passages[one.row], live[passages[one.row].document]) for one in best)
    hits = mark(library, query, vector, hits, [passages[one.row].places for one in best])
    return Retrieved(hits=hits, found=is_found(hits, set(terms(query))), vector=vector)


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


def is_found(hits: Sequence[Source], words: Collection[str]) -> bool:
    """Whether the best hits are close enough to answer from; see ``bench index --quality`` for the
    calibration.

    Either a passage is near in meaning, or it shares most of the question's rarer words.
    """
    if not hits:
        return False
    if max(hit.similarity for hit in hits) >= MIN_SIMILARITY:
        return True
    return any(_share(words, hit.text) >= MIN_SHARED_WORDS for hit in hits)


#: Calibrated on questions whose document is in the library and, with it taken out, is not.
MIN_SIMILARITY = 0.38
MIN_SHARED_WORDS = 0.7


def _share(words: Collection[str], text: str) -> float:
    return len(set(words) & set(terms(text))) / len(words) if words else 0.0


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


def _one_a_page(ranked: Sequence[Ranked], passages: dict[int, StoredPassage]) -> list[Ranked]:
    """The best passage of each page, so that the list shows as many places as it has rows."""
    best: dict[tuple[str, int], Ranked] = {}
    for one in ranked:
        best.setdefault((passages[one.row].document, passages[one.row].page), one)
    return list(best.values())


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


def mark(
    library: Library, wanted: str, vector: Vectors, sources: Sequence[Source], places: Sequence[bytes]
) -> tuple[Source, ...]:
    """Narrow each source's boxes to the sentences that match best."""
    spans = best_sentences(library.embedder, wanted, vector, [source.text for source in sources])
    return tuple(
        replace(
            source,
            boxes=unpack_places(packed, *span) or source.boxes,
            marked=source.text[span[0] : span[1]],
        )
        for source, packed, span in zip(sources, places, spans, strict=True)
    )
