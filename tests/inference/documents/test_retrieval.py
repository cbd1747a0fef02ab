"""Search: terms, fusion, the second look, marks, and knowing when nothing is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from inference.documents.indexing import index
from inference.documents.libraries import Libraries, Library
from inference.documents.marking import best_sentence
from inference.documents.pages import merge_into_lines
from inference.documents.placing import Surroundings, join, surroundings_of
from inference.documents.records import pack_places, unpack_places
from inference.documents.reranking import Asked, look_closely
from inference.documents.retrieval import FUSION_K, fuse, retrieve, search
from inference.documents.store import Found, StoredPassage
from inference.documents.terms import asks_for_a_number, terms
from inference.events import IndexRequest, SearchRequest
from inference.running import RunHandle

SAMPLE = Path(__file__).resolve().parents[3] / "resources" / "documents" / "sample.pdf"


@pytest.fixture(scope="module")
def handbook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    libraries = Libraries()
    library = libraries.open(str(tmp_path_factory.mktemp("library")))
    list(index(library, IndexRequest(run_id=1, library="", add=(str(SAMPLE),)), RunHandle(1)))
    yield library
    libraries.close()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The rivers are flowing", ["riv", "flow"]),
        ("Größe und Länge", ["gross", "lang"]),
        ("CFE_ES_PERF 0-31", ["cfe", "es", "perf", "cfe_es_perf", "0", "31"]),
        ("電子コイン", ["電子", "子コ", "コイ", "イン"]),
        ("the of and", []),
        ("It's Maui's canoe", ["maui", "cano"]),
        ("ﬁle", ["fil"]),
    ],
)
def test_terms(text: str, found: list[str]) -> None:
    assert terms(text) == found


@pytest.mark.parametrize(
    "forms",
    [
        ("deposit", "deposits", "deposited"),
        ("require", "required", "requires", "requiring"),
        ("story", "stories"),
        ("stop", "stopped", "stopping"),
    ],
)
def test_forms_of_a_word_meet(forms: tuple[str, ...]) -> None:
    assert len({tuple(terms(form)) for form in forms}) == 1


def test_fusion_adds_reciprocal_ranks() -> None:
    near = [Found(row=1, score=0.9), Found(row=2, score=0.8)]
    match = [Found(row=2, score=7.0), Found(row=3, score=5.0)]
    ranked = {one.row: one for one in fuse(near, match)}
    assert ranked[2].score == pytest.approx(1 / (FUSION_K + 2) + 1 / (FUSION_K + 1))
    assert ranked[1].score == pytest.approx(1 / (FUSION_K + 1))
    assert [one.row for one in fuse(near, match)] == [2, 1, 3]
    assert (ranked[2].similarity, ranked[2].word_score) == (0.8, 7.0)
    assert (ranked[3].vector_rank, ranked[3].word_rank) == (0, 2)
    assert fuse([], []) == []


def test_packed_places_come_back_within_the_grid() -> None:
    boxes = np.array(
        [[10.03, 20, 15, 30], [np.nan] * 4, [15.5, 20, 21, 30], [10, 5, 15, 14]], dtype=np.float32
    )
    wanted = merge_into_lines(boxes)
    found = unpack_places(pack_places(boxes, vertical=False), 0, 4)
    assert len(found) == len(wanted) == 2
    for one, other in zip(found, wanted, strict=True):
        assert one == pytest.approx(other, abs=0.11)
    assert unpack_places(b"", 0, 4) == ()


@pytest.mark.parametrize(
    ("question", "page", "answer"),
    [
        ("How high above the sea does the observatory stand?", 1, "612 metres"),
        ("How cold is the camera?", 2, "minus 95 degrees"),
        ("What is the price of a ticket for a grown-up?", 3, "6 crowns"),
        ("When did Little Owl discover a supernova for the first time?", 1, "October 2009"),
    ],
)
@pytest.mark.parametrize("rerank", [False, True])
def test_the_right_page_comes_first_and_its_answer_is_marked(
    handbook: Library, question: str, page: int, answer: str, rerank: bool
) -> None:
    best = retrieve(handbook, question, limit=5, rerank=rerank).hits[0]
    assert best.page == page
    assert answer in best.text
    assert answer in best.marked
    assert set(best.boxes)
    assert len(best.boxes) < len(best.passage_boxes)


def test_both_ways_of_searching_can_be_had_alone(handbook: Library) -> None:
    by_words = retrieve(handbook, "pendulum clock", limit=3, mode="words").hits
    by_vectors = retrieve(handbook, "timekeeping device", limit=3, mode="vectors").hits
    assert by_words[0].word_rank == 1
    assert by_words[0].vector_rank == 0
    assert by_vectors[0].vector_rank == 1
    assert by_vectors[0].word_rank == 0


def test_hits_are_events_with_time_and_verdict(handbook: Library) -> None:
    request = SearchRequest(run_id=7, library="", query="Who founded the observatory?", limit=2)
    hits = search(handbook, request)
    assert (hits.run_id, hits.query, hits.found) == (7, request.query, True)
    assert len(hits.hits) == 2
    assert hits.seconds > 0


@pytest.mark.parametrize(
    "question", ["How do I bake sourdough bread?", "Who won the 1998 football world cup?", "zzz"]
)
def test_what_is_not_in_the_documents_is_not_found(handbook: Library, question: str) -> None:
    assert not retrieve(handbook, question, limit=5).found


def test_an_empty_library_and_an_empty_query_find_nothing(shelf, handbook: Library) -> None:  # type: ignore[no-untyped-def]
    nothing = retrieve(shelf.library, "anything", limit=5)
    assert (nothing.hits, nothing.found) == ((), False)
    assert not retrieve(handbook, "", limit=5).found


def test_files_restrict_a_search(shelf, prose_pdf: Callable[..., Path]) -> None:  # type: ignore[no-untyped-def]
    files = [prose_pdf(f"{name}.pdf", [f"The {name} lives in the forest."]) for name in ("fox", "owl")]
    shelf.bring_up_to_date(*files)
    hits = retrieve(shelf.library, "forest", limit=5, files=[str(files[1])]).hits
    assert [Path(hit.file).name for hit in hits] == ["owl.pdf"]


def asked(embedder, query: str, weights: dict[str, float] | None = None) -> Asked:  # type: ignore[no-untyped-def]
    known = dict.fromkeys(terms(query), 1.0) if weights is None else weights
    return Asked(query=query, vector=embedder.embed([query])[0], weights=known)


def test_the_second_look_prefers_the_text_that_says_it(embedder) -> None:  # type: ignore[no-untyped-def]
    texts = [
        "The road is closed in winter. Snow lies until April.",
        "A ticket for adults costs 6 crowns. Bring a lamp.",
        "The largest single cost is electricity.",
    ]
    question = asked(embedder, "How much does a ticket cost?")
    looks = look_closely(embedder, question, [("", text) for text in texts], [0.0] * 3)
    assert max(range(3), key=lambda number: looks[number].score) == 1
    assert [len(look.sentences) for look in looks] == [2, 2, 1]
    assert looks[1].sentences[0] > looks[1].sentences[1]
    assert all(-1 <= look.score <= 1.001 for look in looks)
    nothing = look_closely(embedder, asked(embedder, ""), [("", text) for text in texts], [0.0] * 3)
    assert all(abs(look.score) < 1 for look in nothing)


def test_rare_words_weigh_more_and_headings_are_read_along(embedder) -> None:  # type: ignore[no-untyped-def]
    texts = ["The library of the observatory is open.", "The crane on the roof is open."]
    passages = [("", text) for text in texts]
    for rare, first in (("library", 0), ("crane", 1)):
        weights = dict.fromkeys(terms("library crane"), 0.1) | dict.fromkeys(terms(rare), 9.0)
        looks = look_closely(embedder, asked(embedder, "library or crane?", weights), passages, [0.0] * 2)
        assert max(range(2), key=lambda number: looks[number].score) == first
    question = asked(embedder, "What does a ticket cost?")
    bare, headed = look_closely(embedder, question, [("", "6 crowns."), ("Tickets", "6 crowns.")], [0.0] * 2)
    assert headed.score > bare.score
    assert len(headed.sentences) == 1


def test_a_word_says_more_the_fewer_passages_hold_it(handbook: Library) -> None:
    weights = handbook.store.weights(["sampl", "marwick", "zyzzyva"])  # the file is named "sample"
    assert 0 < weights["sampl"] < weights["marwick"] < weights["zyzzyva"]


def marked(text: str, question: str, scores: Sequence[float] = ()) -> str:
    around = Surroundings(text=text, start=0, boxes=None)
    return around.statement(*best_sentence(text, set(terms(question)), scores))[0]


@pytest.mark.parametrize("scores", [(0.1, 0.8, 0.1), ()])
def test_marks_are_whole_sentences(scores: tuple[float, ...]) -> None:
    text = (
        "Fog comes from the bay. Tickets for adult visitors of the observatory cost 6 crowns at the gate on "
        "Friday evenings. The dome is old."
    )
    found = marked(text, "What does a ticket cost?", scores)
    assert found.startswith("Tickets for adult")
    assert found.endswith("evenings.")


def test_blocks_without_a_full_stop_are_marked_together() -> None:
    text = "The dome is old.\nPrices\n• Adults: 6 crowns\n• Children: free of charge\nBring a lamp. Bye."
    assert (
        marked(text, "adults crowns")
        == "Prices\n• Adults: 6 crowns\n• Children: free of charge\nBring a lamp."
    )
    assert marked(text, "old dome") == "The dome is old."


@pytest.mark.parametrize(
    "text",
    [
        "It cools for a day.\nThe gate opens at 9. Visitors come in groups. Bye.",  # 9. may number an item
        "It cools for a day.\nThe cable was drawn by J. H. Visitors come in groups. Bye.",
    ],
)
def test_a_stop_after_a_digit_or_a_capital_does_not_end_a_statement(text: str) -> None:
    found = marked(text, "visitors in groups")
    assert found.startswith("The ")
    assert found.endswith("groups.")


@pytest.mark.parametrize(
    ("question", "number"),
    [
        ("How many crowns does a ticket cost?", True),
        ("By when must it be paid?", True),
        ("What share of the visitors are children?", True),
        ("Wie viele Wege gibt es?", True),
        ("重排序缓冲区有多少项？", True),
        ("What happens when the dome opens?", False),
        ("Who opened the dome?", False),
    ],
)
def test_questions_for_a_number_are_told_apart(question: str, number: bool) -> None:
    assert asks_for_a_number(question) is number


def test_a_question_for_a_number_prefers_sentences_that_hold_one(embedder) -> None:  # type: ignore[no-untyped-def]
    text = "The ticket to the dome is cheap. The ticket to the dome is three crowns."
    for query, best in (("How much is the ticket to the dome?", 1), ("Is the ticket to the dome cheap?", 0)):
        (look,) = look_closely(embedder, asked(embedder, query), [("", text)], [0.0])
        assert max(range(2), key=lambda number: look.sentences[number]) == best


def test_a_year_ends_a_statement() -> None:
    text = "The bridge at Velm was built in 1912. Its keeper is Tomas Arlt."
    assert marked(text, "When was the bridge built?") == "The bridge at Velm was built in 1912."


def test_a_long_list_is_not_marked_as_a_whole() -> None:
    items = [f"• item {number} of a list that goes on" for number in range(40)]
    text = "\n".join(items)
    found = marked(text, "item 20")
    assert items[20] in found
    assert len(found) <= 250


def test_a_mark_goes_on_where_its_passage_ends() -> None:
    """A passage is a window; what it holds of a statement need not be all of it."""
    first, second = "The dome is old. Prices of tickets:", "• Adults: 6 crowns\nBring a lamp. Bye."
    line = np.array([[6.0 * n, 0, 6.0 * n + 5, 9] for n in range(40)], dtype=np.float32)
    rows, below = line[: len(first)], line[: len(second)] - np.array([0, 20, 0, 20], dtype=np.float32)
    passages = [
        StoredPassage(
            document="a", ordinal=number, page=1, start=start, end=start + len(text), text=text,
            heading="", label="", unit="page", places=pack_places(boxes, vertical=False),
        )
        for number, (start, text, boxes) in enumerate([(40, first, rows), (76, second, below)])
    ]  # fmt: skip
    alone = join(passages[1:]).statement(76, 80)
    text, boxes = join(passages).statement(76, 80)
    assert alone[0] == "• Adults: 6 crowns\nBring a lamp."
    assert text == f"Prices of tickets:\n{alone[0]}"
    assert [box[1] for box in boxes] == pytest.approx([0, -20], abs=0.1)
    assert boxes[0][0] == pytest.approx(6 * first.index("Prices"), abs=0.1)


def test_passages_around_one_are_those_of_its_page(handbook: Library) -> None:
    best = retrieve(handbook, "How cold is the camera?", limit=1, rerank=True).hits[0]
    (document,) = handbook.store.documents()
    place = (document, best.page, best.start)
    near = handbook.store.around({place}, 10**6)
    assert {one.page for one in near} == {best.page}
    assert [one.start for one in near] == sorted(one.start for one in near)
    assert [one.text for one in handbook.store.around({place}, 0)] == [best.text]
    assert best.text in surroundings_of(handbook.store, {place})[place].text
