"""PDF pages: clean text, and the place of every character."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from inference.documents.pages import Page, area, overlap
from inference.documents.readers.document import (
    NO_TEXT_LAYER,
    NOTHING_RECOGNISED,
    UnreadableDocument,
    can_recognise,
)
from inference.documents.readers.formats import open_document


def read(file: Path) -> list[Page]:
    return list(open_document(file).pages)


def test_wrapped_lines_are_joined_and_gaps_part_blocks(make_pdf: Callable[..., Path]) -> None:
    page = [
        (72, 700, 11, "The first block goes on"),
        (72, 686, 11, "in a second line."),
        (72, 640, 11, "A block of its own."),
    ]
    assert read(make_pdf("a.pdf", [page]))[0].text == (
        "The first block goes on in a second line.\nA block of its own."
    )


def test_a_hyphenated_line_end_is_mended_and_keeps_both_places(make_pdf: Callable[..., Path]) -> None:
    page = read(make_pdf("a.pdf", [[(72, 700, 11, "An obser-"), (72, 686, 11, "vatory on a hill.")]]))[0]
    assert page.text == "An observatory on a hill."
    start = page.text.index("observatory")
    upper, lower = page.line_boxes(start, start + len("observatory"))
    assert upper[1] > 695 > lower[3], "the word has a box on each of its two lines"
    assert upper[0] > 80, "the box begins at the word, not at the line"


def test_every_letter_has_its_place_and_white_space_has_none(make_pdf: Callable[..., Path]) -> None:
    page = read(make_pdf("a.pdf", [[(72, 700, 11, "Two words"), (72, 686, 11, "and more.")]]))[0]
    assert page.boxes is not None
    assert page.boxes.shape == (len(page.text), 4)
    for letter, box in zip(page.text, page.boxes, strict=True):
        assert np.isnan(box).any() == letter.isspace()


def test_boxes_of_a_word_cover_it_and_not_its_neighbours(make_pdf: Callable[..., Path]) -> None:
    file = make_pdf("a.pdf", [[(100, 500, 20, "left")], [(100, 500, 20, "left"), (300, 500, 20, "right")]])
    alone, both = read(file)
    (left,) = alone.line_boxes(0, 4)
    start = both.text.index("right")
    (right,) = both.line_boxes(start, start + 5)
    assert 99 < left[0] < 103
    assert 299 < right[0] < 304
    assert left[2] < 150
    assert overlap([left], [right]) == 0


def test_two_columns_written_row_by_row_are_read_one_after_the_other(make_pdf: Callable[..., Path]) -> None:
    left = [f"left line number {n} says something long" for n in range(10)]
    right = [f"right line number {n} says another thing" for n in range(10)]
    pieces = []
    for row, (one, other) in enumerate(zip(left, right, strict=True)):
        pieces += [(60, 700 - 14 * row, 10, one), (320, 700 - 14 * row, 10, other)]
    text = read(make_pdf("a.pdf", [pieces]))[0].text.replace("\n", " ")
    assert text == " ".join([*left, *right])


def test_a_table_is_read_row_by_row(make_pdf: Callable[..., Path]) -> None:
    pieces = []
    for row in range(12):
        pieces += [(60, 700 - 14 * row, 10, f"item {row}"), (320, 700 - 14 * row, 10, f"{row * 7} kg")]
    text = read(make_pdf("a.pdf", [pieces]))[0].text.replace("\n", " ")
    assert "item 3 21 kg item 4 28 kg" in text


def test_running_headers_and_page_numbers_stay_on_the_first_page_only(make_pdf: Callable[..., Path]) -> None:
    pages = [
        [
            (72, 810, 9, "Handbook, edition 4"),
            (72, 700, 11, f"Page text about topic {word}."),
            (72, 686, 11, f"It goes on about {word} here."),
            (290, 30, 9, str(number)),
        ]
        for number, word in enumerate(["ants", "bees", "cats", "dogs", "eels"], start=1)
    ]
    texts = [page.text for page in read(make_pdf("a.pdf", pages))]
    assert "Handbook, edition 4" in texts[0]
    for text, word in zip(texts[1:], ["bees", "cats", "dogs", "eels"], strict=True):
        assert text == f"Page text about topic {word}. It goes on about {word} here."


def test_larger_lines_are_headings(make_pdf: Callable[..., Path]) -> None:
    lines = [(72, 700, 16, "The telescopes")]
    lines += [(72, 676 - 14 * row, 11, f"Line {row} of ordinary body text.") for row in range(4)]
    page = read(make_pdf("a.pdf", [lines]))[0]
    assert [(heading.start, heading.text) for heading in page.headings] == [(0, "The telescopes")]


def test_a_page_that_is_shown_turned_has_one_box_a_line(make_pdf: Callable[..., Path]) -> None:
    lines = [(100, 200, 12, "text along the long edge"), (120, 200, 12, "and its second line")]
    page = read(make_pdf("a.pdf", [lines], sideways=True))[0]
    assert page.text == "text along the long edge and its second line"
    first, second = page.line_boxes(0, len(page.text))
    assert first[3] - first[1] > 5 * (first[2] - first[0]), "the line is upright in the page's own space"
    assert second[0] > first[2]


def test_pages_without_text_say_why(make_pdf: Callable[..., Path]) -> None:
    pages = read(make_pdf("a.pdf", [[(72, 700, 11, "Text.")], []], image=True))
    assert [page.problem for page in pages] == ["", NOTHING_RECOGNISED if can_recognise() else NO_TEXT_LAYER]


def test_a_damaged_file_is_refused_in_words(tmp_path: Path) -> None:
    file = tmp_path / "broken.pdf"
    file.write_bytes(b"%PDF-1.7\nnothing of use")
    with pytest.raises(UnreadableDocument) as refused:
        open_document(file)
    assert refused.value.reason == "damaged"
    assert "PDF" in refused.value.message


def test_areas_count_overlaps_once() -> None:
    first, second = (0.0, 0.0, 2.0, 2.0), (1.0, 1.0, 3.0, 3.0)
    assert area([first, second]) == pytest.approx(7)
    assert overlap([first], [second]) == pytest.approx(1 / 7)
    assert overlap([first, second], [first, second]) == pytest.approx(1)
    assert overlap([], []) == 0
