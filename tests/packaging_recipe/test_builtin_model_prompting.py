"""The one format for numbered sources, citations and refusals."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inference.documents.prompting import (
    REFUSAL,
    AnswerStyle,
    Citation,
    Source,
    build_messages,
    find_citations,
    format_reply,
    format_user_turn,
    is_refusal,
    parse_reply,
)


def test_user_turn_holds_question_sources_question() -> None:
    sources = [
        Source(text="The Nile is long.\n\n It flows. ", label="rivers.pdf, page 3"),
        Source(text="Rain."),
    ]
    assert format_user_turn(" How long? ", sources) == (
        "Question: How long?\n\nSources:\n[1] rivers.pdf, page 3\nThe Nile is long.\nIt flows.\n\n[2] Rain."
        "\n\nQuestion: How long?"
    )
    assert format_user_turn("Hello", []) == "Hello"


def test_messages_carry_the_style_and_the_history() -> None:
    messages = build_messages("B?", [Source(text="b")], history=[("A?", "a [1]")], style=AnswerStyle.SENTENCE)
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert "whole sentence" in messages[0]["content"]
    assert REFUSAL in messages[0]["content"]
    assert messages[2]["content"] == "a [1]"


def test_citations_are_found_with_their_places() -> None:
    text = "Long [2] and wide[13]."
    assert find_citations(text) == [Citation(start=5, end=8, number=2), Citation(start=17, end=21, number=13)]
    assert find_citations(text, source_count=2) == [Citation(start=5, end=8, number=2)]
    assert find_citations("[0]") == []


@given(st.text(alphabet="ab ,.", min_size=1).map(str.strip).filter(bool), st.integers(1, 99))
def test_a_reply_comes_apart_as_it_was_put_together(quote: str, number: int) -> None:
    reply = parse_reply(format_reply(quote, number))
    assert reply.quote == quote
    assert reply.citations == (number,)
    assert not reply.refused


def test_refusals_are_recognised_and_cite_nothing() -> None:
    assert is_refusal(f" {REFUSAL}\n")
    assert parse_reply(REFUSAL).refused
    assert parse_reply(REFUSAL).citations == ()
    assert not is_refusal("The sources say much.")
