"""Layers that are found by their structure, tried and replaced; the kernels' plain torch twins run here."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from inference.captured.buffers import StepCache, scaled_updates
from inference.kernels import fused_layers
from inference.kernels.compiler import KernelError
from inference.kernels.fused_layer import FusedLayer
from inference.kernels.fused_layers import FusedLayers, install
from inference.kernels.trying import try_layers
from inference.passes.attention_masks import attention_masks, mask_layout

SHAPE = {
    "vocab_size": 61,
    "hidden_size": 48,
    "intermediate_size": 72,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
#: Families whose every layer has to be fused, with what their configuration needs beside the shape.
FAMILIES: dict[str, dict[str, Any]] = {
    "Llama": {},
    "Mistral": {"sliding_window": None},
    "Qwen2": {},
    "Qwen3": {},
    "SmolLM3": {"no_rope_layers": [0, 1]},
    "Gemma": {},
    "Gemma2": {"sliding_window": 6, "query_pre_attn_scalar": 16},
    "Gemma3": {"sliding_window": 6, "query_pre_attn_scalar": 16},
    "Phi3": {},
    "Glm": {"partial_rotary_factor": 0.5},
    "Glm4": {"partial_rotary_factor": 0.5},
    "Ernie4_5": {},
    "Mixtral": {"num_local_experts": 4, "sliding_window": None},
    "Qwen3Moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24},
    "Cohere": {},
    "GPTNeoX": {"rotary_pct": 0.5},
    "Phi": {},
    "Starcoder2": {"sliding_window": None},
    "Falcon": {"hidden_size": 64, "head_dim": None, "num_key_value_heads": None},
    "OPT": {"ffn_dim": 72, "word_embed_proj_dim": 48},
    "StableLm": {"hidden_size": 64, "partial_rotary_factor": 0.5, "use_parallel_residual": True},
    "Granite": {"residual_multiplier": 0.3, "attention_multiplier": 0.2},
}
IDS = [7, 3, 9, 22, 41, 5, 17, 33, 8, 12]


def tiny(family: str, **changes: Any) -> Any:
    """A model of a family with random weights, large enough that nothing in it is nearly nothing."""
    name = "Gemma3TextConfig" if family == "Gemma3" else f"{family}Config"
    settings = {**SHAPE, **FAMILIES.get(family, {}), **changes}
    settings = {key: value for key, value in settings.items() if value is not None or key == "sliding_window"}
    model = getattr(transformers, f"{family}ForCausalLM")(getattr(transformers, name)(**settings)).eval()
    if family == "Gemma2":
        model.set_attn_implementation("eager")  # some versions' sdpa leaves its soft cap out
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        drawn = torch.randn(parameter.shape, generator=generator) * 0.2
        parameter.data = drawn if parameter.dim() > 1 else parameter.data + drawn
    return model.requires_grad_(False)


@torch.inference_mode()
def stepped(
    model: Any,
    *,
    bias: Sequence[float] = (),
    uniform: bool = True,
    factors: Sequence[float] = (),
    layers: tuple[int, int] | None = None,
) -> Tensor:
    """Logits of steps of one and of three rows behind a prefill."""
    cache = StepCache(2, 64, torch.device("cpu"))
    model(input_ids=torch.tensor([IDS[:5]]), past_key_values=cache, use_cache=True)
    buffers, layout = cache.buffers, mask_layout(model.config)
    buffers.key_bias[: len(bias)] = torch.tensor(bias)
    buffers.uniform = uniform
    logits, start = [], 5
    for rows in (1, 3, 1):
        buffers.position.fill_(start)
        scales = torch.ones(buffers.bucket)
        scales[: len(factors)] = torch.tensor(factors)
        scaled = scaled_updates(cache, scales, layers) if factors else nullcontext()
        with buffers.step(rows) as places, scaled:
            masks = attention_masks(
                layout, buffers.key_bias[None], query_start=start, query_count=rows, cache=cache,
                dtype=model.dtype,
            )  # fmt: skip
            ids = torch.tensor([IDS[start : start + rows]])
            output = model(
                input_ids=ids, attention_mask=masks, position_ids=places[None], past_key_values=cache
            )
        logits.append(output.logits[0])
        start += rows
    return torch.cat(logits)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the layers that have run fused."""
    ran: list[int] = []
    step = FusedLayer.step

    def noted(self: FusedLayer, *args: Any) -> Tensor:
        ran.append(self.parts.index)
        return step(self, *args)

    monkeypatch.setattr(FusedLayer, "step", noted)
    return ran


