"""Stored weights mean what bitsandbytes says they mean: its own dequantization is the oracle."""

from __future__ import annotations

from typing import Any

import bitsandbytes.functional
import pytest
import torch

from inference.kernels.weights import UnsupportedWeight, dequantized, multiply_twin, stored_weight

FOUR_BITS = ("nf4", "fp4", "nf4-nested", "fp4-nested")


def _difference(value: torch.Tensor, reference: torch.Tensor) -> float:
    return float((value.double() - reference.double()).norm() / reference.double().norm())


@pytest.mark.parametrize("storage", FOUR_BITS)
@pytest.mark.parametrize(("rows", "features"), [(48, 320), (7, 64), (33, 192)])
def test_four_bits_are_read_as_bitsandbytes_reads_them(
    storage: str, rows: int, features: int, make_layer: Any
) -> None:
    layer = make_layer(storage, rows, features, dtype=torch.float32)
    oracle = bitsandbytes.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    assert oracle.dtype == torch.float32
    assert _difference(dequantized(stored_weight(layer)), oracle) < 1e-6


def test_int8_is_read_as_bitsandbytes_reads_it(make_layer: Any) -> None:
    layer = make_layer("int8", 40, 200)
    values, scale = layer.weight.CB, layer.weight.SCB
    oracle = bitsandbytes.functional.int8_vectorwise_dequant(values, scale)
    assert _difference(dequantized(stored_weight(layer)), oracle) < 1e-6


def test_int8_is_found_after_the_layers_first_run_too(make_layer: Any) -> None:
    layer = make_layer("int8", 40, 200)
    before = dequantized(stored_weight(layer))
    layer.init_8bit_state()
    assert torch.equal(dequantized(stored_weight(layer)), before)


@pytest.mark.parametrize("storage", ["dense", "int8", "nf4", "nf4-nested"])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_the_twin_is_the_layers_product(storage: str, count: int, make_layer: Any) -> None:
    weight = stored_weight(make_layer(storage, 24, 128, bias=True))
    x = torch.randn(count, 128, generator=torch.Generator().manual_seed(count)).bfloat16()
    assert weight.bias is not None
    expected = torch.nn.functional.linear(x.double(), dequantized(weight), weight.bias.double())
    assert torch.allclose(multiply_twin(x, (weight,)), expected)


def test_several_weights_stand_side_by_side(make_layer: Any) -> None:
    weights = tuple(stored_weight(make_layer("nf4", rows, 128, seed=rows)) for rows in (16, 5, 9))
    x = torch.randn(2, 128).bfloat16()
    out = multiply_twin(x, weights)
    assert out.shape == (2, 30)
    assert torch.equal(out[:, 16:21], multiply_twin(x, weights[1:2]))


def test_a_pair_is_gated_as_the_model_gates(make_layer: Any) -> None:
    gate, up = (make_layer("dense", 12, 64, seed=seed) for seed in (1, 2))
    x = torch.randn(2, 64).bfloat16()
    with torch.no_grad():
        expected = torch.nn.functional.silu(gate(x)) * up(x)
    out = multiply_twin(x, (stored_weight(gate), stored_weight(up)), paired=True)
    assert _difference(out, expected) < 5e-3


def test_a_residual_is_added_after_rounding(make_layer: Any) -> None:
    layer = make_layer("dense", 12, 64)
    x, residual = torch.randn(2, 64).bfloat16(), torch.randn(2, 12).bfloat16()
    with torch.no_grad():
        expected = layer(x).double() + residual.double()
    assert _difference(multiply_twin(x, (stored_weight(layer),), residual=residual), expected) < 5e-3


def test_other_storage_is_refused_with_its_name(make_layer: Any) -> None:
    with pytest.raises(UnsupportedWeight, match="float32"):
        stored_weight(make_layer("dense", 4, 8, dtype=torch.float32))
    with pytest.raises(UnsupportedWeight, match="Conv1d"):
        stored_weight(torch.nn.Conv1d(1, 1, 1))
    small_blocks = bitsandbytes.nn.Linear4bit(64, 8, quant_type="nf4", compress_statistics=False)
    small_blocks.weight.blocksize = 32
    with pytest.raises(UnsupportedWeight, match="32 weights"):
        stored_weight(small_blocks.to("cpu"))
