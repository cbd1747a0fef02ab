"""The products of one decode step on a GPU, against bitsandbytes' own and against the memory's speed.

For each model shape and storage: all linear layers of a step, captured in one CUDA graph and replayed;
weights are random and larger than the GPU's cache. Products that share their input run as one launch (q,
k and v; gate and up), as the fused layers run them. The floor is the weights' bytes by the speed of a
device copy measured in the same run. The reference is what the layers do without the kernels:
bitsandbytes' product (int8 without its outliers, which could not be captured), or cuBLAS.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import torch

from inference.bench.kernel_weights import (
    MODELS,
    STORAGES,
    Layer,
    ModelShape,
    Storage,
    random_layer,
    random_weight,
)
from inference.command_line import print_json
from inference.kernels.compiler import available
from inference.kernels.gemv import Product
from inference.kernels.weights import StoredWeight, multiply_twin

_HEAD_COPIES = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to measure."""
    parser.add_argument("--device", default="cuda", choices=["cuda"])
    parser.add_argument("--json", action="store_true", help="accepted for symmetry; lines are always JSON")
    parser.add_argument("--models", nargs="+", default=["8b"], choices=sorted(MODELS))
    parser.add_argument("--storages", nargs="+", default=list(STORAGES), choices=STORAGES)
    parser.add_argument(
        "--rows", nargs="+", type=int, default=[1], metavar="N", help="activation rows, 1 to 8"
    )
    parser.add_argument("--rounds", type=int, default=15, metavar="N")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print one line each; returns the exit status."""
    device = torch.device("cuda", 0)
    reason = available(device)
    if reason:
        print_json({"event": "failed", "kind": "kernels", "message": reason, "hint": ""})
        return 1
    bandwidth = copy_bandwidth(device)
    print_json(
        {
            "event": "device",
            "name": torch.cuda.get_device_name(device),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "copy_terabytes_per_second": round(bandwidth / 1e12, 3),
        }
    )
    for name in arguments.models:
        for storage in arguments.storages:
            for line in _model(name, storage, arguments.rows, arguments.rounds, bandwidth, device):
                print_json(line)
            torch.cuda.empty_cache()
    return 0


def copy_bandwidth(device: torch.device) -> float:
    """Bytes a second, read and written, of a large copy on the device (a captured copy is another one)."""
    source = torch.empty(1024**3, dtype=torch.uint8, device=device).random_()
    target = torch.empty_like(source)
    target.copy_(source)
    milliseconds = statistics.median(_elapsed(lambda: target.copy_(source)) for _ in range(10))
    return 2 * source.numel() / milliseconds * 1e3


def _elapsed(call: Callable[[], Any]) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    start.record()
    call()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end))


def _median(calls: list[Callable[[], Any]], rounds: int) -> float:
    """Milliseconds of all calls after one another, captured and replayed."""
    for call in calls[:16]:
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    graph.replay()
    return statistics.median(_elapsed(graph.replay) for _ in range(rounds))


def _model(
    name: str, storage: Storage, counts: list[int], rounds: int, bandwidth: float, device: torch.device
) -> Iterator[dict[str, Any]]:
    shape = MODELS[name]
    layers = [random_layer(shape, storage, device) for _ in range(shape.measured)]
    whole = shape.layers / shape.measured
    parts = {part: sum(weight.bytes for weight in weights) for part, weights in layers[0].items()}
    floor = sum(parts.values()) * shape.layers / bandwidth * 1e3
    for count in counts:
        x = {f: torch.randn(count, f, device=device).bfloat16() for f in (shape.hidden, shape.intermediate)}
        products = [{part: Product(w, dtype=torch.bfloat16) for part, w in layer.items()} for layer in layers]
        calls = {part: [_call(product[part], x) for product in products] for part in parts}
        step = [calls[part][i] for i in range(len(layers)) for part in parts]
        milliseconds = _median(step, rounds) * whole
        again = _median(step, rounds) * whole
        reference = _median([_reference(w, x) for w in _weights(layers)], max(3, rounds // 3)) * whole
        yield {
            "event": "step",
            "model": name,
            "storage": storage,
            "rows": count,
            "milliseconds": round(milliseconds, 4),
            "repeated": round(again, 4),
            "floor_milliseconds": round(floor, 4),
            "share_of_floor": round(floor / milliseconds, 3),
            "reference_milliseconds": round(reference, 4),
            "times_faster": round(reference / milliseconds, 2),
            "microseconds": {
                part: round(_median(calls[part], rounds) * 1e3 / len(layers), 2) for part in parts
            },
            "floor_microseconds": {part: round(size / bandwidth * 1e6, 2) for part, size in parts.items()},
            "relative_error": _error(products[0]["qkv"], x[shape.hidden]),
        }
    if storage == "bf16":
        yield _head(name, shape, rounds, bandwidth, device)


def _weights(layers: list[Layer]) -> list[StoredWeight]:
    return [weight for layer in layers for weights in layer.values() for weight in weights]


def _call(product: Product, x: dict[int, torch.Tensor]) -> Callable[[], torch.Tensor]:
    inputs = x[product.features]
    out = torch.empty(inputs.shape[0], product.rows, dtype=inputs.dtype, device=inputs.device)
    return lambda: product(inputs, out=out)


def _reference(weight: StoredWeight, x: dict[int, torch.Tensor]) -> Callable[[], torch.Tensor]:
    """The product as torch and bitsandbytes do it."""
    inputs = x[weight.features]
    shape = (weight.rows, weight.features)
    if weight.format == "dense":
        return lambda: torch.nn.functional.linear(inputs, weight.data)
    import bitsandbytes  # noqa: F401 -- registers its operators

    operators = torch.ops.bitsandbytes
    if weight.format == "int8":
        half = inputs.half()

        def eight() -> torch.Tensor:
            values, scale, _ = operators.int8_vectorwise_quant(half, 0.0)
            result: torch.Tensor = operators.int8_scaled_mm(
                values, weight.data, scale, weight.scale, bias=None, dtype=torch.float16
            )
            return result

        return eight
    nested = weight.nested is not None
    extra = (
        {"absmax_8bit": weight.scale, "absmax_code": weight.nested_code, "absmax_offset": weight.offset}
        if nested
        else {}
    )
    absmax = weight.nested if nested else weight.scale
    return lambda: operators.gemm_4bit(
        inputs, weight.data, shape, absmax, weight.blocksize, "nf4", bias=None, **extra
    )


def _error(product: Product, x: torch.Tensor) -> float:
    expected = multiply_twin(x, product.weights)
    return float(f"{float((product(x).double() - expected).norm() / expected.norm()):.2e}")


def _head(
    name: str, shape: ModelShape, rounds: int, bandwidth: float, device: torch.device
) -> dict[str, Any]:
    """The LM head alone: one large dense product."""
    weights = [random_weight(shape.vocabulary, shape.hidden, "bf16", device) for _ in range(_HEAD_COPIES)]
    x = {shape.hidden: torch.randn(1, shape.hidden, device=device).bfloat16()}
    calls = [_call(Product((weight,), dtype=torch.bfloat16), x) for weight in weights]
    floor = weights[0].bytes / bandwidth * 1e3
    milliseconds = _median(calls, rounds) / _HEAD_COPIES
    reference = _median([_reference(weight, x) for weight in weights], rounds) / _HEAD_COPIES
    return {
        "event": "head",
        "model": name,
        "storage": "bf16",
        "milliseconds": round(milliseconds, 4),
        "floor_milliseconds": round(floor, 4),
        "share_of_floor": round(floor / milliseconds, 3),
        "reference_milliseconds": round(reference, 4),
    }
