"""Markdown in blocks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtGui import QTextDocument

from views.markdown import (
    align,
    append_plain,
    code_document,
    plain_document,
    prose_document,
    render_html,
)
from views.markdown_blocks import LONGEST, split_blocks, split_lines
from views.theme import LIGHT, Theme

TEXT = "One paragraph\nof two lines.\n\n```python\nx = 1\n\ny = 2\n```\nAfter the code.\n"


def test_blocks_end_at_blank_lines_but_not_within_code() -> None:
    blocks = split_blocks(TEXT)
    assert [(block.kind, TEXT[block.inner_start : block.inner_end]) for block in blocks] == [
        ("prose", "One paragraph\nof two lines.\n"),
        ("code", "x = 1\n\ny = 2\n"),
        ("prose", "After the code.\n"),
    ]
    assert blocks[1].language == "python"


def test_only_the_last_block_may_still_change() -> None:
    text = "Done.\n\n```\nstill open"
    blocks = split_blocks(text)
    assert [block.closed for block in blocks] == [True, False]
    assert blocks[-1].kind == "code"


def test_a_fence_closes_only_with_one_of_its_own_kind_and_length() -> None:
    text = "````\n```\n~~~\n````\n"
    assert [text[block.inner_start : block.inner_end] for block in split_blocks(text)] == ["```\n~~~\n"]


@given(st.text(alphabet="ab `~\n#-", max_size=80), st.integers(0, 80))
def test_cutting_while_streaming_gives_the_same_blocks_as_cutting_the_whole(text: str, cut: int) -> None:
    """A closed block never changes, whatever comes later."""
    before = [block for block in split_blocks(text[:cut]) if block.closed]
    assert split_blocks(text)[: len(before)] == before


@given(st.text(alphabet="ab .\n`", max_size=400))
def test_blocks_hold_all_text_but_blank_lines(text: str) -> None:
    position = 0
    for block in split_blocks(text):
        assert not text[position : block.start].strip()
        assert block.end > block.start
        position = block.end
    assert not text[position:].strip()


def test_a_very_long_block_is_cut_so_that_laying_it_out_stays_cheap() -> None:
    text = "A sentence of some length. " * 1000
    blocks = split_blocks(text)
    assert max(block.end - block.start for block in blocks) <= LONGEST
    assert "".join(text[block.start : block.end] for block in blocks) == text
    assert [block.joined for block in blocks[:2]] == [False, True]
    assert "".join(text[block.start : block.end] for block in split_lines(text)) == text


def test_html_and_pictures_of_a_reply_are_shown_as_text() -> None:
    html = render_html("<script>alert(1)</script> ![x](http://e.org/a.png) <b>b</b>", LIGHT)
    assert "<script" not in html
    assert "<img" not in html
    assert "<b>" not in html


def test_markdown_is_rendered(qapp: object) -> None:
    theme = Theme(qapp, "light")  # type: ignore[arg-type]
    document = prose_document("Some **bold** and `code`:\n\n- one\n- two", theme)
    assert document.toPlainText().split() == ["Some", "bold", "and", "code:", "one", "two"]
    assert "font-weight" in document.toHtml()


def test_plain_text_is_kept_to_the_character(qapp: object) -> None:
    theme = Theme(qapp, "light")  # type: ignore[arg-type]
    text = "a  <b>&amp;\n  two"
    document = plain_document(text, theme)
    assert document.toPlainText() == text
    append_plain(document, " more\nlines")
    assert document.toPlainText() == text + " more\nlines"


def test_code_is_coloured_for_the_theme_and_kept_to_the_character(qapp: object) -> None:
    source = "def f(x):\n    return 'ä'  # comment\n"

    def colors(document: QTextDocument) -> set[str]:
        block = document.firstBlock()
        found = set()
        while block.isValid():
            found |= {part.format.foreground().color().name() for part in block.textFormats()}
            block = block.next()
        return found

    light = code_document(source, "py", Theme(qapp, "light"))  # type: ignore[arg-type]
    assert light.toPlainText() == source.rstrip("\n")
    assert len(colors(light)) > 2
    dark = code_document(source, "py", Theme(qapp, "dark"))  # type: ignore[arg-type]
    assert colors(dark) != colors(light)
    unknown = code_document("x", "no-such-language", Theme(qapp, "light"))  # type: ignore[arg-type]
    assert unknown.toPlainText() == "x"


def test_what_is_shown_is_traced_back_to_the_source() -> None:
    source = "Some **bold** words"
    shown = "Some bold words"
    places = align(source, shown)
    assert [source[place] for place in places[:-1]] == list(shown)
    assert places[shown.index("bold")] == source.index("bold")
    assert places[-1] == len(source)
