"""What the decode loop wraps around a forward pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM, set_seed

from inference.errors import InvalidRequest
from inference.events import AttentionControl, SteeringOptions
from inference.passes.steered_forward import prompt_factors, steered
from inference.related_tokens import neighbours

IDS = [1, 5, 9, 7, 9, 4]


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    set_seed(5)
    sizes = {"vocab_size": 31, "hidden_size": 16, "intermediate_size": 24, "initializer_range": 0.3}
    config = LlamaConfig(**sizes, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1)
    return LlamaForCausalLM(config).eval().requires_grad_(False)


def read(model: Any, factors: tuple[float, ...], options: SteeringOptions, sizes: list[int]) -> torch.Tensor:
    cache, start, rows = DynamicCache(config=model.config), 0, []
    for size in sizes:
        ids = torch.tensor([IDS[start : start + size]])
        with steered(model, factors, options, cache=cache, query_start=start, query_count=size) as mask:
            rows.append(model(ids, attention_mask=mask, past_key_values=cache).logits[0])
        start += size
    return torch.cat(rows)


def test_neutral_factors_leave_the_run_as_it_was_bit_for_bit(model: Any) -> None:
    plain = model(torch.tensor([IDS])).logits[0]
    for mode in ("log-additive", "multiplicative"):
        assert torch.equal(read(model, (1.0,) * 6, SteeringOptions(mode=mode), [6]), plain)


@pytest.mark.parametrize("layers", [None, (1, 1)])
@pytest.mark.parametrize("mode", ["log-additive", "multiplicative"])
def test_token_by_token_equals_all_at_once(model: Any, mode: Any, layers: Any) -> None:
    options, factors = SteeringOptions(mode=mode, layers=layers), (1.0, 0.2, 3.0)
    at_once = read(model, factors, options, [6])
    torch.testing.assert_close(read(model, factors, options, [3, 1, 1, 1]), at_once, atol=1e-5, rtol=0)
    assert (at_once - model(torch.tensor([IDS])).logits[0]).abs().max() > 1e-3


def test_layers_that_the_model_does_not_have_are_refused(model: Any) -> None:
    with pytest.raises(InvalidRequest, match="Layers 1 to 2"):
        read(model, (0.5,), SteeringOptions(layers=(1, 2)), [6])


def test_related_words_follow_the_one_that_is_controlled() -> None:
    half = 0.5**0.5
    table = torch.tensor([[0.0, 0.0], [1.0, 0.0], [half, half], [0.0, 1.0]])
    ids = [0, 1, 2, 3, 1]
    found = neighbours((1.0, 0.2, 1.0, 1.0, 1.0), ids, table, 0.6)
    assert [(each.index, each.of) for each in found] == [(2, 1), (4, 1)]
    assert found[0].cosine == pytest.approx(half)
    assert found[0].factor == pytest.approx(0.8 * (1 - half) + 0.2)
    assert found[1].factor == pytest.approx(0.2)
    protected = (False, False, False, False, True)
    assert [each.index for each in neighbours((1.0, 0.2, 1, 1, 1), ids, table, 0.6, protected=protected)] == [
        2
    ]


def test_prompt_factors_add_related_words_only_when_asked() -> None:
    table = torch.eye(4)[:, :3]
    spans = [(0, 0), (0, 3), (3, 6), (6, 9)]
    control = AttentionControl(start=0, end=3, factor=0.1)
    plain = prompt_factors([control], SteeringOptions(), spans=spans, ids=[1, 2, 0, 2], embeddings=table)
    assert plain == (1.0, 0.1, 1.0, 1.0)
    related = prompt_factors(
        [control], SteeringOptions(similarity_threshold=0.6), spans=spans, ids=[1, 2, 0, 2], embeddings=table
    )
    assert related == pytest.approx((1.0, 0.1, 1.0, 0.1))
