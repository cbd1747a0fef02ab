"""Random numbers by seed, step and token: they are exponential, and nothing else moves them."""

from __future__ import annotations

import torch
from scipy import stats

from inference.generation.random_stream import GAMMA, exponentials, key_of

KEY = key_of(5)


def test_it_is_splitmix64() -> None:
    # The first outputs for state 0, as in the generator's published test vector.
    mask = (1 << 64) - 1
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    uniform = [((value >> 12) + 0.5) * 2.0**-52 for value in expected]
    got = exponentials(0, 0, torch.tensor([1, 2, 3])).double().neg().exp()
    torch.testing.assert_close(got, torch.tensor(uniform, dtype=torch.float64), rtol=1e-6, atol=0)
    assert GAMMA & mask == 0x9E3779B97F4A7C15


def test_they_are_exponential_along_the_vocabulary_and_along_the_steps() -> None:
    along_ids = exponentials(KEY, 3, torch.arange(50_000))
    along_steps = torch.cat([exponentials(KEY, step, torch.tensor([17])) for step in range(5_000)])
    for numbers in (along_ids, along_steps):
        assert float(numbers.min()) > 0.0
        assert stats.kstest(numbers.numpy(), "expon").pvalue > 1e-3
    assert abs(float(torch.corrcoef(torch.stack([along_ids[:-1], along_ids[1:]]))[0, 1])) < 0.02


def test_a_window_gets_the_numbers_of_the_whole_and_tensors_do_what_ints_do() -> None:
    whole, some = exponentials(KEY, 7, torch.arange(500)), torch.tensor([44, 3, 499])
    assert torch.equal(exponentials(KEY, 7, some), whole[some])
    assert torch.equal(exponentials(torch.tensor([KEY]), torch.tensor([7]), some), whole[some])


def test_seeds_and_steps_give_other_numbers() -> None:
    ids = torch.arange(200)
    runs = [exponentials(key_of(seed), step, ids) for seed in (-1, 0, 1, 2, 2**40) for step in (0, 1, 2)]
    stacked = torch.corrcoef(torch.stack(runs)).fill_diagonal_(0.0)
    assert float(stacked.abs().max()) < 0.4
