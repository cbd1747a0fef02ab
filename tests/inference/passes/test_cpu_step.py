"""A step on a CPU without transformers' layers has the model's own logits, or is not taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from inference.models.loaded_model import LoadedModel
from inference.passes import cpu_step as module
from inference.passes.cpu_step import cpu_step
from inference.passes.forward import Forward

SMALL: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
IDS = [3, 14, 15, 92, 65, 35, 89, 79, 32, 38]
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "rope_theta": 10000.0}

MODELS: dict[str, tuple[Any, Any]] = {
    "llama": (LlamaForCausalLM, LlamaConfig(**SMALL)),
    "llama, tied": (LlamaForCausalLM, LlamaConfig(**SMALL, tie_word_embeddings=True)),
    "llama, biases": (LlamaForCausalLM, LlamaConfig(**SMALL, attention_bias=True, mlp_bias=True)),
    "llama, wide heads": (LlamaForCausalLM, LlamaConfig(**SMALL, head_dim=32)),
    "llama, yarn": (LlamaForCausalLM, LlamaConfig(**SMALL, rope_parameters=YARN)),
    "mistral": (MistralForCausalLM, MistralConfig(**SMALL, sliding_window=None)),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(**SMALL)),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config(**SMALL, head_dim=32)),
    "phi3": (Phi3ForCausalLM, Phi3Config(**SMALL, pad_token_id=0)),
}


def built(name: str, *, rounded: bool) -> Any:
    torch.manual_seed(0)
    kind, config = MODELS[name]
    model = kind(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(6.0) if weight.dim() > 1 else weight.add_(0.3 * torch.randn_like(weight))
            if rounded:
                weight.copy_(weight.bfloat16().float())
    return model


def steps_differ_by(forward: Forward, model: Any) -> float:
    """The largest difference between steps and one pass over everything."""
    with torch.inference_mode():
        expected = model(input_ids=torch.tensor([IDS])).logits[0]
    cache = forward.new_cache()
    found = [forward(IDS[:4], cache)[-1]]
    found += [forward([token], cache)[-1] for token in IDS[4:]]
    return float((torch.stack(found) - expected[3:]).abs().max())


@pytest.mark.parametrize("rounded", [True, False], ids=["bfloat16 weights", "float32 weights"])
@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_the_model(
    name: str, rounded: bool, as_loaded: Callable[..., LoadedModel]
) -> None:
    model = built(name, rounded=rounded)
    forward = Forward(as_loaded(model))
    assert steps_differ_by(forward, model) < 1e-4
    assert forward.step is not None
    assert forward.step.right
    if not rounded:
        assert forward.step.copied == 0
    elif hasattr(torch, "fbgemm_pack_gemm_matrix_fp16"):
        linears = [part for part in model.modules() if isinstance(part, torch.nn.Linear)]
        assert forward.step.copied == 2 * sum(part.weight.numel() for part in linears)


def test_a_large_model_gets_no_copy(
    as_loaded: Callable[..., LoadedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGEST_COPY", 1000)
    model = built("llama", rounded=True)
    forward = Forward(as_loaded(model))
    assert steps_differ_by(forward, model) < 1e-4
    assert forward.step is not None
    assert (forward.step.right, forward.step.copied) == (True, 0)


def test_a_model_that_computes_something_else_is_left_to_transformers(
    as_loaded: Callable[..., LoadedModel], caplog: pytest.LogCaptureFixture
) -> None:
    model = built("llama", rounded=True)
    model.model.layers[1].mlp.register_forward_hook(lambda module, given, out: out * 1.5)
    forward = Forward(as_loaded(model))
    assert steps_differ_by(forward, model) < 1e-4
    assert forward.step is not None
    assert forward.step.right is False
    assert "left to transformers" in caplog.text


def test_what_is_not_built_like_llama_has_no_such_step() -> None:
    small_gpt = GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=2)
    assert cpu_step(GPT2LMHeadModel(small_gpt)) is None
    assert cpu_step(LlamaForCausalLM(LlamaConfig(**SMALL)).bfloat16()) is None
    assert cpu_step(LlamaForCausalLM(LlamaConfig(**SMALL, hidden_act="gelu"))) is None
    assert cpu_step(MistralForCausalLM(MistralConfig(**SMALL, sliding_window=16))) is None
    partly = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}
    config = Phi3Config(**SMALL, pad_token_id=0, rope_parameters=partly)
    assert cpu_step(Phi3ForCausalLM(config)) is None
