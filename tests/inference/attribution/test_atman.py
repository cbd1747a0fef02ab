"""Exact AtMan and its variants against a slow model whose attention scores are edited."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, set_seed

from inference.attribution import (
    atman,
    coarse_to_fine,
    first_order,
    gradient_times_input,
    integrated_gradients,
    leave_one_out,
    reembedding,
    target_rows,
)
from inference.attribution.passage import Passage, Region
from inference.attribution.reader import Reader
from inference.attribution.task import Task
from inference.errors import NotAvailable, OutOfMemory, RunCancelled
from inference.steering import REMOVED


def slow_scores(model: Any, slow: Any, task: Task, *, rows_from: int = 0) -> Tensor:
    """(T, segments): read everything anew for each segment, with the scores of its keys edited in float64."""
    passage, suppression = task.passage, task.suppression
    ids, first = list(passage.read_ids), passage.length - 1

    def values(edit: Any) -> Tensor:
        if edit is not None and suppression.layers is not None:
            low, high = suppression.layers
            edit = dict.fromkeys(range(low, high + 1), edit)
        logprobs = slow(model).logits(ids, edit).log_softmax(-1)
        return torch.stack([logprobs[first + row, token] for row, token in enumerate(passage.target_ids)])

    base, columns = values(None), []
    table = torch.nn.functional.normalize(model.get_input_embeddings().weight.double()[ids], dim=-1)
    for segment in task.segments:
        factors = torch.ones(len(ids), dtype=torch.float64)
        if suppression.similarity_threshold is not None:
            for other in range(1, passage.length):
                cosine = max(float(table[other] @ table[token]) for token in segment.tokens)
                if cosine >= suppression.similarity_threshold:
                    factors[other] = (1 - suppression.factor) * (1 - cosine) + suppression.factor
        factors[list(segment.tokens)] = suppression.factor

        def edit(scores: Tensor, factors: Tensor = factors) -> Tensor:
            if suppression.mode == "multiplicative":
                scores[:, rows_from:] *= factors
            else:
                scores[:, rows_from:] += factors.log().clamp(min=REMOVED)
            return scores

        columns.append(base - values(edit))
    return torch.stack(columns, dim=1)


@pytest.mark.parametrize("mode", ["log-additive", "multiplicative"])
@pytest.mark.parametrize("granularity", ["token", "word", "sentence", "paragraph", "message"])
@pytest.mark.parametrize("name", ["tiny_llama", "tiny_mistral"])
def test_exact_scores_equal_the_slow_ones(
    name: str, granularity: str, mode: str, request: Any, slow: Any, task: Any, scored: Any
) -> None:
    model = request.getfixturevalue(name)
    made = task(model, granularity, mode=mode)
    expected = slow_scores(model, slow, made)
    assert expected.abs().max() > 0.05
    torch.testing.assert_close(scored(atman, made).double(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "how", [{"factor": 0.0}, {"factor": 5.0}, {"layers": (1, 1)}, {"similarity_threshold": 0.2}]
)
@pytest.mark.parametrize("mode", ["log-additive", "multiplicative"])
def test_other_factors_layers_and_related_words(
    mode: str, how: Any, tiny_llama: Any, slow: Any, task: Any, scored: Any
) -> None:
    made = task(tiny_llama, "word", mode=mode, **how)
    expected = slow_scores(tiny_llama, slow, made)
    torch.testing.assert_close(scored(atman, made).double(), expected, atol=1e-4, rtol=0)


def test_related_words_change_the_scores(tiny_llama: Any, task: Any, scored: Any) -> None:
    alone = scored(atman, task(tiny_llama, "token"))
    related = scored(atman, task(tiny_llama, "token", similarity_threshold=0.2))
    assert (alone - related).abs().max() > 1e-3


@pytest.mark.parametrize("mode", ["log-additive", "multiplicative"])
def test_target_rows_equal_the_slow_ones_edited_in_those_rows(
    mode: str, tiny_llama: Any, slow: Any, task: Any, scored: Any
) -> None:
    made = task(tiny_llama, "token", mode=mode)
    expected = slow_scores(tiny_llama, slow, made, rows_from=made.passage.length - 1)
    torch.testing.assert_close(scored(target_rows, made).double(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("method", [atman, target_rows, coarse_to_fine])
def test_factor_one_changes_nothing_bit_for_bit(method: Any, tiny_llama: Any, task: Any, scored: Any) -> None:
    made = task(tiny_llama, "token", factor=1.0)
    assert torch.equal(scored(method, made), torch.zeros(3, 13))
    assert made.reader.passes == 1


@pytest.mark.parametrize("useful_tokens", [1, 30, 10_000])
def test_the_size_of_batches_does_not_change_the_scores(
    useful_tokens: int, tiny_llama: Any, task: Any, scored: Any
) -> None:
    expected = scored(atman, task(tiny_llama, "token"))
    made = task(tiny_llama, "token", useful_tokens=useful_tokens)
    torch.testing.assert_close(scored(atman, made), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", [atman, target_rows])
@pytest.mark.parametrize("useful_tokens", [1, 40])
def test_the_cost_is_what_is_then_computed(
    method: Any, useful_tokens: int, tiny_llama: Any, task: Any, scored: Any
) -> None:
    made = task(tiny_llama, "token", useful_tokens=useful_tokens)
    cost, passes, tokens = method.cost(made), made.reader.passes, made.reader.tokens
    scored(method, made)
    assert (made.reader.passes - passes, made.reader.tokens - tokens) == (cost.passes, cost.tokens)


def test_one_reading_at_a_time_costs_the_shared_prefix_count(tiny_llama: Any, task: Any) -> None:
    made = task(tiny_llama, "token", useful_tokens=1)
    length = len(made.passage.read_ids)
    assert atman.cost(made).tokens == sum(length - position for position in range(1, made.passage.length))
    assert target_rows.cost(made).tokens == 13 * 3


def test_a_contrast_scores_the_difference_of_log_probabilities(
    tiny_llama: Any, slow: Any, task: Any, scored: Any, passage: Passage
) -> None:
    one = replace(passage, target_ids=(45,), target_spans=((0, 3),))
    this = scored(atman, task(tiny_llama, "token", of=one))
    other = scored(atman, task(tiny_llama, "token", of=replace(one, target_ids=(7,))))
    contrast = scored(atman, task(tiny_llama, "token", of=one, contrast=7))
    torch.testing.assert_close(contrast, this - other, atol=1e-4, rtol=0)


def test_memory_that_runs_out_halves_the_batch(
    tiny_llama: Any, task: Any, scored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = scored(atman, task(tiny_llama, "token"))
    made = task(tiny_llama, "token", useful_tokens=10_000)
    plain: Callable[..., Tensor] = made.reader.reread

    def short(ids: Tensor, *more: Any) -> Tensor:
        if len(ids) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(ids, *more)

    monkeypatch.setattr(made.reader, "reread", short)
    torch.testing.assert_close(scored(atman, made), expected, atol=1e-5, rtol=0)
    assert made.budget.halvings == 2  # 13 -> 6 -> 3


def test_memory_that_does_not_fit_one_reading_is_said(
    tiny_llama: Any, task: Any, scored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = task(tiny_llama, "token")

    def never(*_: Any, **__: Any) -> Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")

    monkeypatch.setattr(made.reader, "reread", never)
    with pytest.raises(OutOfMemory):
        scored(atman, made)


def test_another_error_is_not_taken_for_lack_of_memory(
    tiny_llama: Any, task: Any, scored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = task(tiny_llama, "token")

    def broken(*_: Any, **__: Any) -> Tensor:
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(made.reader, "reread", broken)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        scored(atman, made)


def test_a_cancelled_run_stops_between_batches(tiny_llama: Any, task: Any) -> None:
    made, looks = task(tiny_llama, "token", useful_tokens=1), iter([False] * 4 + [True])

    def check() -> None:
        if next(looks):
            raise RunCancelled

    made.check = check
    parts = atman.score(made)
    assert [next(parts).indices for _ in range(4)] == [(0,), (1,), (2,), (3,)]
    with pytest.raises(RunCancelled):
        next(parts)


def test_a_prompt_of_one_token(tiny_llama: Any, task: Any, scored: Any, passage: Passage) -> None:
    one = replace(
        passage, text="Aa", ids=(17,), spans=((0, 2),), special=(False,), regions=(Region(start=0, end=2),)
    )
    # It looks only at itself, whatever the factor; the target's later tokens look at it and at each other.
    scores = scored(atman, task(tiny_llama, "token", of=one))
    assert scores.shape == (3, 1)
    assert scores[0].abs().max() < 1e-5
    assert scores[1:].abs().min() > 1e-4


@pytest.mark.parametrize("coarse", ["first-order", "sentences"])
def test_coarse_to_fine_is_exact_where_it_measured_and_marks_the_rest(
    coarse: str, tiny_llama: Any, task: Any, scored: Any
) -> None:
    exact = scored(atman, task(tiny_llama, "token"))
    made = task(tiny_llama, "token", settings={"share": 0.3, "coarse": coarse})
    scores, estimates = torch.full((3, 13), torch.nan), torch.full((3, 13), torch.nan)
    estimated: set[int] = set()
    for part in coarse_to_fine.score(made):
        scores[:, list(part.indices)] = part.values
        if part.preview:
            estimates[:, list(part.indices)] = part.values
        estimated = (estimated | set(part.estimated)) if part.preview else estimated - set(part.indices)
    opened = sorted(set(range(13)) - estimated)
    torch.testing.assert_close(scores[:, opened], exact[:, opened], atol=1e-5, rtol=0)
    strength = estimates.sum(0).abs()
    strongest = set(strength.argsort(descending=True)[:4].tolist())
    assert set(opened) == strongest | {0, 11, 12}  # the first, the last fifth, and the strongest
    if coarse == "first-order":
        expected = scored(first_order, task(tiny_llama, "token"))
    else:
        by_sentence = scored(atman, task(tiny_llama, "sentence"))
        sizes = torch.tensor([3, 4, 4, 2])
        expected = (by_sentence / sizes).repeat_interleave(sizes, dim=1)
    torch.testing.assert_close(estimates, expected, atol=1e-5, rtol=1e-5)


def test_coarse_to_fine_without_gradients_goes_by_sentences(
    tiny_llama: Any, task: Any, scored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = scored(coarse_to_fine, task(tiny_llama, "token", settings={"coarse": "sentences"}))
    made = task(tiny_llama, "token")

    def none(*_: Any, **__: Any) -> Tensor:
        raise NotAvailable("no backward pass")

    monkeypatch.setattr(made.reader, "differentiable", none)
    torch.testing.assert_close(scored(coarse_to_fine, made), expected)


def test_coarse_to_fine_of_few_segments_is_exact(tiny_llama: Any, task: Any, scored: Any) -> None:
    expected = scored(atman, task(tiny_llama, "sentence"))
    torch.testing.assert_close(scored(coarse_to_fine, task(tiny_llama, "sentence")), expected)


@pytest.mark.parametrize("mode", ["log-additive", "multiplicative"])
def test_under_controls_segments_are_suppressed_on_top(
    mode: str, tiny_llama: Any, slow: Any, task: Any, scored: Any
) -> None:
    controlled = (1.0, 0.2, 1.0, 3.0, 1.0, 1.0, 0.0, *[1.0] * 6, 2.0)
    made = task(tiny_llama, "word", mode=mode, controlled=controlled)
    ids, first = list(made.passage.read_ids), made.passage.length - 1

    def values(more: dict[int, float]) -> Tensor:
        factors = torch.ones(len(ids), dtype=torch.float64)
        factors[: len(controlled)] = torch.tensor(controlled)
        for token, factor in more.items():
            factors[token] *= factor

        def edit(scores: Tensor) -> Tensor:
            return scores * factors if mode == "multiplicative" else scores + factors.log().clamp(min=REMOVED)

        logprobs = slow(tiny_llama).logits(ids, edit).log_softmax(-1)
        return torch.stack(
            [logprobs[first + row, token] for row, token in enumerate(made.passage.target_ids)]
        )

    base = values({})
    torch.testing.assert_close(made.base.double(), base, atol=1e-4, rtol=0)
    expected = [base - values(dict.fromkeys(segment.tokens, 0.1)) for segment in made.segments]
    torch.testing.assert_close(scored(atman, made).double(), torch.stack(expected, 1), atol=1e-4, rtol=0)


def test_every_method_works_under_controls(tiny_llama: Any, task: Any, scored: Any) -> None:
    for method in (target_rows, first_order, leave_one_out, gradient_times_input, integrated_gradients):
        plain = scored(method, task(tiny_llama, "word"))
        steered = scored(method, task(tiny_llama, "word", controlled=(1.0, 0.1, 5.0)))
        assert (plain - steered).abs().max() > 1e-3
    plain = scored(reembedding, task(tiny_llama, "word"))
    torch.testing.assert_close(scored(reembedding, task(tiny_llama, "word", controlled=(1.0, 0.1))), plain)


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
FAMILIES: dict[str, dict[str, Any]] = {
    "Qwen2": {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 2},
    "Gemma2": {"sliding_window": 5, "head_dim": 8, "attn_implementation": "eager"},
    "GptOss": {"sliding_window": 5, "head_dim": 8, "num_local_experts": 4},
    "GPT2": {"n_positions": 64, "n_embd": 32, "n_layer": 4, "n_head": 4},
    "Falcon": {"new_decoder_architecture": False, "alibi": False},
    "Jamba": {"num_experts": 2, "use_mamba_kernels": False, "attn_layer_period": 2, "attn_layer_offset": 1},
}


@pytest.mark.parametrize("mode", ["log-additive", "multiplicative"])
@pytest.mark.parametrize("family", FAMILIES)
def test_shared_prefixes_equal_full_readings_in_every_family(
    family: str, mode: str, task: Any, scored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = getattr(transformers, family + "Config")(**(SMALL | FAMILIES[family]))
    set_seed(4)
    model = getattr(transformers, family + ("LMHeadModel" if family == "GPT2" else "ForCausalLM"))(
        config
    ).eval()
    made = task(model, "word", mode=mode)
    assert made.reader.shares_prefixes == (family != "Jamba")
    quick = scored(atman, made)
    monkeypatch.setattr(Reader, "shares_prefixes", property(lambda _: False))
    slow = scored(atman, task(model, "word", mode=mode))
    assert slow.abs().max() > 1e-3
    torch.testing.assert_close(quick, slow, atol=1e-4, rtol=1e-3)


def test_bfloat16_comes_near_float32(task: Any, scored: Any, tiny_llama: Any) -> None:
    half = LlamaForCausalLM(LlamaConfig(**tiny_llama.config.to_dict())).eval()
    half.load_state_dict(tiny_llama.state_dict())
    rough = scored(atman, task(half.bfloat16(), "sentence"))
    torch.testing.assert_close(rough, scored(atman, task(tiny_llama, "sentence")), atol=0.15, rtol=0.1)
