"""Rank correlations and deletion curves."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from inference.attribution.comparison import deletion_curve, kendall, random_curve, spearman


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=12))
def test_rank_correlations_equal_scipys(pairs: list[tuple[int, int]]) -> None:
    first, second = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert spearman(first, second) is None
        assert kendall(first, second) is None
        return
    assert spearman(first, second) == pytest.approx(scipy.stats.spearmanr(first, second).statistic, abs=1e-9)
    assert kendall(first, second) == pytest.approx(scipy.stats.kendalltau(first, second).statistic, abs=1e-9)


def test_a_single_segment_has_no_correlation() -> None:
    assert spearman([1.0], [2.0]) is None
    assert kendall([1.0], [2.0]) is None
    assert spearman([], []) is None


def test_a_deletion_curve_follows_the_target_as_segments_go(tiny_llama: Any, task: Any) -> None:
    made = task(tiny_llama, "word")
    order = [4, 0, 2, 1, 3, *range(5, 13)]
    curve = deletion_curve(made, "mine", order, 13)
    assert len(curve.removed) == 14
    assert curve.removed[0] == 0.0
    assert curve.removed[-1] == 1.0
    assert curve.logprobs[0] == pytest.approx(float(made.base.sum()), abs=1e-4)
    gone = {token for index in order[:3] for token in made.segments[index].tokens}
    ids = [token for place, token in enumerate(made.passage.ids) if place not in gone]
    with torch.no_grad():
        logits = tiny_llama(torch.tensor([[*ids, *made.passage.target_ids]])).logits[0].log_softmax(-1)
    expected = sum(float(logits[len(ids) - 1 + r, t]) for r, t in enumerate(made.passage.target_ids))
    assert curve.logprobs[3] == pytest.approx(expected, abs=1e-4)
    heights = [min(1.0, math.exp(each - curve.logprobs[0])) for each in curve.logprobs]
    area = sum((a + b) / 2 for a, b in itertools.pairwise(heights)) / 13
    assert curve.area == pytest.approx(area, abs=1e-6)


def test_fewer_steps_than_segments_take_them_in_groups(tiny_llama: Any, task: Any) -> None:
    curve = deletion_curve(task(tiny_llama, "word"), "mine", list(range(13)), 4)
    assert curve.removed == (0.0, 3 / 13, 6 / 13, 10 / 13, 1.0)


def test_the_curve_of_chance_is_the_same_every_time(tiny_llama: Any, task: Any) -> None:
    assert random_curve(task(tiny_llama, "word"), 3) == random_curve(task(tiny_llama, "word"), 3)
