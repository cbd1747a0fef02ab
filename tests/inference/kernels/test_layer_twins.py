"""What the kernels of a decoder layer compute, as plain torch, against transformers' own modules."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from transformers.activations import ACT2FN
from transformers.models.gemma2.modeling_gemma2 import eager_attention_forward
from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm, apply_rotary_pos_emb

from inference.kernels.activations import gated_activation
from inference.kernels.attention import AttentionRule, DecodeAttention, reference_attention
from inference.kernels.layer_parts import NotFusable, norm_of
from inference.kernels.norms import RmsNorm, add_rms_norm, rms_norm
from inference.kernels.rotary import Heads, NewRows, rotate_and_store


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("kind", "one_plus"), [(LlamaRMSNorm, False), (Gemma3RMSNorm, True)])
def test_norms_are_transformers_own_to_the_bit(dtype: torch.dtype, kind: type, one_plus: bool) -> None:
    module = kind(96, eps=1e-5)
    module.weight.data = numbers(96)
    module.to(dtype)
    x, residual = numbers(3, 96, seed=1).to(dtype), numbers(3, 96, seed=2).to(dtype)
    norm = norm_of(module)
    assert (norm.one_plus, norm.epsilon) == (one_plus, 1e-5)
    assert torch.equal(rms_norm(x, norm), module(x))
    sums, normed = add_rms_norm(x, residual, norm)
    assert torch.equal(sums, residual + x)
    assert torch.equal(normed, module(residual + x))
    sums, normed = add_rms_norm(x, residual, norm, multiplier=0.22)
    assert torch.equal(sums, residual + x * 0.22)
    sums, normed = add_rms_norm(x, residual, norm, around=norm)
    assert torch.equal(sums, residual + module(x))
    assert torch.equal(normed, module(sums))


@pytest.mark.parametrize("module", [torch.nn.GroupNorm(2, 8), torch.nn.Linear(8, 8)])
def test_what_is_no_norm_is_not_taken_for_one(module: torch.nn.Module) -> None:
    with pytest.raises(NotFusable, match="is no norm that is known"):
        norm_of(module)


@pytest.mark.parametrize(
    ("name", "known"),
    [("silu", "silu"), ("gelu", "gelu"), ("gelu_pytorch_tanh", "gelu_tanh"), ("gelu_new", "gelu_tanh")],
)
def test_gated_activations(name: str, known: str) -> None:
    both = numbers(2, 66, dtype=torch.float32)
    gate, up = both.chunk(2, dim=-1)
    torch.testing.assert_close(gated_activation(gate, up, known), ACT2FN[name](gate) * up)


@pytest.mark.parametrize("rotated", [32, 16, 0])
@pytest.mark.parametrize("normed", [False, True])
def test_rotation_and_cache_write(rotated: int, normed: bool) -> None:
    heads, rows = Heads(queries=6, keys=2, size=32), 3
    q, k, v = numbers(rows, 192), numbers(rows, 64, seed=1), numbers(rows, 64, seed=2)
    angles = numbers(rows, rotated // 2).repeat(1, 2)
    module = LlamaRMSNorm(32).double()
    module.weight.data = numbers(32)
    norm = RmsNorm(weight=module.weight.data, epsilon=1e-6) if normed else None
    keys, values = numbers(2, 20, 32), numbers(2, 20, 32, seed=3)
    before = keys.clone(), values.clone()
    new = NewRows(
        q=q, k=k, v=v, q_norm=norm, k_norm=norm,
        cosine=angles.cos() if rotated else None, sine=angles.sin() if rotated else None,
    )  # fmt: skip
    queries = rotate_and_store(new, heads, keys=keys, values=values, position=torch.tensor([11]))
    split = [each.view(1, rows, -1, 32) for each in (q, k)]
    if normed:
        # Transformers' norm computes in float32 whatever it is given.
        split = [module.weight * each * (each.pow(2).mean(-1, True) + 1e-6).rsqrt() for each in split]
    expected_q, expected_k = (each.transpose(1, 2) for each in split)
    if rotated:
        turned = apply_rotary_pos_emb(
            expected_q[..., :rotated], expected_k[..., :rotated], angles.cos()[None], angles.sin()[None]
        )
        expected_q, expected_k = (
            torch.cat((each, rest[..., rotated:]), -1)
            for each, rest in zip(turned, (expected_q, expected_k), strict=True)
        )
    torch.testing.assert_close(queries, expected_q[0].transpose(0, 1))
    torch.testing.assert_close(keys[:, 11:14], expected_k[0])
    assert torch.equal(values[:, 11:14], v.view(rows, 2, 32).transpose(0, 1))
    for buffer, old in ((keys, before[0]), (values, before[1])):
        assert torch.equal(buffer[:, :11], old[:, :11])
        assert torch.equal(buffer[:, 14:], old[:, 14:])


@pytest.mark.parametrize("group", [1, 3])
@pytest.mark.parametrize("window", [None, 5])
@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("length", [3, 17])
def test_attention_is_eager_attention_over_what_is_written(
    group: int, window: int | None, softcap: float | None, length: int
) -> None:
    heads, rows, capacity = Heads(queries=2 * group, keys=2, size=16), 2, 24
    keys, values = numbers(2, capacity, 16), numbers(2, capacity, 16, seed=1)
    queries = numbers(rows, 2 * group, 16)
    bias = numbers(capacity, seed=2)
    bias[1] = float("-inf")
    rule = AttentionRule(heads=heads, scale=0.3, window=window, softcap=softcap)
    position = torch.tensor([length - rows])
    held = [each.clone() for each in (keys, values)]
    held[1][:, length:] = float("nan")
    out = reference_attention(rule, queries, *held, position, bias=bias)

    columns, last = torch.arange(length), position + torch.arange(rows)[:, None]
    visible = columns <= last
    if window is not None:
        visible &= columns > last - window
    mask = bias[:length].expand(rows, -1).masked_fill(~visible, float("-inf"))[None, None]
    module = SimpleNamespace(num_key_value_groups=group, training=False, head_dim=16)
    expected, _ = eager_attention_forward(
        module, queries.transpose(0, 1)[None], keys[None, :, :length], values[None, :, :length], mask,
        scaling=0.3, softcap=softcap,
    )  # fmt: skip
    # Transformers' softmax is one of float32.
    torch.testing.assert_close(out, expected.reshape(rows, -1), atol=1e-6, rtol=1e-5)


def test_factors_scale_keys_and_booleans_hide_them() -> None:
    rule = AttentionRule(heads=Heads(queries=4, keys=2, size=16), scale=0.3)
    keys, values, queries = numbers(2, 9, 16), numbers(2, 9, 16, seed=1), numbers(1, 4, 16)
    position, factors = torch.tensor([8]), torch.linspace(0, 2, 9)
    scaled = reference_attention(rule, queries, keys, values, position, key_factors=factors)
    expected = reference_attention(rule, queries, keys * factors[:, None], values, position)
    torch.testing.assert_close(scaled, expected)
    shown = torch.arange(9) % 2 == 0
    hidden = reference_attention(rule, queries, keys, values, position, bias=shown)
    expected = reference_attention(rule, queries, keys[:, ::2], values[:, ::2], torch.tensor([4]))
    torch.testing.assert_close(hidden, expected)


def test_a_step_is_a_write_and_attention_over_it() -> None:
    heads = Heads(queries=4, keys=2, size=16)
    rule = AttentionRule(heads=heads, scale=0.3)
    keys, values = numbers(2, 9, 16), numbers(2, 9, 16, seed=1)
    q, k, v = numbers(2, 64), numbers(2, 32), numbers(2, 32, seed=2)
    position = torch.tensor([5])
    out = DecodeAttention(rule)(q, k, v, keys=keys, values=values, position=position)
    assert torch.equal(keys[:, 5:7], k.view(2, 2, 16).transpose(0, 1))
    assert torch.equal(values[:, 5:7], v.view(2, 2, 16).transpose(0, 1))
    assert torch.equal(out, reference_attention(rule, q.view(2, 4, 16), keys, values, position))
