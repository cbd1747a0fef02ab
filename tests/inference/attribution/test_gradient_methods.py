"""First order and gradient methods against finite differences and autograd by hand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from inference.attribution import (
    atman,
    coarse_to_fine,
    first_order,
    gradient_times_input,
    gradients,
    integrated_gradients,
    softmax_taps,
)
from inference.attribution.differentiable import fused_norm, rms_norms
from inference.attribution.task import Task
from inference.errors import NotAvailable, OutOfMemory
from inference.passes.attention_masks import attention_masks, mask_layout
from inference.steering import REMOVED


@pytest.mark.parametrize("name", ["tiny_llama", "tiny_mistral"])
@pytest.mark.parametrize("mode", ["log-additive", "multiplicative"])
def test_first_order_matches_finite_differences_of_the_exact_scores(
    mode: str, name: str, request: Any, task: Any, scored: Any
) -> None:
    # In float64 the difference quotient at 1 +- 1e-4 is the derivative to about 1e-8.
    model = request.getfixturevalue(name).double()
    try:
        step = 1e-4
        lower = scored(atman, task(model, "word", mode=mode, factor=1 - step)).double()
        upper = scored(atman, task(model, "word", mode=mode, factor=1 + step)).double()
        slopes = (lower - upper) / (2 * step)
        near = 0.999
        linear = scored(first_order, task(model, "word", mode=mode, factor=near)).double()
        scale = 1 - near if mode == "multiplicative" else -torch.tensor(near).double().log()
        torch.testing.assert_close(linear / scale, slopes, atol=1e-2 * float(slopes.abs().max()), rtol=1e-2)
    finally:
        model.float()


@pytest.mark.parametrize("mode", ["log-additive", "multiplicative"])
def test_first_order_tends_to_the_exact_scores_near_factor_one(
    mode: str, tiny_llama: Any, task: Any, scored: Any
) -> None:
    model = tiny_llama.double()
    try:
        exact = scored(atman, task(model, "token", mode=mode, factor=0.999))
        linear = scored(first_order, task(model, "token", mode=mode, factor=0.999))
    finally:
        model.float()
    assert (linear - exact).norm() <= 1e-2 * exact.norm()


def test_one_backward_pass_gives_the_sum_of_the_rows(tiny_llama: Any, task: Any, scored: Any) -> None:
    for method in (first_order, gradient_times_input, integrated_gradients):
        rows = scored(method, task(tiny_llama, "word", per_token=True))
        one = scored(method, task(tiny_llama, "word", per_token=False))
        assert (len(rows), len(one)) == (3, 1)
        torch.testing.assert_close(one[0], rows.sum(0), atol=1e-4, rtol=1e-4)


def test_factor_zero_has_a_finite_first_order_score(tiny_llama: Any, task: Any, scored: Any) -> None:
    assert scored(first_order, task(tiny_llama, "word", factor=0.0)).isfinite().all()


@pytest.mark.parametrize("mode", ["log-additive", "multiplicative"])
def test_first_order_under_controls_tends_to_the_exact_scores(
    mode: str, tiny_llama: Any, task: Any, scored: Any
) -> None:
    how: Any = {"mode": mode, "factor": 0.999, "controlled": (1.0, 0.3, 1.0, 2.0, 0.0)}
    model = tiny_llama.double()
    try:
        exact = scored(atman, task(model, "token", **how))
        linear = scored(first_order, task(model, "token", **how))
    finally:
        model.float()
    assert (linear - exact).norm() <= 1e-2 * exact.norm()


def test_each_softmax_is_followed_exactly(tiny_llama: Any, task: Any, scored: Any) -> None:
    """One layer: its attention's outputs under suppression, and the gradient by them, both from hooks."""
    made = task(tiny_llama, "word", factor=0.0, layers=(0, 0), per_token=False)
    ids, projection = made.ids, tiny_llama.model.layers[0].self_attn.o_proj
    seen: list[Tensor] = []

    def note(_: Any, arguments: tuple[Tensor]) -> tuple[Tensor]:
        inputs = arguments[0].detach().requires_grad_(True)
        seen.append(inputs)
        return (inputs,)

    hook = projection.register_forward_pre_hook(note)
    try:
        made.objective.values(tiny_llama(ids).logits[:, -3:]).sum().backward()
        slopes, plain = seen[0].grad, seen[0].detach()
        assert slopes is not None
        expected = []
        for segment in made.segments:
            bias = torch.zeros(1, ids.shape[1])
            bias[0, list(segment.tokens)] = REMOVED
            layout = mask_layout(tiny_llama.config)
            size = {"query_start": 0, "query_count": ids.shape[1], "dtype": torch.float32}
            tiny_llama(ids, attention_mask=attention_masks(layout, bias, **size))
            expected.append(-float((slopes * (seen[-1].detach() - plain)).sum()))
    finally:
        hook.remove()
    torch.testing.assert_close(scored(first_order, made)[0], torch.tensor(expected), atol=1e-4, rtol=1e-3)


