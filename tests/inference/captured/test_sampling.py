"""The draw of fixed shapes is the one that the plain loop makes, for any logits and any controls."""

from __future__ import annotations

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from inference.captured.controls import STEP, ControlBuffers
from inference.captured.sampling import Record, sample
from inference.events import SamplingControls, SteeringOptions
from inference.generation.random_stream import RandomStream
from inference.sampling import Draw, History, Sampler

CPU = torch.device("cpu")

CONTROLS = st.builds(
    SamplingControls,
    temperature=st.sampled_from([0.0, 1e-40, 0.05, 1.0, 5.0]) | st.floats(0.05, 5.0),
    top_p=st.sampled_from([0.0, 1.0]) | st.floats(0.0, 1.0),
    top_k=st.sampled_from([0, 1, 100_000]) | st.integers(1, 400),
    min_p=st.just(0.0) | st.floats(0.0, 0.9),
    repetition_penalty=st.just(1.0) | st.floats(0.5, 2.0),
    frequency_penalty=st.just(0.0) | st.floats(-1.0, 1.0),
    presence_penalty=st.just(0.0) | st.floats(-1.0, 1.0),
    logit_bias=st.lists(
        st.tuples(st.integers(0, 256), st.floats(-20, 20)), max_size=3, unique_by=lambda pair: pair[0]
    ).map(tuple),
)
LOGITS = st.builds(
    lambda seed, size, spread, half: (
        torch.randn(size, generator=torch.Generator().manual_seed(seed)) * spread
    ).to(torch.bfloat16 if half else torch.float32),
    st.integers(0, 2**31),
    st.sampled_from([300, 257, 2000]),
    st.sampled_from([0.01, 1.0, 12.0]),
    st.booleans(),
)
IDS = st.lists(st.integers(0, 256), max_size=12)


def drawn(logits: Tensor, controls: SamplingControls, read: list[int], written: list[int], seed: int) -> Draw:
    buffers = ControlBuffers(len(logits), CPU)
    buffers.set_controls(controls)
    buffers.set_history(read, written)
    buffers.restart(RandomStream(seed))
    _, record, _ = sample(logits, buffers, 32)
    return Record(32).read(record.tolist(), 20)


@settings(max_examples=150, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(LOGITS, CONTROLS, IDS, IDS, st.integers(0, 2**63))
def test_it_draws_what_the_plain_sampler_draws(
    logits: Tensor, controls: SamplingControls, read: list[int], written: list[int], seed: int
) -> None:
    got = drawn(logits, controls, read, written, seed)
    plain = Sampler(controls, len(logits), CPU)
    history = History(read, written, len(logits), CPU)
    expected = plain.draw(logits, history, RandomStream(seed), 20)
    if got.token != expected.token:
        # Equal logits may be cut in another order, and a rounding error may decide a cut.
        assert got.sampled_prob == pytest.approx(expected.sampled_prob, abs=1e-3)
        return
    assert got.raw_logprob == pytest.approx(expected.raw_logprob, abs=1e-4)
    assert got.sampled_prob == pytest.approx(expected.sampled_prob, rel=1e-3, abs=1e-5)
    assert got.entropy == pytest.approx(expected.entropy, abs=1e-4)
    for mine, theirs in zip(got.stages, expected.stages, strict=True):
        assert mine[0] == theirs[0]
        assert mine[2] == pytest.approx(theirs[2], abs=1e-4)
        assert sum(mine[1]) == pytest.approx(sum(theirs[1]), abs=5e-3)


@pytest.mark.parametrize(
    "controls",
    [
        SamplingControls(temperature=1.0, top_p=1.0),
        SamplingControls(temperature=1.3, top_p=0.9, top_k=20, min_p=0.01, frequency_penalty=0.5),
    ],
    ids=["plain", "all"],
)
def test_draws_follow_the_distribution(controls: SamplingControls) -> None:
    logits = torch.randn(12, generator=torch.Generator().manual_seed(3)) * 1.5
    buffers, count = ControlBuffers(12, CPU), 1_500
    buffers.set_controls(controls)
    buffers.set_history([1, 2], [4, 4])
    buffers.restart(RandomStream(4))
    observed = torch.zeros(12)
    for _ in range(count):
        token, _, _ = sample(logits, buffers, 1)
        observed[token] += 1
        buffers.whole[STEP] += 1
    sampler = Sampler(controls, 12, CPU)
    expected = sampler.distribution(logits, History([1, 2], [4, 4], 12, CPU)) * count
    assert observed[expected == 0].sum() == 0
    kept = expected > 5
    pair = torch.stack([observed[kept], expected[kept]]).double()
    pair[1] *= pair[0].sum() / pair[1].sum()
    assert stats.chisquare(pair[0].numpy(), pair[1].numpy()).pvalue > 1e-4


def test_a_token_that_the_model_was_unsure_of_gets_the_bias_that_the_controls_say() -> None:
    buffers = ControlBuffers(50, CPU)
    buffers.set_history([], [])
    options = SteeringOptions(entropy_threshold=1.0, entropy_factor=0.5)
    buffers.set_controls(SamplingControls(steering=options))
    sure, unsure = torch.zeros(50), torch.zeros(50)
    sure[3] = 30.0
    assert sample(sure, buffers, 5)[2].item() == 0.0
    assert sample(unsure, buffers, 5)[2].item() == pytest.approx(torch.tensor(0.5).log().item())
    buffers.set_controls(SamplingControls())
    assert sample(unsure, buffers, 5)[2].item() == 0.0


def test_more_or_fewer_candidates_are_the_same_ones() -> None:
    logits = torch.randn(200, generator=torch.Generator().manual_seed(0))
    controls = SamplingControls(temperature=3.0, top_p=1.0)
    buffers = ControlBuffers(200, CPU)
    buffers.set_controls(controls)
    for seed in range(20):
        buffers.restart(RandomStream(seed))
        numbers = sample(logits, buffers, 64)[1].tolist()
        for count in (1, 20, 64):
            draw = Record(64).read(numbers, count)
            sampler = Sampler(controls, 200, CPU)
            expected = sampler.draw(logits, History([], [], 200, CPU), RandomStream(seed), count)
            assert [token for token, _, _ in draw.candidates] == [t for t, _, _ in expected.candidates]
            assert draw.token == expected.token
