"""Spans of tokens add up to the exact text, in streams and in given texts."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from inference.detokenizing import Detokenizer, TokenTable, spans_of_text

BYTE_IDS = st.lists(st.integers(7, 499), max_size=40)


def pieces(table: TokenTable, ids: list[int]) -> list[str]:
    """What each token adds, and at last what was held back."""
    stream = Detokenizer(table)
    return [*(stream.push(token) for token in ids), stream.finish()]


def decoded(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def test_any_ids_of_a_byte_level_vocabulary_add_up_to_its_own_decode(
    byte_tokenizer: PreTrainedTokenizerBase,
) -> None:
    table = TokenTable(byte_tokenizer)

    @settings(max_examples=300, deadline=None)
    @given(BYTE_IDS)
    def check(ids: list[int]) -> None:
        assert "".join(pieces(table, ids)) == decoded(byte_tokenizer, ids)

    check()


@pytest.mark.parametrize("kind", ["byte_tokenizer", "sentencepiece_tokenizer"])
def test_any_text_comes_back_span_by_span(kind: str, request: pytest.FixtureRequest) -> None:
    tokenizer: PreTrainedTokenizerBase = request.getfixturevalue(kind)
    table = TokenTable(tokenizer)

    @settings(max_examples=300, deadline=None)
    @given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁"), max_size=30))
    def check(text: str) -> None:
        ids = tokenizer.encode(text, add_special_tokens=False)
        whole = "".join(pieces(table, ids))
        # The make of Llama 2 writes a space before the text, which its decode takes away again.
        added = " " if kind == "sentencepiece_tokenizer" and text else ""
        assert whole == added + text
        assert whole.removeprefix(added) == decoded(tokenizer, ids)

    check()


def test_random_bytes_of_a_sentencepiece_vocabulary_decode_with_replacement(
    sentencepiece_tokenizer: PreTrainedTokenizerBase,
) -> None:
    table = TokenTable(sentencepiece_tokenizer)
    first = sentencepiece_tokenizer.convert_tokens_to_ids("<0x00>")

    @given(st.binary(max_size=24))
    def check(data: bytes) -> None:
        ids = [first + byte for byte in data]
        assert "".join(pieces(table, ids)) == data.decode("utf-8", errors="replace")

    check()


def test_an_incomplete_character_is_held_back_until_its_last_token(
    byte_tokenizer: PreTrainedTokenizerBase,
) -> None:
    table = TokenTable(byte_tokenizer)
    ids = [byte_tokenizer.convert_tokens_to_ids(mark) for mark in ("ð", "Ł", "¦", "Ĭ")]
    assert b"".join(table.data(token) for token in ids) == "🦊".encode()
    assert pieces(table, ids) == ["", "", "", "🦊", ""]


def test_a_character_that_a_prompt_began_is_completed(byte_tokenizer: PreTrainedTokenizerBase) -> None:
    table = TokenTable(byte_tokenizer)
    ids = [byte_tokenizer.convert_tokens_to_ids(mark) for mark in ("ð", "Ł", "¦", "Ĭ")]
    assert Detokenizer(table, before=ids[:3]).push(ids[3]) == "🦊"


def test_special_tokens_add_no_text_but_have_bytes(byte_tokenizer: PreTrainedTokenizerBase) -> None:
    table = TokenTable(byte_tokenizer)
    assert Detokenizer(table).push(2) == ""
    assert table.is_special(2)
    assert table.data(2) == b"<|eos|>"
    assert table.text(2) == "<|eos|>"


def test_special_tokens_that_mark_sections_stay_in_the_text(
    byte_tokenizer: PreTrainedTokenizerBase,
) -> None:
    tokenizer = copy.deepcopy(byte_tokenizer)
    tokenizer.add_special_tokens({"additional_special_tokens": ["[THINK]", "[/THINK]"]})
    ids = tokenizer("[THINK]brown[/THINK]fox<|eos|>", add_special_tokens=False)["input_ids"]
    table = TokenTable(tokenizer)
    assert "".join(pieces(table, ids)) == "[THINK]brown[/THINK]fox"
    assert [table.is_mark(token) for token in (ids[0], ids[-1])] == [True, False]


def test_an_id_beyond_the_vocabulary_is_empty(byte_tokenizer: PreTrainedTokenizerBase) -> None:
    assert TokenTable(byte_tokenizer).data(10_000) == b""


@pytest.mark.parametrize("kind", ["byte_tokenizer", "sentencepiece_tokenizer"])
def test_spans_of_a_given_text_add_up_to_it(kind: str, request: pytest.FixtureRequest) -> None:
    tokenizer: PreTrainedTokenizerBase = request.getfixturevalue(kind)

    @settings(max_examples=300, deadline=None)
    @given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
    def check(text: str) -> None:
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        spans = spans_of_text(text, encoded["offset_mapping"])
        assert len(spans) == len(encoded["input_ids"])
        assert "".join(spans) == text

    check()


def test_the_token_that_completes_a_character_has_it_as_its_span() -> None:
    assert spans_of_text("a🦊b", [(0, 1), (1, 2), (1, 2), (1, 2), (2, 3)]) == ["a", "", "", "🦊", "b"]


def test_text_that_no_token_covers_goes_to_the_next_one_and_at_the_end_to_the_last() -> None:
    assert spans_of_text("a  b ", [(0, 0), (0, 1), (3, 4)]) == ["", "a", "  b "]
