"""Search: vectors and words together, fused by reciprocal rank."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from inference.documents.marking import best_stretch, shared_words
from inference.documents.records import unpack_places
from inference.documents.store import Found, StoredPassage
from inference.documents.terms import terms
from inference.events import Hits, SearchMode, SearchRequest, Source

if TYPE_CHECKING:
    from inference.documents.embedding import Vectors
    from inference.documents.libraries import Library
    from inference.documents.reranking import CloserLook

#: Reciprocal rank fusion (Cormack et al. 2009): a passage of rank r scores 1 / (FUSION_K + r) in each list.
FUSION_K = 10
_DEPTH = 120  # passages taken from each list
_RERANKED = 32  # passages that are compared word by word
_RERANK_K = 5  # as FUSION_K, for so short a list


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
    """What a search found, best first, and how close it is to the query (:func:`closeness`)."""

    hits: tuple[Source, ...]
    found: bool
    closeness: float


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
    looks: dict[int, CloserLook] = {}
    if rerank and mode == "both" and ranked:
        looks = _looks(library, query, vector, ranked, passages)
        ranked = _reranked(ranked, looks)
    best = _pages_first(ranked, passages)[:limit]
    words = set(terms(query))
    hits = tuple(_source(one, passages[one.row], live, words, looks.get(one.row)) for one in best)
    near = closeness(hits, [looks[one.row] for one in best if one.row in looks], words)
    return Retrieved(hits=hits, found=near >= MIN_CLOSENESS, closeness=near)


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


#: Of :func:`closeness`. Calibrated with ``bench index --quality`` on questions whose document is in the
#: library, and
#: is then taken out; lenient, as the model may still say that the sources do not hold the answer.
MIN_CLOSENESS = 0.55
_SHARED_WEIGHT = 0.3


def closeness(hits: Sequence[Source], looks: Sequence[CloserLook], words: set[str]) -> float:
    """How close the best hits are to a question: the best cosine of a sentence or a passage, and a share of
    the most of the question's words that one passage holds.
    """
    if not hits or not words:
        return 0.0
    cosines = [cosine for look in looks for cosine in look.cosines]
    nearest = max([*cosines, *(hit.similarity for hit in hits)])
    return nearest + _SHARED_WEIGHT * max(shared_words(words, hit.text) for hit in hits)


def _looks(
    library: Library,
    query: str,
    vector: Vectors,
    ranked: Sequence[Ranked],
    passages: dict[int, StoredPassage],
) -> dict[int, CloserLook]:
    """A closer look at the best passages, by their row."""
    from inference.documents.reranking import look_closely

    rows = [one.row for one in ranked[:_RERANKED]]
    looks = look_closely(library.embedder, query, vector, [passages[row].text for row in rows])
    return dict(zip(rows, looks, strict=True))


def _reranked(ranked: Sequence[Ranked], looks: dict[int, CloserLook]) -> list[Ranked]:
    """The best ones anew: their order so far and that by likeness word by word, fused."""
    head, rest = ranked[: len(looks)], ranked[len(looks) :]
    fused = {one.row: 1 / (_RERANK_K + number) for number, one in enumerate(head, start=1)}
    for number, one in enumerate(sorted(head, key=lambda one: -looks[one.row].likeness), start=1):
        fused[one.row] += 1 / (_RERANK_K + number)
    again = sorted((replace(one, score=fused[one.row]) for one in head), key=lambda one: -one.score)
    scale = again[-1].score / head[-1].score
    return again + [replace(one, score=one.score * scale) for one in rest]


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


def _source(
    one: Ranked, passage: StoredPassage, live: dict[str, str], words: set[str], look: CloserLook | None
) -> Source:
    """The passage as an event carries it, with the sentences marked that match best."""
    start, end = best_stretch(passage.text, words, look.cosines if look else ())
    whole = unpack_places(passage.places, 0, len(passage.text))
    return Source(
        file=live[passage.document],
        page=passage.page,
        text=passage.text,
        score=one.score,
        boxes=unpack_places(passage.places, start, end) or whole,
        passage_boxes=whole,
        unit=passage.unit,
        label=passage.label,
        heading=passage.heading,
        start=passage.start,
        end=passage.end,
        similarity=one.similarity,
        word_score=one.word_score,
        vector_rank=one.vector_rank,
        word_rank=one.word_rank,
        marked=passage.text[start:end],
    )
