"""Search: vectors and words together, fused by reciprocal rank."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from inference.documents.marking import best_sentence, shared_words
from inference.documents.placing import Place, Surroundings, join, surroundings_of
from inference.documents.records import embedded_parts, unpack_places
from inference.documents.reranking import Asked, CloserLook, look_closely
from inference.documents.store import Found, StoredPassage
from inference.documents.terms import terms
from inference.events import Hits, SearchMode, SearchRequest, Source

if TYPE_CHECKING:
    from inference.documents.embedding import Vectors
    from inference.documents.libraries import Library

#: Reciprocal rank fusion (Cormack et al. 2009): a passage of rank r scores 1 / (FUSION_K + r) in each list.
FUSION_K = 10
_DEPTH = 120  # passages taken from each list
_RERANKED = 48  # passages that are compared word by word


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
    weights = library.store.weights(dict.fromkeys(terms(query))) if rerank and mode == "both" else {}
    looks: dict[int, CloserLook] = {}
    if weights and ranked:
        looks = _looks(library, Asked(query=query, vector=vector, weights=weights), ranked, passages)
        ranked = _reranked(ranked, looks)
    best = _pages_first(ranked, passages, looks)[:limit]
    words = set(terms(query))
    places = {one.row: _place(passages[one.row]) for one in best}
    around = surroundings_of(library.store, set(places.values())) if looks else {}
    hits = tuple(
        _source(one, passages[one.row], live, words, looks.get(one.row), around.get(places[one.row]))
        for one in best
    )
    if looks:
        near = max(look.score for look in looks.values())
        return Retrieved(hits=hits, found=near >= MIN_SCORE, closeness=near)
    near = closeness(hits, words)
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


#: Of the best :class:`CloserLook`, and of :func:`closeness` without one. Calibrated with ``bench index
#: --quality`` on questions whose document is in the library, and is then taken out; lenient, as the model
#: may still say that the sources do not hold the answer.
MIN_SCORE = 0.44
MIN_CLOSENESS = 0.52
_SHARED_WEIGHT = 0.3


def closeness(hits: Sequence[Source], words: set[str]) -> float:
    """How close hits are to a question at first sight: the best cosine of a passage, and a share of the most
    of the question's words that one passage holds.
    """
    if not hits or not words:
        return 0.0
    nearest = max(hit.similarity for hit in hits)
    return nearest + _SHARED_WEIGHT * max(shared_words(words, hit.text) for hit in hits)


def _looks(
    library: Library, asked: Asked, ranked: Sequence[Ranked], passages: dict[int, StoredPassage]
) -> dict[int, CloserLook]:
    """A closer look at the best passages, by their row."""
    head = ranked[:_RERANKED]
    texts = [embedded_parts(passages[one.row].heading, passages[one.row].text) for one in head]
    looks = look_closely(library.embedder, asked, texts, [one.word_score for one in head])
    return {one.row: look for one, look in zip(head, looks, strict=True)}


def _reranked(ranked: Sequence[Ranked], looks: dict[int, CloserLook]) -> list[Ranked]:
    """The best ones by their score at the closer look; then the others, whose scores are below theirs."""
    head, rest = ranked[: len(looks)], ranked[len(looks) :]
    again = sorted((replace(one, score=looks[one.row].score) for one in head), key=lambda one: -one.score)
    scale = max(again[-1].score, 0.0) / head[-1].score
    return again + [replace(one, score=one.score * scale) for one in rest]


def _pages_first(
    ranked: Sequence[Ranked], passages: dict[int, StoredPassage], looks: dict[int, CloserLook]
) -> list[Ranked]:
    """The best passage of each page, so that the list shows as many places as rows; then the others.

    The place of a page is that of its best passage by score. Shown of it is the one with the best sentence: a
    passage can be about the question as a whole and answer it nowhere.
    """
    pages: dict[tuple[str, int], list[Ranked]] = {}
    for one in ranked:
        pages.setdefault((passages[one.row].document, passages[one.row].page), []).append(one)
    first: list[Ranked] = []
    shown: set[int] = set()
    for own in pages.values():
        best = max(own, key=lambda one: looks[one.row].best_sentence if one.row in looks else 0.0)
        first.append(replace(best, score=own[0].score))
        shown.add(best.row)
    return first + [one for one in ranked if one.row not in shown]


def _place(passage: StoredPassage) -> Place:
    return (passage.document, passage.page, passage.start)


def _source(
    one: Ranked,
    passage: StoredPassage,
    live: dict[str, str],
    words: set[str],
    look: CloserLook | None,
    around: Surroundings | None,
) -> Source:
    """The passage as an event carries it, with the statement marked that matches best."""
    around = around or join([passage])
    start, end = best_sentence(passage.text, words, look.sentences if look else ())
    marked, boxes = around.statement(passage.start + start, passage.start + end)
    whole = unpack_places(passage.places, 0, len(passage.text))
    return Source(
        file=live[passage.document],
        page=passage.page,
        text=passage.text,
        score=one.score,
        boxes=boxes or whole,
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
        marked=marked,
    )
