"""Factors on a model against the same edit of the attention scores in a slow one."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers import DynamicCache, StaticCache, set_seed

from inference.errors import NotAvailable
from inference.passes.attention_masks import attention_masks, mask_layout, masks_in_layers, scaled_keys
from inference.steering import REMOVED, log_bias

FACTORS = (1.0, 0.1, 1.0, 4.0, 1.0, 0.0, 1.0, 0.5, 1.0, 1.0, 0.1, 1.0, 1.0, 2.0)


def run(model: Any, ids: list[int], mask: Any, cache: Any = None) -> Tensor:
    with torch.no_grad():
        return model(
            torch.tensor([ids]), attention_mask=mask, past_key_values=cache, use_cache=cache is not None
        ).logits[0]


def biases() -> Tensor:
    return torch.tensor([[log_bias(factor) for factor in FACTORS]])


def masks(model: Any, start: int, count: int, bias: Tensor, cache: Any = None) -> Any:
    layout = mask_layout(model.config)
    return attention_masks(
        layout, bias, query_start=start, query_count=count, cache=cache, dtype=torch.float32
    )


@pytest.mark.parametrize("name", ["tiny_llama", "tiny_mistral"])
def test_the_slow_model_is_the_fast_one(name: str, request: Any, slow: Any, prompt_ids: list[int]) -> None:
    model = request.getfixturevalue(name)
    torch.testing.assert_close(
        run(model, prompt_ids, None).double(), slow(model).logits(prompt_ids), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("name", ["tiny_llama", "tiny_mistral"])
def test_log_additive_equals_adding_ln_of_the_factor_to_the_scores(
    name: str, request: Any, slow: Any, prompt_ids: list[int]
) -> None:
    model = request.getfixturevalue(name)
    expected = slow(model).logits(prompt_ids, lambda scores: scores + biases()[0].double())
    steered = run(model, prompt_ids, masks(model, 0, len(prompt_ids), biases()))
    torch.testing.assert_close(steered.double(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["tiny_llama", "tiny_mistral"])
def test_multiplicative_equals_multiplying_the_scores(
    name: str, request: Any, slow: Any, prompt_ids: list[int]
) -> None:
    model = request.getfixturevalue(name)
    factors = torch.tensor([FACTORS])
    expected = slow(model).logits(prompt_ids, lambda scores: scores * factors[0].double())
    cache = DynamicCache(config=model.config)
    with scaled_keys(cache, factors):
        steered = run(model, prompt_ids, None, cache)
    torch.testing.assert_close(steered.double(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("mode", ["log-additive", "multiplicative"])
@pytest.mark.parametrize("kind", ["dynamic", "static"])
@pytest.mark.parametrize("name", ["tiny_llama", "tiny_mistral"])
def test_reading_in_pieces_with_a_cache_equals_reading_at_once(
    name: str, kind: str, mode: str, request: Any, prompt_ids: list[int]
) -> None:
    model = request.getfixturevalue(name)
    full = DynamicCache()
    if mode == "multiplicative":
        with scaled_keys(full, torch.tensor([FACTORS])):
            expected = run(model, prompt_ids, None, full)
    else:
        expected = run(model, prompt_ids, masks(model, 0, len(prompt_ids), biases()))
    dynamic = kind == "dynamic"
    cache = (
        DynamicCache(config=model.config) if dynamic else StaticCache(config=model.config, max_cache_len=32)
    )
    read = []
    for start, end in [(0, 5), (5, 9), *((at, at + 1) for at in range(9, len(prompt_ids)))]:
        ids = prompt_ids[start:end]
        if mode == "multiplicative":
            with scaled_keys(cache, torch.tensor([FACTORS])):
                read.append(run(model, ids, masks(model, start, len(ids), torch.zeros(1, 0), cache), cache))
        else:
            read.append(run(model, ids, masks(model, start, len(ids), biases(), cache), cache))
    torch.testing.assert_close(torch.cat(read), expected, atol=1e-4, rtol=0)


def test_scaling_keys_leaves_the_cache_as_it_was(tiny_llama: Any, prompt_ids: list[int]) -> None:
    plain, scaled = DynamicCache(), DynamicCache()
    run(tiny_llama, prompt_ids, None, plain)
    with scaled_keys(scaled, torch.tensor([FACTORS])):
        run(tiny_llama, prompt_ids, None, scaled)
    torch.testing.assert_close(scaled.layers[0].keys, plain.layers[0].keys, atol=0, rtol=0)
    assert "update" not in vars(scaled)


def test_suppressing_a_token_never_changes_earlier_positions(tiny_llama: Any, prompt_ids: list[int]) -> None:
    bias = torch.zeros(1, len(prompt_ids))
    before = run(tiny_llama, prompt_ids, masks(tiny_llama, 0, len(prompt_ids), bias))
    bias[0, 6] = log_bias(0.1)
    after = run(tiny_llama, prompt_ids, masks(tiny_llama, 0, len(prompt_ids), bias))
    assert torch.equal(after[:6], before[:6])
    assert (after[6:] - before[6:]).abs().amax(-1).min() > 1e-3


def test_factor_zero_removes_the_attention_entirely(
    tiny_llama: Any, slow: Any, prompt_ids: list[int]
) -> None:
    def remove(scores: Tensor) -> Tensor:
        scores[:, 7:, 6] = -math.inf
        scores[:, 6, 6] = -math.inf
        return scores

    bias = torch.zeros(1, len(prompt_ids))
    bias[0, 6] = REMOVED
    steered = run(tiny_llama, prompt_ids, masks(tiny_llama, 0, len(prompt_ids), bias))
    torch.testing.assert_close(
        steered.double(), slow(tiny_llama).logits(prompt_ids, remove), atol=1e-4, rtol=0
    )


def test_a_query_that_may_see_only_suppressed_keys_stays_finite(
    tiny_llama: Any, prompt_ids: list[int]
) -> None:
    everything = torch.full((1, len(prompt_ids)), REMOVED)
    assert run(tiny_llama, prompt_ids, masks(tiny_llama, 0, len(prompt_ids), everything)).isfinite().all()


@pytest.mark.parametrize("mode", ["log-additive", "multiplicative"])
def test_a_range_of_layers(mode: str, tiny_llama: Any, slow: Any, prompt_ids: list[int]) -> None:
    if mode == "log-additive":
        expected = slow(tiny_llama).logits(prompt_ids, {1: lambda scores: scores + biases()[0].double()})
        steered = masks(tiny_llama, 0, len(prompt_ids), biases())
        neutral = masks(tiny_llama, 0, len(prompt_ids), torch.zeros(1, 0))
        with masks_in_layers(tiny_llama, steered, neutral, (1, 1)):
            logits = run(tiny_llama, prompt_ids, steered)
    else:
        factors = torch.tensor([FACTORS])
        expected = slow(tiny_llama).logits(prompt_ids, {1: lambda scores: scores * factors[0].double()})
        cache = DynamicCache()
        with scaled_keys(cache, factors, layers=(1, 1)):
            logits = run(tiny_llama, prompt_ids, None, cache)
    torch.testing.assert_close(logits.double(), expected, atol=1e-4, rtol=0)
    after = run(tiny_llama, prompt_ids, None)
    torch.testing.assert_close(after.double(), slow(tiny_llama).logits(prompt_ids), atol=1e-4, rtol=0)


SMALL = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
    "pad_token_id": 0,
}
FAMILIES = {
    "Llama": {},
    "Mistral": {"sliding_window": 5},
    "Mixtral": {"sliding_window": 5, "num_local_experts": 4},
    "Qwen2": {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 2},
    "Qwen3": {"head_dim": 8},
    "Phi3": {"sliding_window": 5},
    "Gemma2": {"sliding_window": 5, "head_dim": 8, "attn_implementation": "eager"},
    "Gemma3": {"sliding_window": 5, "head_dim": 8, "sliding_window_pattern": 2},
    "Cohere2": {"sliding_window": 5, "sliding_window_pattern": 2},
    "GptOss": {"sliding_window": 5, "head_dim": 8, "num_local_experts": 4},
    "GPTNeoX": {},
    "GPT2": {"n_positions": 64, "n_embd": 32, "n_layer": 4, "n_head": 4},
    "Falcon": {"new_decoder_architecture": False, "alibi": False},
    "SmolLM3": {},
    "Starcoder2": {"sliding_window": 5},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_takes_the_masks(family: str, prompt_ids: list[int]) -> None:
    config_name = family + ("TextConfig" if family == "Gemma3" else "Config")
    config = getattr(transformers, config_name)(**(SMALL | FAMILIES[family]))
    set_seed(3)
    head = "LMHeadModel" if family == "GPT2" else "ForCausalLM"
    model = getattr(transformers, family + head)(config).eval()
    plain = run(model, prompt_ids, None)
    bias = torch.zeros(1, len(prompt_ids))
    neutral = run(model, prompt_ids, masks(model, 0, len(prompt_ids), bias))
    torch.testing.assert_close(neutral, plain, atol=1e-4, rtol=1e-4)
    bias[0, 9] = log_bias(0.1)
    steered = run(model, prompt_ids, masks(model, 0, len(prompt_ids), bias))
    torch.testing.assert_close(steered[:9], neutral[:9], atol=1e-5, rtol=1e-5)
    assert (steered[9:] - neutral[9:]).abs().max() > 1e-4


def test_architectures_without_attention_say_why_they_cannot() -> None:
    with pytest.raises(NotAvailable, match="no attention"):
        mask_layout(transformers.MambaConfig())


def test_architectures_that_make_their_masks_themselves_are_known() -> None:
    assert mask_layout(transformers.BloomConfig()).own_masks
    assert mask_layout(transformers.FalconConfig(alibi=True)).own_masks
    assert not mask_layout(transformers.FalconConfig(alibi=False)).own_masks