@pytest.fixture(scope="module")
def llama() -> Any:
    return tiny("Llama")


@pytest.fixture
def fused(llama: Any) -> Any:
    report = install(llama, anywhere=True)
    assert report.fused == (0, 1)
    yield llama
    report.uninstall()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("uniform", [True, False])
def test_steps_of_a_fused_model_are_those_of_the_model(
    family: str, uniform: bool, counted: list[int]
) -> None:
    model = tiny(family)
    bias = [0.0, -2.0, -1e4, 0.5]
    expected = stepped(model, bias=bias)
    report = install(model, anywhere=True)
    assert report.summary() == "2 of 2 layers are fused"
    counted.clear()
    torch.testing.assert_close(stepped(model, bias=bias, uniform=uniform), expected, atol=1e-4, rtol=1e-4)
    assert counted == [0, 1] * 3
    report.uninstall()
    counted.clear()
    assert torch.equal(stepped(model, bias=bias), expected)
    assert not counted


@pytest.mark.parametrize("layers", [None, (1, 1)])
def test_factors_scale_the_scores_of_keys(
    fused: Any, counted: list[int], layers: tuple[int, int] | None
) -> None:
    factors = [1.0, 0.1, 3.0, 0.5]
    steered = stepped(fused, factors=factors, layers=layers)
    assert counted == [0, 1] * 3
    forwards = [layer.__dict__.pop("forward") for layer in fused.model.layers]
    expected = stepped(fused, factors=factors, layers=layers)
    for layer, forward in zip(fused.model.layers, forwards, strict=True):
        layer.forward = forward
    torch.testing.assert_close(steered, expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(steered, stepped(fused), atol=1e-2)


@pytest.mark.parametrize(
    ("family", "changes", "reason"),
    [
        ("Olmo2", {}, "its norms of queries and keys are not those of single heads"),
    ],
)
def test_layers_that_compute_something_else_are_left_alone(
    family: str, changes: dict[str, Any], reason: str
) -> None:
    model = tiny(family, **changes)
    expected = stepped(model)
    report = install(model, anywhere=True)
    assert report.fused == ()
    assert reason in report.refused[0]
    assert "0 of 2 layers are fused" in report.summary()
    assert torch.equal(stepped(model), expected)


def test_a_layer_whose_code_was_changed_is_found_out() -> None:
    model = tiny("Llama")
    attention = model.model.layers[1].self_attn
    kind = type(attention)

    class Changed(kind):  # type: ignore[misc, valid-type]
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            output, weights = super().forward(*args, **kwargs)
            return output * 1.1, weights

    attention.__class__ = Changed
    report = install(model, anywhere=True)
    assert report.fused == (0,)
    assert "its output differ" in report.refused[1]


@pytest.mark.parametrize("failures", [1, 2])
def test_where_a_product_fails_the_modules_are_called(monkeypatch: pytest.MonkeyPatch, failures: int) -> None:
    tried: list[int] = []

    def trial(model: Any, layers: Sequence[FusedLayer]) -> dict[int, str]:
        tried.append(len(layers))
        if len(tried) <= failures:
            raise KernelError("it does not compile")
        return try_layers(model, layers)

    monkeypatch.setattr(fused_layers, "try_layers", trial)
    model = tiny("Llama")
    report = install(model, anywhere=True)
    assert tried == [2, 2]
    assert report.fused == ((0, 1) if failures == 1 else ())
    assert failures == 1 or "the trial failed: it does not compile" in report.summary()
    report.uninstall()


def test_only_models_with_kernels_are_looked_at(llama: Any) -> None:
    report = install(llama)
    assert report.summary() == "No layer is fused: it computes in float32."
    assert "forward" not in vars(llama.model.layers[0])
    assert "NVIDIA" in install(tiny("Llama").bfloat16()).summary()


def test_a_static_cache_of_transformers_is_stepped_on_too(fused: Any, counted: list[int]) -> None:
    def decoded() -> Tensor:
        cache = transformers.StaticCache(config=fused.config, max_cache_len=32)
        logits = []
        with torch.inference_mode():
            for start, stop in ((0, 5), (5, 6), (6, 9), (9, 10)):
                ids = torch.tensor([IDS[start:stop]])
                logits.append(fused(input_ids=ids, past_key_values=cache).logits[0])
                assert int(cache.get_seq_length()) == stop
        return torch.cat(logits)

    logits = decoded()
    # Its prefill of five rows on an empty cache is a step like any other.
    assert len(counted) >= 6
    with torch.inference_mode():
        torch.testing.assert_close(
            logits, fused(input_ids=torch.tensor([IDS])).logits[0], atol=1e-4, rtol=1e-4
        )


def _prefill(model: Any) -> None:
    model(input_ids=torch.tensor([IDS]), past_key_values=transformers.DynamicCache(config=model.config))


def _gradients(model: Any) -> None:
    with torch.inference_mode(False), torch.enable_grad():
        stepped.__wrapped__(model)  # type: ignore[attr-defined]


def _hook_on_a_part(model: Any) -> None:
    with_hook = model.model.layers[0].mlp.register_forward_hook(lambda *_: None)
    other = model.model.layers[1].self_attn.register_forward_pre_hook(lambda *_: None)
    stepped(model)
    with_hook.remove()
    other.remove()


@pytest.mark.parametrize("call", [_prefill, _gradients, _hook_on_a_part])
def test_everything_unusual_takes_the_layers_own_forward(
    fused: Any, counted: list[int], call: Callable[[Any], None]
) -> None:
    call(fused)
    assert not counted


def test_recorded_attention_weights_are_those_of_the_model(fused: Any, counted: list[int]) -> None:
    fused.set_attn_implementation("eager")
    try:
        cache = StepCache(2, 64, torch.device("cpu"))
        with torch.inference_mode():
            fused(input_ids=torch.tensor([IDS[:5]]), past_key_values=cache)
            cache.buffers.position.fill_(5)
            mask = torch.zeros(1, 1, 1, 64)
            mask[..., 6:] = torch.finfo(torch.float32).min
            arguments = {
                "attention_mask": mask,
                "position_ids": torch.tensor([[5]]),
                "past_key_values": cache,
            }
            with cache.buffers.step(1):
                ids = torch.tensor([[IDS[5]]])
                recorded = fused(input_ids=ids, output_attentions=True, **arguments)
                assert not counted
                plain = fused(input_ids=ids, **arguments)
        assert recorded.attentions[1].shape[1] == 4
        assert counted == [0, 1]
        torch.testing.assert_close(plain.logits, recorded.logits, atol=1e-4, rtol=1e-4)
    finally:
        fused.set_attn_implementation("sdpa")


def test_a_changed_hidden_state_is_normed_anew(fused: Any) -> None:
    """The next layer's norm comes with the hidden state; a hook between them makes it void."""
    plain = stepped(fused)

    def doubled(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return (args[0] * 2, *args[1:]), kwargs

    hook = fused.model.layers[1].register_forward_pre_hook(doubled, with_kwargs=True)
    changed = stepped(fused)
    fused_forwards = [layer.__dict__.pop("forward") for layer in fused.model.layers]
    expected = stepped(fused)
    for layer, forward in zip(fused.model.layers, fused_forwards, strict=True):
        layer.forward = forward
    hook.remove()
    torch.testing.assert_close(changed, expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(changed, plain, atol=1e-2)


def test_uninstalling_an_empty_report_does_nothing() -> None:
    report = FusedLayers(reason="there is no stack")
    report.uninstall()
    assert report.summary() == "No layer is fused: there is no stack"


def test_a_dropped_model_is_gone_at_once() -> None:
    model = tiny("Llama")
    report = install(model, anywhere=True)
    stepped(model)
    layer = weakref.ref(model.model.layers[1])
    gc.collect()
    gc.disable()
    try:
        del model, report
        assert layer() is None
    finally:
        gc.enable()
