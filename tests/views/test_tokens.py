"""Tokens along a text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.events import ScoredToken, Token
from views.models.tokens import TokenTrack, measured, perplexity, prominence, split_prompt, token_label


def scored(text: str, *, special: bool = False, logprob: float | None = -1.0) -> ScoredToken:
    return ScoredToken(
        index=0, id=7, text=text, data=text.encode(), special=special, raw_logprob=logprob, entropy=0.5
    )


def test_a_token_is_found_by_each_of_its_characters() -> None:
    track = TokenTrack([scored("The"), scored(" Nile"), scored(".")])
    assert [track.at_offset(offset) for offset in range(10)] == [0, 0, 0, 1, 1, 1, 1, 1, 2, None]
    assert (track.start(1), track.end(1)) == (3, 8)
    assert track.at_offset(-1) is None


def test_the_origin_shifts_tokens_against_the_text() -> None:
    track = TokenTrack([scored("<s>", special=True), scored("Hi")], origin=-3)
    assert track.at_offset(0) == 1
    late = TokenTrack([scored(" more")], origin=10)
    assert (late.at_offset(9), late.at_offset(10)) == (None, 0)


def test_parts_of_a_character_form_one_span_with_the_token_that_completes_it() -> None:
    track = TokenTrack([scored("a"), scored(""), scored(""), scored("é"), scored("b")])
    assert list(track.spans) == [(0, 1), (1, 4), (4, 5)]
    assert track.span_of(2) == (1, 4)


def test_a_span_that_waits_for_its_last_byte_grows_when_it_comes() -> None:
    track = TokenTrack([scored("a"), scored("")])
    assert list(track.spans) == [(0, 1), (1, 2)]
    track.extend([scored("")])
    assert list(track.spans) == [(0, 1), (1, 3)]
    track.extend([scored("é"), scored("!")])
    assert list(track.spans) == [(0, 1), (1, 4), (4, 5)]


def test_special_tokens_stand_alone() -> None:
    track = TokenTrack([scored(""), scored("", special=True), scored("x")])
    assert list(track.spans) == [(0, 1), (1, 2), (2, 3)]


@given(st.lists(st.tuples(st.sampled_from(["", "a", "bc", "\n"]), st.booleans())), st.integers(0, 20))
def test_spans_cover_all_tokens_in_order_however_they_came(parts: list[tuple[str, bool]], cut: int) -> None:
    tokens = [scored(text, special=special) for text, special in parts]
    grown = TokenTrack(tokens[:cut])
    for token in tokens[cut:]:
        grown.extend([token])
    assert list(grown.spans) == list(TokenTrack(tokens).spans)
    covered = [number for first, end in grown.spans for number in range(first, end)]
    assert covered == list(range(len(tokens)))


def test_a_span_multiplies_probabilities_and_adds_surprisals() -> None:
    tokens = [scored("", logprob=math.log(0.5)), scored("é", logprob=math.log(0.25))]
    assert measured(tokens, "probability") == pytest.approx(0.125)
    assert measured(tokens, "surprisal") == pytest.approx(-math.log(0.125))
    assert measured(tokens, "entropy") == 0.5


def test_what_was_not_predicted_is_not_measured() -> None:
    assert measured([scored("The", logprob=None)], "surprisal") is None
    assert measured([scored("The", logprob=None)], "probability") is None


def test_unlikely_is_loud_for_every_measure() -> None:
    assert prominence(1.0, "probability") == 0.0
    assert prominence(0.0, "probability") == 1.0
    assert prominence(0.0, "surprisal") == 0.0
    assert prominence(4.0, "surprisal") == pytest.approx(0.5)
    assert prominence(math.inf, "surprisal") == 1.0
    assert prominence(math.nan, "entropy") == 1.0


def test_perplexity_is_the_inverse_geometric_mean_of_the_probabilities() -> None:
    tokens = [
        scored("a", logprob=None),
        scored("b", logprob=math.log(0.5)),
        scored("c", logprob=math.log(0.125)),
    ]
    assert perplexity(tokens) == pytest.approx(4.0)
    assert perplexity([]) is None
    assert perplexity([scored("x", logprob=-math.inf)]) == math.inf


def test_a_token_without_text_is_named_by_its_bytes(make_token: object) -> None:
    def token(**fields: object) -> Token:
        return make_token(3, "", **fields)  # type: ignore[operator, no-any-return]

    assert token_label(token(data=b"<|end|>", special=True)) == "<|end|>"
    assert token_label(token(data=b"\xe2\x82")) == "E2 82"
    assert token_label(token(data=b"")) == "#3"


class TestSplittingAPrompt:
    """`<s>user:`, the question, `<e>`, `<s>assistant:` ... as a chat template makes them."""

    def test_each_message_gets_its_text_and_the_marks_before_it(self) -> None:
        words = ["<s>", "user:", "Hi", " you", "<e>", "<s>", "bot:", "Hello", "<e>", "<s>", "bot:"]
        tracks = split_prompt([scored(word) for word in words], ["Hi you", "Hello"])
        assert [token.text for token in tracks[0].tokens] == ["<s>", "user:", "Hi", " you"]
        assert tracks[0].at_offset(0) == 2
        assert [token.text for token in tracks[1].tokens] == words[4:]
        assert tracks[1].at_offset(0) == 3

    def test_a_text_that_the_template_trimmed_is_found(self) -> None:
        tracks = split_prompt([scored("<s>"), scored("Hi"), scored("<e>")], ["  Hi\n"])
        assert tracks[0].at_offset(2) == 1
        assert tracks[0].at_offset(0) == 0

    def test_a_message_that_was_left_out_has_no_tokens(self) -> None:
        tracks = split_prompt([scored("<s>"), scored("Bye")], ["gone", "Bye"])
        assert len(tracks[0]) == 0
        assert len(tracks[1]) == 2

    def test_the_beginning_of_the_reply_is_nobodys(self) -> None:
        words = ["<s>", "Hi", "<e>", "bot:", "It", " is"]
        (track,) = split_prompt([scored(word) for word in words], ["Hi"], ending="It is")
        assert [token.text for token in track.tokens] == ["<s>", "Hi", "<e>", "bot:"]

    def test_nothing_found_is_no_error(self) -> None:
        assert [len(track) for track in split_prompt([scored("x")], ["y", ""])] == [0, 0]
        assert split_prompt([], []) == []
