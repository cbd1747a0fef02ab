"""Sentences and passages: nothing lost, nothing cut in a word, offsets exact."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.documents.pages import Heading, Page
from inference.documents.passages import (
    MAX_SENTENCE_TOKENS,
    estimate_tokens,
    page_passages,
    split_passages,
    split_sentences,
)

PIECES = ["a", "b", " ", ".", "!", "?", "\n", ";", ",", "0", "文", "。", "word ", "e.g. ", "Dr. "]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=400).map("".join)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("It costs 3.50 crowns. Really.", ["It costs 3.50 crowns.", "Really."]),
        ("See Fig. 3 and Dr. Marwick. Next.", ["See Fig. 3 and Dr. Marwick.", "Next."]),
        ("J. Smith came. He left.", ["J. Smith came.", "He left."]),
        ('He said "stop." Then he went.', ['He said "stop."', "Then he went."]),
        ("水は青い。空も青い。", ["水は青い。", "空も青い。"]),
        ("a heading\nthe text", ["a heading", "the text"]),
        ("", []),
        (" \n ", []),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert [text[start:end] for start, end in split_sentences(text)] == sentences


@given(TEXTS)
@settings(deadline=None)
def test_sentences_cover_all_but_white_space_in_order(text: str) -> None:
    spans = split_sentences(text)
    assert all(first[1] <= second[0] for first, second in pairwise(spans))
    assert "".join("".join(text[start:end].split()) for start, end in spans) == "".join(text.split())


@given(TEXTS, st.integers(20, 150), st.integers(0, 40))
@settings(deadline=None)
def test_passages_are_exact_and_cover_the_page(text: str, size: int, lap: int) -> None:
    passages = list(page_passages(Page(number=1, text=text), size=size, lap=min(lap, size - 1)))
    covered = set()
    for passage in passages:
        assert passage.text == text[passage.start : passage.end]
        covered.update(range(passage.start, passage.end))
    assert {at for at, letter in enumerate(text) if not letter.isspace()} <= covered
    starts = [passage.start for passage in passages]
    assert starts == sorted(set(starts)), "each passage begins after the one before"


def test_neighbours_share_whole_sentences() -> None:
    text = " ".join(f"Sentence number {n} has about ten words in it, no more." for n in range(30))
    passages = list(page_passages(Page(number=1, text=text), size=60, lap=20))
    for first, second in pairwise(passages):
        assert first.start < second.start < first.end < second.end
        assert second.text.startswith("Sentence number")


def test_a_text_without_full_stops_is_cut_at_spaces() -> None:
    text = "word " * 500
    spans = split_sentences(text)
    assert len(spans) > 5
    assert all(estimate_tokens(text[start:end]) <= MAX_SENTENCE_TOKENS for start, end in spans)
    assert all(set(text[start:end].split()) == {"word"} for start, end in spans)


def test_headings_hold_across_pages_until_the_next_one() -> None:
    pages = [
        Page(number=1, text="Intro\nFirst text.", headings=(Heading(start=0, text="Intro"),)),
        Page(number=2, text="It goes on."),
        Page(number=3, text="Still so it is.\nEnd\nLast.", headings=(Heading(start=16, text="End"),)),
    ]
    passages = list(split_passages(iter(pages), size=4, lap=0))
    assert [(passage.text, passage.heading) for passage in passages] == [
        ("Intro", "Intro"),
        ("First text.", "Intro"),
        ("It goes on.", "Intro"),
        ("Still so it is.", "Intro"),
        ("End\nLast.", "End"),
    ]
