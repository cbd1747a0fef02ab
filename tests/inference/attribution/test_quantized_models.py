"""Every method on 4-bit and 8-bit models, against the same model with its weights dequantized."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, set_seed

from inference.attribution import (
    atman,
    first_order,
    gradient_times_input,
    integrated_gradients,
    leave_one_out,
)

bitsandbytes = pytest.importorskip("bitsandbytes")


def quantized(kind: str) -> LlamaForCausalLM:
    """A Llama whose linear layers, other than its head, are bitsandbytes'."""
    set_seed(1)
    config = LlamaConfig(
        vocab_size=97,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.15,
    )
    model = LlamaForCausalLM(config).eval().requires_grad_(False)
    for module in list(model.model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, _quantized_layer(child, kind))
    return model


def _quantized_layer(plain: nn.Linear, kind: str) -> nn.Module:
    sizes = (plain.in_features, plain.out_features)
    if kind == "int8":
        layer = bitsandbytes.nn.Linear8bitLt(*sizes, bias=False, has_fp16_weights=False)
    else:
        layer = bitsandbytes.nn.Linear4bit(*sizes, bias=False, quant_type=kind, compute_dtype=torch.float32)
    layer.load_state_dict(plain.state_dict())
    return layer.to("cpu").eval().requires_grad_(False)


def dequantized(model: LlamaForCausalLM) -> LlamaForCausalLM:
    """The same with ordinary layers, whose weights are what the quantized ones make of the identity."""
    plain = copy.deepcopy(model)
    for module in list(plain.model.modules()):
        for name, child in list(module.named_children()):
            if type(child).__name__.startswith("Linear"):
                layer = nn.Linear(child.in_features, child.out_features, bias=False)
                with torch.no_grad():
                    weight: Tensor = child(torch.eye(child.in_features)).T
                layer.weight = nn.Parameter(weight.float().contiguous(), requires_grad=False)
                setattr(module, name, layer)
    return plain


def close(found: Tensor, expected: Tensor) -> None:
    """Within the error of 8-bit activations and bfloat16 kernels."""
    assert (found - expected).norm() <= 0.1 * expected.norm()
    assert expected.norm() > 0.05


@pytest.mark.parametrize(
    "method", [atman, first_order, gradient_times_input, integrated_gradients, leave_one_out]
)
@pytest.mark.parametrize("kind", ["nf4", "fp4", "int8"])
def test_scores_are_those_of_the_dequantized_model(kind: str, method: Any, task: Any, scored: Any) -> None:
    model = quantized(kind)
    expected = scored(method, task(dequantized(model), "word", per_token=False))
    found = scored(method, task(model, "word", per_token=False))
    close(found.sum(0), expected.sum(0))
    assert not any("forward" in vars(module) for module in model.modules())
