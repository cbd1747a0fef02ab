"""Fused layers on a GPU: against the model's own forward, quantized or not, uncaptured and captured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from inference.bench.random_models import random_model
from inference.captured.buffers import StepCache
from inference.kernels import linears
from inference.kernels.fused_layers import install
from inference.passes.attention_masks import attention_masks, mask_layout

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
PROMPT = 70


def step_on(model: Any, rows: int) -> tuple[StepCache, Callable[[], Tensor]]:
    """A cache behind a random prompt, and a step of some rows on it that gives logits."""
    device, count = torch.device("cuda"), model.config.num_hidden_layers
    ids = torch.randint(3, 60, (1, PROMPT), generator=torch.Generator().manual_seed(rows)).to(device)
    cache = StepCache(count, 512, device)
    model(input_ids=ids, past_key_values=cache, use_cache=True)
    buffers, layout = cache.buffers, mask_layout(model.config)
    buffers.position.fill_(PROMPT)
    buffers.key_bias[5:20] = -2.0

    def step() -> Tensor:
        with buffers.step(rows) as places:
            masks = attention_masks(
                layout, buffers.key_bias[None], query_start=PROMPT, query_count=rows, cache=cache,
                dtype=model.dtype,
            )  # fmt: skip
            output = model(
                input_ids=ids[:, :rows], attention_mask=masks, position_ids=places[None],
                past_key_values=cache, use_cache=True,
            )  # fmt: skip
        return output.logits[0].float()

    return cache, step


def assert_fused_like_before(model: Any, tolerance: float) -> None:
    with torch.inference_mode():
        steps = [step_on(model, rows)[1] for rows in (1, 5)]
        expected = [step() for step in steps]
        report = install(model)
        assert len(report.fused) == model.config.num_hidden_layers, report.summary()
        for step, before in zip(steps, expected, strict=True):
            error = float((step() - before).norm() / before.norm())
            assert error < tolerance, error
        report.uninstall()
        for step, before in zip(steps, expected, strict=True):
            assert torch.equal(step(), before)


@pytest.mark.parametrize("quantization", ["none", "nf4", "fp4", "int8"])
def test_quantized_or_not(quantization: Any) -> None:
    pytest.importorskip("bitsandbytes")
    model = random_model("tiny", quantization, "cuda", 512).model
    routed = linears.install(model)
    assert_fused_like_before(model, 3e-2)
    routed.uninstall()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
@pytest.mark.parametrize(
    "family",
    [
        "Qwen2",
        "Qwen3",
        "Gemma2",
        "Gemma3",
        "Phi3",
        "SmolLM3",
        "Glm",
        "Granite",
        "Cohere",
        "GPTNeoX",
        "Phi",
        "Starcoder2",
    ],
)
def test_other_families(family: str, dtype: torch.dtype) -> None:
    name = "Gemma3TextConfig" if family == "Gemma3" else f"{family}Config"
    config = getattr(transformers, name)(
        vocab_size=64, hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, max_position_embeddings=512, pad_token_id=0, bos_token_id=1,
        eos_token_id=2,
    )  # fmt: skip
    if family.startswith("Gemma"):
        config.sliding_window = 40
    torch.manual_seed(0)
    model = getattr(transformers, f"{family}ForCausalLM")(config).eval().requires_grad_(False)
    assert_fused_like_before(model.to("cuda", dtype), 3e-2 if dtype == torch.bfloat16 else 6e-3)


def test_a_captured_step_of_fused_layers_gives_the_same_bits() -> None:
    model = random_model("tiny", "none", "cuda", 512).model
    report = install(model)
    assert report.fused == (0, 1)
    with torch.inference_mode():
        cache, step = step_on(model, 1)
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            step()
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            captured = step()
        for bias in (0.0, -1.5, -1e4):
            cache.buffers.key_bias[20:60] = bias
            graph.replay()
            replayed = captured.clone()
            cache.buffers.uniform = True
            assert torch.equal(replayed, step())
    report.uninstall()
