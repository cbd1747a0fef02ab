"""Each control is its published definition: by hand, as in transformers, and over many draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from inference.errors import InvalidLogits, InvalidRequest
from inference.events import SamplingControls
from inference.generation.random_stream import RandomStream
from inference.generation.truncation import top
from inference.sampling import Draw, History, Sampler

CPU = torch.device("cpu")
NEUTRAL: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0}


def history(read: Sequence[int], written: Sequence[int], size: int) -> History:
    return History(read, written, size, CPU)


def distribution(
    logits: Tensor, read: Sequence[int] = (), written: Sequence[int] = (), **controls: Any
) -> Tensor:
    sampler = Sampler(SamplingControls(**NEUTRAL | controls), len(logits), CPU)
    return sampler.distribution(logits, history(read, written, len(logits)))


def draw(logits: Tensor, *, candidates: int = 20, seed: int = 0, **controls: Any) -> Draw:
    sampler = Sampler(SamplingControls(**NEUTRAL | controls), len(logits), CPU)
    return sampler.draw(logits, history([], [], len(logits)), RandomStream(seed), candidates)


def probabilities(*values: float) -> Tensor:
    """Logits of a distribution."""
    return torch.tensor(values).log()


class TestByHand:
    def test_no_control_is_the_softmax(self) -> None:
        assert distribution(probabilities(0.5, 0.3, 0.2)).tolist() == pytest.approx([0.5, 0.3, 0.2])

    def test_temperature_two_takes_square_roots(self) -> None:
        assert distribution(probabilities(0.8, 0.2), temperature=2.0).tolist() == pytest.approx(
            [2 / 3, 1 / 3]
        )

    def test_temperature_zero_takes_the_likeliest(self) -> None:
        assert distribution(probabilities(0.3, 0.4, 0.3), temperature=0.0).tolist() == [0.0, 1.0, 0.0]

    def test_a_tiny_temperature_does_not_overflow(self) -> None:
        logits = torch.tensor([1000.0, 999.0, -1000.0])
        assert distribution(logits, temperature=1e-8).tolist() == pytest.approx([1.0, 0.0, 0.0])

    def test_top_k_keeps_k(self) -> None:
        assert distribution(probabilities(0.5, 0.3, 0.2), top_k=2).tolist() == pytest.approx(
            [0.625, 0.375, 0]
        )

    def test_top_k_keeps_ties(self) -> None:
        assert distribution(probabilities(0.4, 0.3, 0.3), top_k=2).tolist() == pytest.approx([0.4, 0.3, 0.3])

    def test_top_p_keeps_the_token_that_crosses_the_line(self) -> None:
        kept = distribution(probabilities(0.5, 0.3, 0.15, 0.05), top_p=0.6)
        assert kept.tolist() == pytest.approx([0.625, 0.375, 0, 0])

    def test_top_p_zero_keeps_one(self) -> None:
        assert distribution(probabilities(0.4, 0.6), top_p=0.0).tolist() == [0.0, 1.0]

    def test_min_p_is_relative_to_the_likeliest(self) -> None:
        kept = distribution(probabilities(0.5, 0.3, 0.15, 0.05), min_p=0.2)
        assert kept.tolist() == pytest.approx([0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0])

    def test_min_p_of_one_keeps_the_likeliest(self) -> None:
        assert distribution(probabilities(0.5, 0.3, 0.2), min_p=1.0).tolist() == [1.0, 0.0, 0.0]

    def test_repetition_penalty_divides_positive_and_multiplies_negative_logits(self) -> None:
        expected = torch.tensor([1.0, -2.0, 2.0]).softmax(0)
        got = distribution(torch.tensor([2.0, -1.0, 2.0]), read=[0], written=[1], repetition_penalty=2.0)
        torch.testing.assert_close(got, expected)

    def test_frequency_penalty_counts_and_presence_penalty_does_not(self) -> None:
        expected = torch.tensor([1.0 - 2 * 0.5 - 0.25, 1.0 - 0.5 - 0.25, 1.0]).softmax(0)
        logits = torch.ones(3)
        got = distribution(logits, read=[2], written=[0, 0, 1], frequency_penalty=0.5, presence_penalty=0.25)
        torch.testing.assert_close(got, expected)

    def test_logit_bias_is_added(self) -> None:
        expected = torch.tensor([0.0, 1.5, 0.0]).softmax(0)
        torch.testing.assert_close(distribution(torch.zeros(3), logit_bias=((1, 1.5),)), expected)


CONTROLS = {
    "temperature": st.floats(0.05, 5.0),
    "top_k": st.integers(1, 400),
    "top_p": st.floats(0.01, 0.999),
    "min_p": st.floats(0.001, 0.9),
    "repetition_penalty": st.floats(0.5, 2.0),
    "logit_bias": st.lists(
        st.tuples(st.integers(1, 299), st.floats(-20, 20)), max_size=4, unique_by=lambda pair: pair[0]
    ).map(tuple),
}


def by_transformers(logits: Tensor, ids: list[int], controls: dict[str, Any]) -> Tensor:
    """What ``generate`` would sample from, by its own processors in its own order."""
    processors = LogitsProcessorList()
    if bias := controls.get("logit_bias"):
        processors.append(SequenceBiasLogitsProcessor([[[token], value] for token, value in bias]))
    if (penalty := controls.get("repetition_penalty", 1.0)) != 1.0:
        processors.append(RepetitionPenaltyLogitsProcessor(penalty))
    processors.append(TemperatureLogitsWarper(controls.get("temperature", 1.0)))
    if "top_k" in controls:
        processors.append(TopKLogitsWarper(controls["top_k"]))
    if "top_p" in controls:
        processors.append(TopPLogitsWarper(controls["top_p"]))
    if "min_p" in controls:
        processors.append(MinPLogitsWarper(controls["min_p"]))
    scores: Tensor = processors(torch.tensor([ids]), logits[None])
    return scores.softmax(-1)[0]


def assert_same_distribution(logits: Tensor, ids: list[int], controls: dict[str, Any]) -> None:
    """Equal, except that a token exactly on a cut may fall on either side of it by a rounding error."""
    expected = by_transformers(logits.clone(), ids, controls)
    got = distribution(logits, read=ids[:2], written=ids[2:], **controls)
    differing = ((expected > 0) != (got > 0)) & (expected.maximum(got) > 1e-9)
    if differing.any():
        whole = by_transformers(logits.clone(), ids, controls | {"min_p": 0.0, "top_p": 1.0})
        order = whole.sort(descending=True)
        above = order.values.double().cumsum(0) - order.values.double()
        places = [int((order.indices == token).nonzero()) for token in differing.nonzero()[:, 0].tolist()]
        cut = controls.get("top_p", 2.0), controls.get("min_p", -1.0) * float(whole.max())
        for place in places:
            near_p = abs(float(above[place]) - cut[0]) < 1e-5
            near_min = abs(float(order.values[place]) - cut[1]) < 1e-5
            assert near_p or near_min, f"rank {place} is kept by only one of the two, and on no cut"
        return
    torch.testing.assert_close(got, expected, atol=2e-6, rtol=2e-4)


LOGITS = st.builds(
    lambda seed, size, spread: torch.randn(size, generator=torch.Generator().manual_seed(seed)) * spread,
    st.integers(0, 2**31),
    st.sampled_from([300, 257, 5000]),
    st.floats(0.01, 12.0),
)
IDS = st.lists(st.integers(0, 256), min_size=3, max_size=20)


class TestAgainstTransformers:
    @pytest.mark.parametrize("name", CONTROLS)
    def test_each_control_alone(self, name: str) -> None:
        @settings(max_examples=60, deadline=None)
        @given(LOGITS, IDS, CONTROLS[name])
        def check(logits: Tensor, ids: list[int], value: Any) -> None:
            if name == "logit_bias":
                value = tuple((token, bias) for token, bias in value if token < 257)
            assert_same_distribution(logits, ids, {name: value})

        check()

    @settings(max_examples=150, deadline=None)
    @given(LOGITS, IDS, st.fixed_dictionaries(CONTROLS))
    def test_all_together(self, logits: Tensor, ids: list[int], controls: dict[str, Any]) -> None:
        controls["logit_bias"] = tuple((token, bias) for token, bias in controls["logit_bias"] if token < 257)
        assert_same_distribution(logits, ids, controls)

    def test_windows_are_exact_where_the_cut_is_beyond_them(self) -> None:
        logits = torch.randn(9000, generator=torch.Generator().manual_seed(1)) * 0.1
        for top_p in (0.02, 0.5, 0.999):  # inside 256, inside 4096, all
            assert_same_distribution(logits, [1, 2, 3], {"top_p": top_p})


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(30_000, 60_000), st.integers(1, 64), st.booleans())
def test_the_top_of_a_large_vocabulary_is_that_of_a_sort(
    seed: int, size: int, count: int, ties: bool
) -> None:
    values = torch.randn(size, generator=torch.Generator().manual_seed(seed))
    if ties:
        values = values.round(decimals=1)
    found, ids = top(values, count)
    assert torch.equal(found, values.sort(descending=True).values[:count])
    assert torch.equal(values[ids], found)
    assert len(ids.unique()) == count


class TestDraws:
    @pytest.mark.parametrize(
        "controls",
        [{}, {"top_p": 0.9}, {"temperature": 1.7, "top_k": 12, "top_p": 0.95, "min_p": 0.02}],
        ids=["plain", "top-p", "all"],
    )
    def test_draws_follow_the_distribution(self, controls: dict[str, Any]) -> None:
        logits = torch.randn(30, generator=torch.Generator().manual_seed(3)) * 1.5
        sampler = Sampler(SamplingControls(**NEUTRAL | controls), 30, CPU)
        stream, past = RandomStream(4), history([], [], 30)
        count = 20_000
        drawn = torch.tensor([sampler.draw(logits, past, stream, 1).token for _ in range(count)])
        expected = sampler.distribution(logits, past) * count
        observed = drawn.bincount(minlength=30)
        assert observed[expected == 0].sum() == 0
        kept = expected > 5
        together = torch.stack([observed[kept], expected[kept]]).double()
        together[1] *= together[0].sum() / together[1].sum()
        assert stats.chisquare(together[0].numpy(), together[1].numpy()).pvalue > 1e-4

    def test_draws_from_a_whole_large_vocabulary_follow_the_distribution(self) -> None:
        logits = torch.randn(1100, generator=torch.Generator().manual_seed(3))
        sampler = Sampler(SamplingControls(**NEUTRAL), 1100, CPU)
        stream, past = RandomStream(4), history([], [], 1100)
        drawn = torch.tensor([sampler.draw(logits, past, stream, 1).token for _ in range(4_000)])
        groups = torch.arange(1100) % 97
        expected = torch.zeros(97).index_add(0, groups, sampler.distribution(logits, past)).double()
        observed = groups[drawn].bincount(minlength=97).double()
        expected *= observed.sum() / expected.sum()
        assert stats.chisquare(observed.numpy(), expected.numpy()).pvalue > 1e-4

    def test_the_same_seed_draws_the_same(self) -> None:
        logits = torch.randn(300)
        assert draw(logits, seed=5) == draw(logits, seed=5)
        assert len({draw(logits, seed=seed).token for seed in range(40)}) > 5

    @pytest.mark.parametrize("controls", [{}, {"top_p": 0.8}, {"top_k": 5}])
    def test_what_is_recorded_does_not_change_what_is_drawn(self, controls: dict[str, Any]) -> None:
        logits = torch.randn(6000, generator=torch.Generator().manual_seed(0))
        for seed in range(5):
            tokens = {draw(logits, seed=seed, candidates=k, **controls).token for k in (0, 1, 20, 300, 6000)}
            assert len(tokens) == 1


class TestRecord:
    def test_raw_log_probability_and_entropy_are_those_of_the_unchanged_logits(self) -> None:
        logits = torch.randn(50)
        step = draw(logits, temperature=0.3, top_k=4, logit_bias=((7, 3.0),))
        logprobs = logits.log_softmax(0)
        assert step.raw_logprob == pytest.approx(float(logprobs[step.token]), abs=1e-6)
        assert step.entropy == pytest.approx(-float((logprobs.exp() * logprobs).sum()), abs=1e-5)

    def test_the_chosen_token_is_among_the_candidates_even_if_it_is_unlikely(self) -> None:
        step = draw(torch.arange(50.0), candidates=5, temperature=0.0, logit_bias=((0, 100.0),))
        assert [token for token, _, _ in step.candidates] == [49, 48, 47, 46, 0]
        assert step.token == 0
        assert step.sampled_prob == 1.0

    def test_candidates_come_likeliest_first_with_their_final_probability(self) -> None:
        step = draw(probabilities(0.1, 0.5, 0.15, 0.25), candidates=4, top_k=2)
        assert [token for token, _, _ in step.candidates] == [1, 3, 2, 0]
        assert [prob for _, _, prob in step.candidates] == pytest.approx([2 / 3, 1 / 3, 0, 0])

    def test_stages_show_what_each_control_does_and_removes(self) -> None:
        step = draw(
            probabilities(0.4, 0.3, 0.2, 0.1), candidates=4, temperature=0.5, top_k=3, top_p=0.8, min_p=0.6
        )
        squared = [0.16, 0.09, 0.04, 0.01]
        heated = [value / 0.3 for value in squared]
        after_k = [16 / 29, 9 / 29, 4 / 29, 0]
        stages = {name: (probs, removed) for name, probs, removed in step.stages}
        assert list(stages) == ["raw", "penalties", "temperature", "top-k", "top-p", "min-p"]
        assert stages["raw"][0] == pytest.approx([0.4, 0.3, 0.2, 0.1])
        assert stages["penalties"] == stages["raw"]
        assert stages["temperature"][0] == pytest.approx(heated)
        assert stages["top-k"][0] == pytest.approx(after_k)
        assert stages["top-k"][1] == pytest.approx(1 / 30)
        assert stages["top-p"][0] == pytest.approx([16 / 25, 9 / 25, 0, 0])
        assert stages["top-p"][1] == pytest.approx(4 / 29)
        assert stages["min-p"][0] == pytest.approx([1, 0, 0, 0])
        assert stages["min-p"][1] == pytest.approx(9 / 25)

    def test_top_k_that_is_off_takes_nothing_from_a_penalized_candidate(self) -> None:
        logits = torch.linspace(2.0, 0.0, 4000)
        logits[:3] += 10.0
        step = draw(logits, candidates=3, top_p=0.5, logit_bias=((0, -11.0),))
        stages = {name: probs for name, probs, _ in step.stages}
        assert stages["top-k"] == stages["temperature"]
        assert stages["top-k"][0] > 0.0
        assert stages["top-p"][0] == 0.0

    @settings(max_examples=60, deadline=None)
    @given(LOGITS, st.fixed_dictionaries(CONTROLS), st.integers(0, 40))
    def test_every_stage_is_part_of_a_distribution(
        self, logits: Tensor, controls: dict[str, Any], candidates: int
    ) -> None:
        controls["logit_bias"] = ()
        step = draw(logits, candidates=candidates, **controls)
        assert len(step.candidates) == max(1, candidates)
        for _, probs, removed in step.stages:
            assert all(0.0 <= prob <= 1.0 + 1e-5 for prob in probs)
            assert sum(probs) <= 1.0 + 1e-4
            assert 0.0 <= removed <= 1.0
        final = distribution(logits, **controls)
        for token, _, prob in step.candidates:
            assert prob == pytest.approx(float(final[token]), abs=1e-6)


class TestRefusals:
    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_nan_and_infinity(self, bad: float) -> None:
        with pytest.raises(InvalidLogits):
            draw(torch.tensor([0.0, bad, 1.0]))

    def test_zero_mass(self) -> None:
        with pytest.raises(InvalidLogits):
            draw(torch.full((4,), -math.inf))
        with pytest.raises(InvalidLogits):
            draw(torch.zeros(2), logit_bias=((0, -math.inf), (1, -math.inf)))

    def test_impossible_tokens_are_no_defect(self) -> None:
        assert draw(torch.tensor([-math.inf, 0.0, -math.inf])).token == 1

    @pytest.mark.parametrize(
        ("controls", "allowed"),
        [
            ({"temperature": -0.1}, "0 or more"),
            ({"temperature": math.nan}, "0 or more"),
            ({"top_p": 1.1}, "from 0 to 1"),
            ({"top_k": -1}, "0 or more"),
            ({"min_p": -0.5}, "from 0 to 1"),
            ({"repetition_penalty": 0.0}, "above 0"),
            ({"presence_penalty": math.inf}, "a number"),
            ({"max_new_tokens": -1}, "0 or more"),
            ({"logit_bias": ((500, 1.0),)}, "does not have"),
            ({"logit_bias": ((0, math.nan),)}, "of token 0"),
        ],
    )
    def test_values_out_of_range_are_refused_with_the_range(
        self, controls: dict[str, Any], allowed: str
    ) -> None:
        with pytest.raises(InvalidRequest, match=allowed):
            draw(torch.zeros(4), **controls)