def test_following_the_softmax_ranks_better(tiny_llama: Any, task: Any, scored: Any) -> None:
    exact = scored(atman, task(tiny_llama, "token")).sum(0)
    followed = scored(first_order, task(tiny_llama, "token")).sum(0)
    plain = scored(first_order, task(tiny_llama, "token", settings={"saturation": False})).sum(0)
    assert (followed - exact).norm() < (plain - exact).norm()


def test_related_words_to_first_order(tiny_llama: Any, task: Any, scored: Any) -> None:
    how: Any = {"factor": 0.999, "similarity_threshold": 0.2}
    model = tiny_llama.double()
    try:
        exact = scored(atman, task(model, "token", **how))
        linear = scored(first_order, task(model, "token", **how))
    finally:
        model.float()
    assert (linear - exact).norm() <= 1e-2 * exact.norm()


def test_plain_first_order_in_a_range_of_layers(tiny_llama: Any, task: Any, scored: Any) -> None:
    plain = {"saturation": False}
    parts = [
        scored(first_order, task(tiny_llama, "word", layers=(layer, layer), settings=plain))
        for layer in range(3)
    ]
    whole = scored(first_order, task(tiny_llama, "word", settings=plain))
    torch.testing.assert_close(sum(parts), whole, atol=1e-4, rtol=1e-4)


def by_hand(model: Any, task: Task, embeddings: Tensor) -> tuple[Tensor, Tensor]:
    """The target's log-probability and its gradient with respect to (tokens, hidden) embeddings."""
    point = embeddings.clone().requires_grad_(True)
    logits = model(inputs_embeds=point[None]).logits[0].log_softmax(-1)
    first = task.passage.length - 1
    value = sum(logits[first + row, token] for row, token in enumerate(task.passage.target_ids))
    assert isinstance(value, Tensor)
    value.backward()
    assert point.grad is not None
    return value.detach(), point.grad


def sums(task: Task, by_token: Tensor) -> Tensor:
    return torch.stack([by_token[list(segment.tokens)].sum() for segment in task.segments])


