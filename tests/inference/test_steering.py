"""From spans and factors to numbers a token."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference import steering
from inference.errors import InvalidRequest
from inference.events import AttentionControl

TEXT = "The Nile is long"
SPANS = [(0, 0), (0, 3), (3, 8), (8, 11), (11, 16)]  # <s>, "The", " Nile", " is", " long"


def control(start: int, end: int, factor: float, message: int | None = None) -> AttentionControl:
    return AttentionControl(start=start, end=end, factor=factor, message=message)


def test_a_whole_token_gets_the_whole_factor() -> None:
    assert steering.token_factors([control(3, 8, 0.1)], SPANS) == pytest.approx((1, 1, 0.1, 1, 1))


def test_a_part_of_a_token_scales_with_the_share_as_in_the_aleph_alpha_api() -> None:
    # "Ni" are 2 of the 5 characters of " Nile": 1 + (0.5 - 1) * 2/5
    assert steering.token_factors([control(4, 6, 0.5)], SPANS)[2] == pytest.approx(0.8)


def test_complete_overlap_gives_a_touched_token_the_whole_factor() -> None:
    assert steering.token_factors([control(4, 6, 0.5)], SPANS, overlap="complete")[2] == 0.5


def test_the_space_before_a_word_does_not_count_when_the_text_is_known() -> None:
    assert steering.token_factors([control(4, 8, 0.0)], SPANS, text=TEXT)[2] == 0.0


def test_a_token_of_whitespace_alone_can_be_controlled() -> None:
    assert steering.token_factors([control(0, 2, 3.0)], [(0, 2)], text="  ") == (3.0,)


def test_controls_that_overlap_multiply() -> None:
    both = [control(3, 8, 0.5), control(0, 16, 4.0)]
    assert steering.token_factors(both, SPANS) == pytest.approx((1, 4, 2, 4, 4))
    assert steering.token_factors(both[::-1], SPANS) == pytest.approx((1, 4, 2, 4, 4))


def test_special_tokens_are_never_controlled_by_a_span() -> None:
    assert steering.token_factors([control(0, 16, 0.0)], SPANS)[0] == 1.0


def test_the_tokens_of_one_character_are_controlled_together() -> None:
    assert steering.token_factors([control(0, 1, 0.3)], [(0, 1)] * 3 + [(1, 2)]) == (0.3, 0.3, 0.3, 1.0)


def test_a_control_of_a_message_counts_from_where_its_content_begins() -> None:
    assert steering.token_factors([control(1, 5, 2.0, message=1)], SPANS, message_starts=(0, 3)) == (
        1,
        1,
        1.8,
        1,
        1,
    )


def test_a_control_of_a_dropped_message_does_nothing() -> None:
    assert steering.is_neutral(steering.token_factors([control(0, 5, 2.0, 0)], SPANS, message_starts=(None,)))


@pytest.mark.parametrize(
    "wrong",
    [
        control(0, 3, -0.1),
        control(0, 3, math.nan),
        control(0, 3, math.inf),
        control(5, 3, 0.5),
        control(-1, 3, 0.5),
        control(0, 3, 0.5, message=2),
    ],
)
def test_a_control_out_of_range_is_refused(wrong: AttentionControl) -> None:
    with pytest.raises(InvalidRequest):
        steering.token_factors([wrong], SPANS, message_starts=(0, 3))


def test_neutral_factors_have_no_bias_at_all() -> None:
    assert steering.key_bias((1.0, 1.0)) is None
    assert steering.key_bias(()) is None
    assert steering.token_factors([], SPANS) == (1.0,) * 5


def test_the_bias_is_the_logarithm_of_the_factor_and_finite_at_zero() -> None:
    assert steering.key_bias((0.1, 1.0, 2.0, 0.0)) == (math.log(0.1), 0.0, math.log(2.0), steering.REMOVED)


def test_uncertain_tokens_are_turned_down() -> None:
    assert steering.uncertainty_factors([None, 0.5, 2.0, 1.0], threshold=1.0, factor=0.2) == (1, 1, 0.2, 1)


def test_factors_of_prompt_and_reply_combine() -> None:
    assert steering.combined((0.5, 1.0), (1.0, 1.0, 0.2), (2.0,)) == (1.0, 1.0, 0.2)
    assert steering.combined() == ()


def test_the_factor_of_a_related_word_goes_from_the_factor_to_neutral() -> None:
    assert steering.neighbour_factor(0.1, 1.0) == pytest.approx(0.1)
    assert steering.neighbour_factor(0.1, 0.0) == pytest.approx(1.0)
    assert steering.neighbour_factor(0.1, 0.6) == pytest.approx(0.9 * 0.4 + 0.1)


@given(
    start=st.integers(0, 16),
    length=st.integers(0, 16),
    factor=st.floats(0.0, 10.0),
)
def test_a_factor_of_a_token_lies_between_neutral_and_that_of_the_control(
    start: int, length: int, factor: float
) -> None:
    for each in steering.token_factors([control(start, start + length, factor)], SPANS, text=TEXT):
        assert min(1.0, factor) - 1e-12 <= each <= max(1.0, factor) + 1e-12
