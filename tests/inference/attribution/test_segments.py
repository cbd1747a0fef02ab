"""Cutting a context into segments."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.attribution.passage import Passage, Region
from inference.attribution.segments import cut
from inference.attribution.sentence_splitting import paragraphs, sentences, sources, words
from inference.documents.prompting import Source, format_user_turn
from inference.errors import ContextFull, EmptyPrompt, InvalidRequest


def passage_of(text: str, spans: list[tuple[int, int]], **changes: object) -> Passage:
    fields: dict[str, object] = {
        "text": text,
        "ids": tuple(range(len(spans))),
        "spans": tuple(spans),
        "special": (False,) * len(spans),
        "target_text": "t",
        "target_ids": (0,),
        "target_spans": ((0, 1),),
        "regions": (Region(start=0, end=len(text)),),
    }
    return Passage(**(fields | changes))  # type: ignore[arg-type]


def by_character(text: str) -> Passage:
    return passage_of(text, [(index, index + 1) for index in range(len(text))])


def test_granularities_of_a_passage(passage: Passage) -> None:
    def texts(granularity: str) -> list[str]:
        return [segment.text for segment in cut(passage, granularity)[0]]  # type: ignore[arg-type]

    assert texts("token")[:3] == ["Aa", " bb", " cc."]
    assert texts("word")[:3] == ["Aa", "bb", "cc."]
    assert texts("sentence") == ["Aa bb cc.", "Dd ee ff gg.", "Hh ii jj kk.", "Ll mm."]
    assert texts("paragraph") == ["Aa bb cc. Dd ee ff gg.", "Hh ii jj kk. Ll mm."]
    assert texts("message") == ["Aa bb cc. Dd ee ff gg.\n\nHh ii jj kk. Ll mm."]


@pytest.mark.parametrize("granularity", ["token", "word", "sentence", "paragraph", "message"])
def test_every_ordinary_token_is_in_one_segment_and_offsets_are_exact(
    passage: Passage, granularity: str
) -> None:
    segments, _ = cut(passage, granularity)  # type: ignore[arg-type]
    assert sorted(token for segment in segments for token in segment.tokens) == list(range(1, 14))
    for segment in segments:
        assert passage.text[segment.start : segment.end] == segment.text
        assert segment.label == "prompt"


def test_special_tokens_are_protected_unless_asked_for(passage: Passage) -> None:
    segments, _ = cut(passage, "sentence", include_special=True)
    assert (segments[0].text, segments[0].tokens, segments[0].label) == ("<s>", (0,), "special")
    assert len(segments) == 5


def test_the_templates_text_is_protected() -> None:
    text = "user: hello there end"
    spans = [(0, 5), (5, 11), (11, 17), (17, 21)]
    segments, _ = cut(passage_of(text, spans, regions=(Region(start=6, end=17, label="user"),)), "token")
    assert [segment.text for segment in segments] == [" hello", " there"]


def test_messages_are_segments_with_their_role() -> None:
    text = "hello there"
    regions = (Region(start=0, end=5, label="user"), Region(start=6, end=11, label="assistant"))
    segments, _ = cut(passage_of(text, [(0, 5), (5, 11)], regions=regions), "message")
    assert [(segment.text, segment.label) for segment in segments] == [
        ("hello", "user"),
        ("there", "assistant"),
    ]


def test_the_tokens_of_one_character_are_one_segment() -> None:
    text = "a🦊b"
    segments, _ = cut(passage_of(text, [(0, 1), (1, 2), (1, 2), (1, 2), (2, 3)]), "token")
    assert [(segment.text, segment.tokens) for segment in segments] == [
        ("a", (0,)),
        ("🦊", (1, 2, 3)),
        ("b", (4,)),
    ]


def test_a_word_in_which_no_token_begins_joins_the_one_before() -> None:
    segments, _ = cut(passage_of("in a way that", [(0, 4), (4, 8), (8, 13)]), "word")
    assert [(segment.text, segment.tokens) for segment in segments] == [
        ("in a", (0,)),
        ("way", (1,)),
        ("that", (2,)),
    ]


def test_given_segments_take_their_tokens_and_the_earlier_one_wins_an_overlap(passage: Passage) -> None:
    segments, _ = cut(passage, "given", given=[(9, 20), (3, 12)])
    assert [(segment.start, segment.end) for segment in segments] == [(3, 12), (12, 20)]
    assert [segment.tokens for segment in segments] == [(1, 2, 3), (4, 5, 6)]
    with pytest.raises(InvalidRequest):
        cut(passage, "given")


def test_sources_of_a_documents_answer_are_segments_and_so_is_what_stands_around_them() -> None:
    passages = [Source(text="The Nile.\n\n6,650 km [2] long.", label="a.pdf, page 3"), Source(text="Wet.")]
    turn = format_user_turn("How long?", passages)
    segments, _ = cut(by_character(turn), "source")
    assert [segment.text for segment in segments] == [
        "Question: How long?\n\nSources:",
        "[1] a.pdf, page 3\nThe Nile.\n6,650 km [2] long.",
        "[2] Wet.",
        "Question: How long?",
    ]


def test_sources_without_empty_lines_between_them_and_a_text_without_any() -> None:
    text = "Use these.\n[1] One\n[2] Two.\n  [3] Three"
    assert [text[a:b] for a, b in sources(text)] == ["Use these.", "[1] One", "[2] Two.", "[3] Three"]
    with pytest.raises(InvalidRequest, match="no numbered sources"):
        cut(by_character("As one [1] can read."), "source")


def test_auto_takes_the_granularity_that_comes_nearest_to_thirty() -> None:
    assert cut(by_character("word " * 6), "auto")[1] == "token"
    assert cut(by_character("wordwordword " * 28), "auto")[1] == "word"
    assert cut(by_character("One two three four five. " * 28), "auto")[1] == "sentence"


def test_a_context_of_special_tokens_alone_has_nothing_to_cut() -> None:
    with pytest.raises(InvalidRequest, match="no text to weigh"):
        cut(passage_of("<s>", [(0, 3)], special=(True,)), "token")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("Dr. Smith met J. Doe. They spoke.", ["Dr. Smith met J. Doe.", "They spoke."]),
        ("He said “go.” Then left.", ["He said “go.”", "Then left."]),
        ("Pi is 3.14 today. Yes.", ["Pi is 3.14 today.", "Yes."]),
        ("第一句。第二句！", ["第一句。", "第二句！"]),
        ("A list\nof lines", ["A list", "of lines"]),
        ("Wait... what?", ["Wait...", "what?"]),
        ("  ", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in sentences(text)] == expected


@given(st.text(alphabet="ab.!?[1] \n\t。“”", max_size=40))
def test_splits_keep_every_visible_character_once(text: str) -> None:
    visible = [index for index, character in enumerate(text) if not character.isspace()]
    for split in (words, sentences, paragraphs, sources):
        spans = split(text)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))
        assert [i for start, end in spans for i in range(start, end) if not text[i].isspace()] == visible


def test_what_cannot_be_explained_is_refused() -> None:
    with pytest.raises(EmptyPrompt):
        passage_of("", [], ids=()).check(10)
    with pytest.raises(InvalidRequest, match="empty"):
        passage_of("a", [(0, 1)], target_ids=(), target_spans=()).check(10)
    with pytest.raises(ContextFull):
        by_character("abc").check(3)
    by_character("abc").check(4)