def test_gradient_times_input_is_the_dot_product(tiny_llama: Any, task: Any, scored: Any) -> None:
    made = task(tiny_llama, "word", per_token=False)
    embeddings = tiny_llama.get_input_embeddings()(torch.tensor(made.passage.read_ids))
    _, slope = by_hand(tiny_llama, made, embeddings)
    expected = sums(made, (slope * embeddings).sum(-1))
    torch.testing.assert_close(scored(gradient_times_input, made)[0], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("baseline", ["zero", "mean"])
def test_integrated_gradients_average_along_the_way(
    baseline: str, tiny_llama: Any, task: Any, scored: Any
) -> None:
    made = task(tiny_llama, "word", per_token=False, settings={"steps": 8, "baseline": baseline})
    embeddings = tiny_llama.get_input_embeddings()(torch.tensor(made.passage.read_ids))
    start = embeddings.clone()
    table = tiny_llama.get_input_embeddings().weight
    start[: made.passage.length] = 0.0 if baseline == "zero" else table.mean(0)
    average = torch.zeros_like(embeddings)
    for step in range(8):
        average += by_hand(tiny_llama, made, start + (step + 0.5) / 8 * (embeddings - start))[1] / 8
    expected = sums(made, (average * (embeddings - start)).sum(-1))
    torch.testing.assert_close(scored(integrated_gradients, made)[0], expected, atol=1e-3, rtol=1e-3)


def test_integrated_gradients_add_up_to_what_the_context_adds(
    tiny_llama: Any, task: Any, scored: Any
) -> None:
    settings = {"steps": 256, "baseline": "mean"}
    made = task(tiny_llama, "token", per_token=False, settings=settings, include_special=True)
    ids = torch.tensor(made.passage.read_ids)
    embeddings = tiny_llama.get_input_embeddings()(ids)
    start = embeddings.clone()
    start[: made.passage.length] = tiny_llama.get_input_embeddings().weight.mean(0)
    difference = by_hand(tiny_llama, made, embeddings)[0] - by_hand(tiny_llama, made, start)[0]
    torch.testing.assert_close(scored(integrated_gradients, made).sum(), difference, atol=0.02, rtol=0.01)


def test_integrated_gradients_say_how_much_is_missing(tiny_llama: Any, task: Any) -> None:
    def last_note(steps: int, baseline: str) -> str:
        settings = {"steps": steps, "baseline": baseline}
        made = task(tiny_llama, "token", per_token=False, settings=settings, include_special=True)
        *_, last = integrated_gradients.score(made)
        missing = re.search(r"add up to (\S+) of (\S+) nats", last.note)
        assert missing is None or float(missing[1]) == pytest.approx(float(last.values.sum()), abs=0.006)
        return str(last.note)

    assert last_note(8, "mean")
    assert not last_note(256, "mean")


def test_a_model_without_gradients_says_so(
    tiny_llama: Any, task: Any, scored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = task(tiny_llama, "word")
    plain = made.reader.differentiable

    @contextmanager
    def cut_off(*arguments: Any, **named: Any) -> Iterator[Tensor]:
        with plain(*arguments, **named) as logits:
            yield logits.detach()

    monkeypatch.setattr(made.reader, "differentiable", cut_off)
    with pytest.raises(NotAvailable, match="backward"):
        scored(first_order, made)


@pytest.mark.parametrize("mode", ["log-additive", "multiplicative"])
def test_layers_computed_again_give_the_same_gradients(
    mode: str, tiny_llama: Any, task: Any, scored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = (first_order, gradient_times_input, integrated_gradients)
    plain = [scored(method, task(tiny_llama, "word", mode=mode)) for method in methods]
    monkeypatch.setattr(gradients, "must_recompute", lambda _, **__: True)
    for method, expected in zip(methods, plain, strict=True):
        found = scored(method, task(tiny_llama, "word", mode=mode))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert not any("forward" in vars(module) for module in tiny_llama.modules())


@pytest.fixture
def short_of_memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[Task, bool], list[bool]]:
    """Let a task's gradients run out of memory; returns what was tried (whether layers are recomputed)."""

    def make(made: Task, even_recomputed: bool) -> list[bool]:
        plain, tried = made.reader.differentiable, []

        @contextmanager
        def short(*arguments: Any, recompute: bool = False, **more: Any) -> Iterator[Tensor]:
            tried.append(recompute)
            with plain(*arguments, recompute=recompute, **more) as logits:
                if even_recomputed or not recompute:
                    raise torch.OutOfMemoryError("CUDA out of memory")
                yield logits

        monkeypatch.setattr(made.reader, "differentiable", short)
        return tried

    return make


@pytest.mark.parametrize("method", [first_order, gradient_times_input, integrated_gradients])
def test_a_gradient_that_does_not_fit_is_computed_again_layer_by_layer(
    method: Any, tiny_llama: Any, task: Any, scored: Any, short_of_memory: Any
) -> None:
    expected = scored(method, task(tiny_llama, "word"))
    made = task(tiny_llama, "word")
    tried = short_of_memory(made, False)
    torch.testing.assert_close(scored(method, made), expected, atol=1e-5, rtol=1e-5)
    assert tried[:2] == [False, True]
    made = task(tiny_llama, "word")
    short_of_memory(made, True)
    with pytest.raises(OutOfMemory, match="gradient"):
        scored(method, made)
    assert not any("forward" in vars(module) for module in tiny_llama.modules())


def test_coarse_to_fine_without_room_for_a_gradient_goes_by_sentences(
    tiny_llama: Any, task: Any, scored: Any, short_of_memory: Any
) -> None:
    expected = scored(coarse_to_fine, task(tiny_llama, "token", settings={"coarse": "sentences"}))
    made = task(tiny_llama, "token")
    short_of_memory(made, True)
    torch.testing.assert_close(scored(coarse_to_fine, made), expected, atol=1e-5, rtol=1e-5)


def test_weights_of_recomputed_layers_are_not_kept(
    tiny_llama: Any, task: Any, scored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []
    plain = softmax_taps.SoftmaxTaps.collect

    def collect(self: Any, number: int, slopes: Tensor) -> None:
        kept.append(len(self._weights))
        plain(self, number, slopes)

    monkeypatch.setattr(softmax_taps.SoftmaxTaps, "collect", collect)
    expected = scored(first_order, task(tiny_llama, "word"))
    assert max(kept) == 3
    kept.clear()
    monkeypatch.setattr(gradients, "must_recompute", lambda _, **__: True)
    monkeypatch.setattr(softmax_taps, "_AT_ONCE", 1)  # one head at a time, too
    torch.testing.assert_close(scored(first_order, task(tiny_llama, "word")), expected, atol=1e-5, rtol=1e-5)
    assert set(kept) == {1}


def test_the_memory_of_a_gradient_counts_the_attention_weights(tiny_llama: Any, task: Any) -> None:
    made = task(tiny_llama, "word")
    length = len(made.passage.read_ids)
    plain = gradients.gradient_tokens(made, passes=1).memory
    more = gradients.gradient_tokens(made, passes=1, weights=True).memory
    layers, heads = tiny_llama.config.num_hidden_layers, tiny_llama.config.num_attention_heads
    assert more - plain == layers * heads * length**2 * 8


def test_gradients_work_inside_inference_mode(tiny_llama: Any, task: Any, scored: Any) -> None:
    expected = scored(first_order, task(tiny_llama, "word"))
    with torch.inference_mode():
        inside = scored(first_order, task(tiny_llama, "word"))
        also = scored(gradient_times_input, task(tiny_llama, "word"))
    torch.testing.assert_close(inside, expected)
    torch.testing.assert_close(also, scored(gradient_times_input, task(tiny_llama, "word")))


def test_a_models_rms_norms_are_told_by_what_they_compute(tiny_llama: Any) -> None:
    norms = rms_norms(tiny_llama)
    assert len(norms) == 2 * tiny_llama.config.num_hidden_layers + 1
    inputs = torch.randn(3, tiny_llama.config.hidden_size, generator=torch.Generator().manual_seed(3))
    for norm in norms:
        torch.testing.assert_close(fused_norm(norm)(inputs), norm(inputs))
        half = inputs.half()
        assert torch.equal(fused_norm(norm)(half), norm(half)), "another precision goes the plain way"
    from transformers.models.gemma.modeling_gemma import GemmaRMSNorm

    assert rms_norms(torch.nn.Sequential(GemmaRMSNorm(8))) == []
