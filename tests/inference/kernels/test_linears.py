"""Routing of linear layers: what is taken over, what is left alone; int8 products of any number of rows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from inference.kernels import compiler, gemv, libraries, linears
from inference.kernels.linears import install, weight_only_product
from inference.kernels.weights import dequantized, stored_weight


def _difference(value: torch.Tensor, reference: torch.Tensor) -> float:
    return float((value.double() - reference.double()).norm() / reference.double().norm())


def test_on_a_processor_every_layer_is_kept_with_its_reason(make_layer: Any) -> None:
    model = nn.Sequential(make_layer("nf4", 64, 64), make_layer("dense", 8, 64))
    x = torch.randn(2, 64).bfloat16()
    with torch.no_grad():
        before = model(x)
        installed = install(model)
        assert torch.equal(model(x), before)
    assert not installed.products
    assert set(installed.kept) == {"0", "1"}
    assert all("GPU" in reason for reason in installed.kept.values())


def test_a_kernel_that_does_not_compile_leaves_the_layer_as_it_is(
    make_layer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(product: gemv.Product, rows: int) -> None:
        raise compiler.KernelError("no such instruction")

    monkeypatch.setattr(linears, "available", lambda device: "")
    monkeypatch.setattr(gemv.Product, "prepare", fail)
    model = nn.Sequential(make_layer("nf4-nested", 64, 64))
    installed = install(model)
    assert installed.kept == {"0": "no such instruction"}
    assert "forward" not in vars(model[0])


def test_uninstalling_gives_every_layer_its_own_path_back(
    make_layer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linears, "available", lambda device: "")
    monkeypatch.setattr(gemv.Product, "prepare", lambda product, rows: None)
    monkeypatch.setattr(gemv.Product, "__call__", lambda product, x: x.new_full((len(x), product.rows), 7))
    model = nn.Sequential(make_layer("dense", 64, 64), make_layer("int8", 32, 64))
    x = torch.randn(2, 64).bfloat16()
    with torch.no_grad():
        before = model(x)
        installed = install(model)
        assert set(installed.products) == {"0", "1"}
        assert (model(x) == 7).all()
        installed.uninstall()
        assert torch.equal(model(x), before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("count", [1, 17])
def test_weight_only_int8_agrees_with_float64(dtype: torch.dtype, count: int, make_layer: Any) -> None:
    weight = stored_weight(make_layer("int8", 40, 96))
    x = torch.randn(count, 96).to(dtype)
    expected = x.double() @ dequantized(weight).T
    assert _difference(weight_only_product(x, weight), expected) < 5e-3


def test_weight_only_int8_of_large_half_precision_activations_stays_finite(make_layer: Any) -> None:
    weight = stored_weight(make_layer("int8", 16, 64))
    x = torch.full((1, 64), 300.0, dtype=torch.float16)
    assert torch.isfinite(weight_only_product(x, weight)).all()


def test_parts_of_the_weight_give_the_whole(make_layer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = stored_weight(make_layer("int8", 40, 96, bias=True))
    x = torch.randn(2, 3, 96)
    whole = weight_only_product(x, weight)
    monkeypatch.setattr(linears, "_PART", 96 * 7)
    assert torch.allclose(weight_only_product(x, weight), whole, rtol=1e-5, atol=1e-5)


def test_the_int8_product_has_the_gradient_of_its_weights(make_layer: Any) -> None:
    weight = stored_weight(make_layer("int8", 40, 96))
    x = torch.randn(2, 3, 96, requires_grad=True)
    wanted = torch.randn(2, 3, 40)
    linears._product_with_gradient(x, weight).backward(wanted)
    assert x.grad is not None
    assert _difference(x.grad, wanted.double() @ dequantized(weight)) < 1e-5


def test_without_a_run_time_compiler_there_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    libraries.nvrtc.cache_clear()
    monkeypatch.setattr(libraries, "_nvrtc_candidates", lambda: iter(["no-such-library"]))
    try:
        with pytest.raises(compiler.KernelUnavailable, match="NVRTC"):
            compiler.compile_code("", (), 90)
    finally:
        libraries.nvrtc.cache_clear()


def test_gpus_that_are_too_old_are_named() -> None:
    with pytest.raises(compiler.KernelUnavailable, match=r"7\.5"):
        compiler.compile_code("", (), 75)


def test_kernels_say_why_they_cannot_run_on_a_processor() -> None:
    cpu = torch.device("cpu")
    assert "NVIDIA" in compiler.available(cpu)
    with pytest.raises(compiler.KernelUnavailable, match="NVIDIA"):
        compiler.Source.of("prelude.cuh").kernel("none", "P", device=cpu)
