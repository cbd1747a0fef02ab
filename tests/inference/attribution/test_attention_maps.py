"""Attention weights against a slow model that shows them, whole and in chunks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor
from transformers import set_seed

from inference.events import AttentionMap, AttentionRequest, AttentionStarted, Failed
from inference.inspection.attention_maps import Thumbnails, attention_weights
from inference.running import new_run_id
from inference.session import Session


def whole(model: Any, ids: list[int], layer: int, chunk: int | None, first: int = 0) -> Tensor:
    rows = torch.zeros(4, len(ids) - first, len(ids))
    for found, start, weights in attention_weights(model, ids, [layer], range(4), first=first, chunk=chunk):
        assert found == layer
        rows[:, start - first : start - first + weights.shape[1], : weights.shape[2]] = weights
    return rows


@pytest.mark.parametrize("chunk", [None, 4, 1])
@pytest.mark.parametrize("name", ["tiny_llama", "tiny_mistral"])
def test_weights_equal_those_of_the_slow_model(
    name: str, chunk: int | None, request: Any, slow: Any, prompt_ids: list[int]
) -> None:
    model = request.getfixturevalue(name)
    before = model.config._attn_implementation
    hidden = model(torch.tensor([prompt_ids]), output_hidden_states=True).hidden_states
    for layer in (0, 2):
        normed = model.model.layers[layer].input_layernorm(hidden[layer])[0].double()
        expected = slow(model).attention(layer, normed)
        found = whole(model, prompt_ids, layer, chunk)
        torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=0)
    assert model.config._attn_implementation == before


def test_later_queries_only(tiny_llama: Any, prompt_ids: list[int]) -> None:
    all_of_them = whole(tiny_llama, prompt_ids, 1, 5)
    torch.testing.assert_close(whole(tiny_llama, prompt_ids, 1, 5, first=7), all_of_them[:, 7:])


def test_the_model_computes_as_before_afterwards(tiny_llama: Any, prompt_ids: list[int]) -> None:
    ids = torch.tensor([prompt_ids])
    before = tiny_llama(ids).logits
    list(attention_weights(tiny_llama, prompt_ids, [0], [0]))
    assert torch.equal(tiny_llama(ids).logits, before)


def test_a_thumbnail_holds_the_largest_weight_of_each_cell() -> None:
    weights = torch.rand(2, 10, 12).tril(2)
    grid = Thumbnails(3, first=2, end=12, heads=2)
    for start in (0, 4, 8):
        grid.add(0, 2 + start, weights[:, start : start + 4])
    for head in range(2):
        for row in range(3):
            for column in range(3):
                cell = [
                    float(weights[head, query, key])
                    for query in range(10)
                    for key in range(12)
                    if query * 3 // 10 == row and key * 3 // 12 == column
                ]
                assert float(grid.of(0)[head, row, column]) == pytest.approx(max(cell))


@pytest.mark.parametrize("family", ["GPT2", "GPTNeoX", "Gemma2", "Qwen3"])
def test_rows_are_distributions_over_earlier_tokens(family: str, prompt_ids: list[int]) -> None:
    set_seed(1)
    small: dict[str, Any] = {
        "vocab_size": 97, "hidden_size": 32, "n_embd": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "n_layer": 2, "num_attention_heads": 4, "n_head": 4, "num_key_value_heads": 2, "head_dim": 8,
        "max_position_embeddings": 64, "pad_token_id": 0,
    }  # fmt: skip
    if family == "GPT2":
        small = {name: small[name] for name in ("vocab_size", "n_embd", "n_layer", "n_head")}
    head = "LMHeadModel" if family == "GPT2" else "ForCausalLM"
    config = getattr(transformers, family + "Config")(**small)
    model = getattr(transformers, family + head)(config).eval()
    found = whole(model, prompt_ids, 1, 5)
    torch.testing.assert_close(found.sum(-1), torch.ones(4, len(prompt_ids)), atol=1e-4, rtol=0)
    assert found.triu(1).abs().max() == 0


def test_a_run_sends_float16_matrices(session: Session, run: Callable[..., Any]) -> None:
    request = AttentionRequest(run_id=new_run_id(), prompt="The quick brown fox", layers=(2, 0), heads=(1, 3))
    started, *maps, _ = run(session, request)
    assert isinstance(started, AttentionStarted)
    count = len(started.tokens)
    assert [(each.layer, each.head) for each in maps] == [(2, 1), (2, 3), (0, 1), (0, 3)]
    for each in maps:
        assert isinstance(each, AttentionMap)
        matrix = np.frombuffer(each.weights, dtype="<f2").reshape(each.rows, each.columns)
        assert matrix.shape == (count, count)
        np.testing.assert_allclose(matrix.astype(float).sum(1), 1, atol=5e-3)


def test_thumbnails_of_all_heads(session: Session, run: Callable[..., Any]) -> None:
    request = AttentionRequest(run_id=new_run_id(), prompt="The quick brown fox", layers=(1,), grid=2)
    _, *maps, _ = run(session, request)
    assert [(each.head, each.rows, each.columns) for each in maps] == [(head, 2, 2) for head in range(4)]


@pytest.mark.parametrize("wrong", [{"layers": ()}, {"layers": (3,)}, {"heads": (4,)}, {"first": 99}])
def test_what_does_not_exist_is_refused(session: Session, run: Any, wrong: dict[str, Any]) -> None:
    request = AttentionRequest(**({"run_id": new_run_id(), "prompt": "The", "layers": (0,)} | wrong))
    events = run(session, request)
    assert isinstance(events[-1], Failed)
    assert events[-1].kind == "invalid-request"
