"""The cache that the engine owns holds what transformers' own would."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import DynamicCache, PreTrainedModel

from inference.passes.kv_cache import BufferedLayer, cache_bytes, can_crop, crop, new_cache

STEPS = st.lists(st.tuples(st.integers(1, 400), st.integers(0, 30)), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_it_equals_a_dynamic_cache_through_growing_and_cropping(steps: list[tuple[int, int]]) -> None:
    ours, theirs = new_cache_of_two(), DynamicCache()
    generator = torch.Generator().manual_seed(0)
    for added, removed in steps:
        for layer in range(2):
            keys, values = torch.randn(2, 1, 2, added, 4, generator=generator)
            got, expected = ours.update(keys, values, layer), theirs.update(keys, values, layer)
            assert torch.equal(got[0], expected[0])
            assert torch.equal(got[1], expected[1])
        length = ours.get_seq_length() - min(removed, ours.get_seq_length() - 1)
        crop(ours, length)
        crop(theirs, length)
        assert ours.get_seq_length() == theirs.get_seq_length() == length
        assert ours.get_mask_sizes(3, 0) == theirs.get_mask_sizes(3, 0)


def new_cache_of_two() -> Any:
    cache = DynamicCache()
    cache.layers = [BufferedLayer(), BufferedLayer()]
    return cache


def test_steps_write_into_the_same_memory() -> None:
    layer = BufferedLayer()
    layer.update(torch.zeros(1, 1, 10, 4), torch.zeros(1, 1, 10, 4))
    before = layer.keys.data_ptr()
    for _ in range(100):
        layer.update(torch.ones(1, 1, 1, 4), torch.ones(1, 1, 1, 4))
    assert layer.keys.data_ptr() == before


def test_no_more_is_reserved_than_the_context_holds() -> None:
    layer = BufferedLayer(limit=1000)
    layer.update(torch.zeros(1, 1, 900, 4), torch.zeros(1, 1, 900, 4))
    assert layer.bytes() == 2 * 1000 * 4 * 4


def test_changed_batches_do_not_write_into_each_other() -> None:
    layer = BufferedLayer()
    layer.update(torch.zeros(1, 1, 3, 4), torch.zeros(1, 1, 3, 4))
    layer.batch_repeat_interleave(2)
    new = torch.arange(2.0)[:, None, None, None].expand(2, 1, 1, 4)
    keys, _ = layer.update(new, new)
    assert keys.shape == (2, 1, 4, 4)
    assert keys[:, 0, -1, 0].tolist() == [0.0, 1.0]
    layer.batch_select_indices(torch.tensor([1]))
    assert layer.update(new[:1], new[:1])[0][0, 0, 3:, 0].tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("family", "length", "expected"), [("llama", 40, True), ("sliding", 40, False), ("sliding", 10, True)]
)
def test_windows_that_have_dropped_keys_are_not_cropped(
    family: str, length: int, expected: bool, families: dict[str, PreTrainedModel]
) -> None:
    cache = new_cache(families[family].config)
    with torch.inference_mode():
        families[family](input_ids=torch.arange(length)[None], past_key_values=cache)
    assert can_crop(cache) is expected


@pytest.mark.parametrize("family", ["llama", "sliding", "gpt2", "mamba"])
def test_bytes_are_counted(family: str, families: dict[str, PreTrainedModel]) -> None:
    cache = new_cache(families[family].config)
    assert cache_bytes(cache) == 0
    name = "cache_params" if family == "mamba" else "past_key_values"
    with torch.inference_mode():
        families[family](input_ids=torch.arange(10)[None], use_cache=True, **{name: cache})
    assert cache_bytes(cache) > 0
