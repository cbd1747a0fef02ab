"""The products on a GPU against float64, whatever the shape, the storage and the number of rows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from inference.kernels import compiler
from inference.kernels.gemv import MAX_ROWS, Product
from inference.kernels.linears import install
from inference.kernels.weights import UnsupportedWeight, multiply_twin, stored_weight

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

STORAGES = ("dense", "int8", "nf4", "fp4", "nf4-nested")


@pytest.fixture(scope="module")
def device() -> torch.device:
    device = torch.device("cuda", 0)
    reason = compiler.available(device)
    if reason:
        pytest.skip(reason)
    return device


def _difference(value: torch.Tensor, reference: torch.Tensor) -> float:
    return float((value.double() - reference.double()).norm() / reference.double().norm())


def _poisoned(count: int, rows: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    return torch.full((count, rows), float("nan"), dtype=dtype, device=device)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(("rows", "features"), [(4096, 4096), (1000, 14336), (77, 320), (33, 64), (16, 2048)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_products_agree_with_float64(
    storage: str, rows: int, features: int, dtype: torch.dtype, make_layer: Any, device: torch.device
) -> None:
    weight = stored_weight(make_layer(storage, rows, features, dtype=dtype, device="cuda"))
    product = Product((weight,), dtype=dtype)
    for count in range(1, MAX_ROWS + 1) if features == 320 else (1, 4):
        x = torch.randn(count, features, device=device).to(dtype)
        out = product(x, out=_poisoned(count, rows, dtype, device))
        assert _difference(out, multiply_twin(x, (weight,))) < 5e-3, count


@pytest.mark.parametrize("storage", STORAGES)
def test_fused_products_and_biases(storage: str, make_layer: Any, device: torch.device) -> None:
    weights = tuple(
        stored_weight(make_layer(storage, rows, 512, bias=True, seed=rows, device="cuda"))
        for rows in (96, 40, 33)
    )
    x = torch.randn(3, 512, device=device).bfloat16()
    out = Product(weights, dtype=torch.bfloat16)(x, out=_poisoned(3, 169, torch.bfloat16, device))
    assert _difference(out, multiply_twin(x, weights)) < 5e-3


@pytest.mark.parametrize("storage", STORAGES)
def test_gated_pairs_and_residuals(storage: str, make_layer: Any, device: torch.device) -> None:
    pair = tuple(stored_weight(make_layer(storage, 200, 512, seed=seed, device="cuda")) for seed in (1, 2))
    x = torch.randn(2, 512, device=device).bfloat16()
    residual = torch.randn(2, 200, device=device).bfloat16()
    expected = multiply_twin(x, pair, paired=True, residual=residual)
    out = Product(pair, dtype=torch.bfloat16, paired=True)(x, residual=residual)
    assert _difference(out, expected) < 1e-2  # a gate that rounds the other way moves by 4e-3
    in_place = residual.clone()
    Product(pair[:1], dtype=torch.bfloat16)(x, out=in_place, residual=in_place)
    assert _difference(in_place, multiply_twin(x, pair[:1], residual=residual)) < 5e-3


def test_a_row_is_the_same_whoever_is_beside_it(make_layer: Any, device: torch.device) -> None:
    product = Product((stored_weight(make_layer("nf4", 256, 1024, device="cuda")),), dtype=torch.bfloat16)
    x = torch.randn(8, 1024, device=device).bfloat16()
    alone = product(x[:1])
    for count in (2, 5, 8):
        assert torch.equal(product(x[:count])[:1], alone)


def test_a_captured_chain_repeats_itself_bit_for_bit(make_layer: Any, device: torch.device) -> None:
    layers = [make_layer("nf4-nested", 512, 512, seed=seed, device="cuda") for seed in range(8)]
    chain = [Product((stored_weight(layer),), dtype=torch.bfloat16) for layer in layers]
    x = torch.randn(1, 512, device=device).bfloat16()

    def run() -> torch.Tensor:
        value = x
        for product in chain:
            value = product(value)
        return value

    expected = run()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = run()
    for _ in range(20):
        out.fill_(float("nan"))
        graph.replay()
        assert torch.equal(out, expected)


def test_a_model_is_routed_and_given_back(make_layer: Any, device: torch.device) -> None:
    model = nn.Sequential(
        make_layer("nf4", 256, 256, device="cuda"),
        make_layer("int8", 256, 256, device="cuda"),
        make_layer("dense", 64, 256, device="cuda"),
    )
    weights = [stored_weight(layer) for layer in model]
    installed = install(model)
    assert set(installed.products) == {"0", "1", "2"}
    for count in (1, 8, 40):
        x = torch.randn(1, count, 256, device=device).bfloat16()
        with torch.no_grad():
            out = model(x)[0]
        value = x[0].double()
        for weight in weights:
            value = multiply_twin(value.bfloat16(), (weight,))
        assert _difference(out, value) < 2e-2, count
    installed.uninstall()
    assert not any("forward" in vars(layer) for layer in model)


@pytest.mark.parametrize("storage", ["int8", "nf4", "dense"])
def test_gradients_flow_through_a_routed_layer(storage: str, make_layer: Any, device: torch.device) -> None:
    model = nn.Sequential(make_layer(storage, 128, 256, device="cuda"))
    weight = stored_weight(model[0])
    install(model)
    x = torch.randn(1, 256, device=device).bfloat16().requires_grad_()
    model(x).sum().backward()
    expected = multiply_twin(torch.eye(256, device=device).bfloat16(), (weight,)).sum(dim=1)
    assert x.grad is not None
    assert _difference(x.grad[0], expected) < 2e-2


def test_shapes_that_do_not_fit_are_refused(make_layer: Any, device: torch.device) -> None:
    with pytest.raises(UnsupportedWeight):
        Product((stored_weight(make_layer("dense", 8, 30, device="cuda")),), dtype=torch.bfloat16)
    two = tuple(stored_weight(make_layer(kind, 8, 64, device="cuda")) for kind in ("nf4", "int8"))
    with pytest.raises(UnsupportedWeight):
        Product(two, dtype=torch.bfloat16)
