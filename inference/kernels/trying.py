"""Whether a fused layer computes what transformers' own does: both run the same step and are compared.

The model itself makes the calls, so each layer is tried with the arguments that it really gets. Its input is
random and small beside what the layer adds; cached keys are random and scaled so that attention is neither
flat nor a single key, and biases act on them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from inference.captured.buffers import StepCache
from inference.errors import NotAvailable
from inference.kernels.fused_layer import FusedLayer
from inference.kernels.layer_parts import NotFusable
from inference.kernels.norms import apply_norm, reference_rms_norm
from inference.kernels.rotary import Tables
from inference.passes.attention_masks import attention_masks, mask_layout

#: How far outputs and keys may be apart, by the norm of their difference over that of what a layer adds.
#: Both ways round at each of some ten steps.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-4, torch.float16: 1e-2, torch.bfloat16: 3e-2}
#: The same where bitsandbytes rounds activations to 8 bits and the fused form does not.
INT8_TOLERANCE = 8e-2
#: The start of a reason that tells that the rotation is another one.
KEYS_DIFFER = "its keys differ"
#: The start of one that tells that a form needs what the call has not.
UNUSUAL = "its call is unusual"
_CACHED = 45
_INPUT = 0.1


@dataclass(slots=True)
class _Call:
    """A layer's own answer."""

    hidden: Tensor
    arguments: dict[str, Any]
    output: Tensor | None = None
    written: list[Tensor] = field(default_factory=list)


@torch.inference_mode()
def try_layers(model: Any, layers: Sequence[FusedLayer]) -> dict[int, str]:
    """Compare fused layers with what they would replace; nothing is replaced here.

    Args:
        model: The causal language model that they belong to.
        layers: What to try.

    Returns:
        Numbers of the layers that failed, and why.
    """
    device = layers[0].parts.before_attention.weight.device
    count = int(model.config.get_text_config(decoder=True).num_hidden_layers)
    cache = StepCache(count, 2 * _CACHED, device)
    generator = torch.Generator(device=device).manual_seed(1)
    try:
        layout = mask_layout(model.config)
    except NotAvailable as error:
        return {layer.parts.index: str(error) for layer in layers}
    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    ids = torch.randint(vocabulary, (1, _CACHED), generator=generator, device=device)
    model(input_ids=ids, past_key_values=cache, use_cache=True)
    buffers = cache.buffers
    buffers.position.fill_(_CACHED)
    buffers.key_bias.uniform_(-3, 1, generator=generator)
    buffers.key_bias[3:9] = -1e4
    failed: dict[int, str] = {}
    for rows, buffers.uniform in ((1, True), (3, False)):
        with buffers.step(rows) as places:
            masks = attention_masks(
                layout,
                buffers.key_bias[None],
                query_start=_CACHED,
                query_count=rows,
                cache=cache,
                dtype=layers[0].parts.before_attention.weight.dtype,
            )
            with ExitStack() as hooks:
                calls = [_watch(layer, cache, generator, hooks) for layer in layers]
                model(
                    input_ids=ids[:, :rows],
                    attention_mask=masks,
                    position_ids=places[None],
                    past_key_values=cache,
                    use_cache=True,
                )
            for layer, call in zip(layers, calls, strict=True):
                reason = _difference(layer, call, cache) if call else "it was not called"
                if reason:
                    failed.setdefault(layer.parts.index, reason)
    return failed


def _watch(fused: FusedLayer, cache: StepCache, generator: torch.Generator, hooks: ExitStack) -> list[_Call]:
    """Give a layer random input and random keys when it is called, and note its answer."""
    calls: list[_Call] = []

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = args[0] if args else kwargs["hidden_states"]
        hidden = torch.randn(given.shape, generator=generator, device=given.device).to(given) * _INPUT
        kwargs = {name: value for name, value in kwargs.items() if name != "hidden_states"}
        keys, values = cache.buffers.layer(fused.parts.index)
        for each, scale in ((keys, _key_scale(fused, hidden)), (values, 1.0)):
            drawn = torch.randn(each.shape, generator=generator, device=each.device)
            each.copy_(drawn * scale)
        calls.append(_Call(hidden, kwargs))
        given = kwargs.get("position_embeddings")
        fused.in_turn = isinstance(given, tuple) and Tables.in_turn(given[0])
        return (hidden, *args[1:]), kwargs

    def after(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if isinstance(output, tuple) and output and isinstance(output[0], Tensor):
            fused.further, output = len(output) - 1, output[0]
        if isinstance(output, Tensor):
            calls[-1].output = output.clone()
        calls[-1].written = [each.clone() for each in _written(fused, cache, calls[-1].hidden.shape[1])]

    hooks.callback(fused.layer.register_forward_pre_hook(before, with_kwargs=True).remove)
    hooks.callback(fused.layer.register_forward_hook(after, with_kwargs=True).remove)
    return calls


def _key_scale(fused: FusedLayer, hidden: Tensor) -> float:
    """The size of random keys that gives scores a standard deviation of 2."""
    parts = fused.parts
    rule = parts.rule
    first = parts.inward[0](apply_norm(hidden, parts.before_attention))
    queries = first[..., : rule.heads.queries * rule.heads.size].unflatten(-1, (-1, rule.heads.size))
    if parts.q_norm is not None:
        queries = reference_rms_norm(queries, parts.q_norm)
    size = float(queries.float().pow(2).mean().sqrt())
    return min(100.0, 2 / max(1e-6, size * math.sqrt(rule.heads.size) * rule.scale))


def _written(fused: FusedLayer, cache: StepCache, rows: int) -> list[Tensor]:
    return [each[:, :, _CACHED : _CACHED + rows] for each in cache.buffers.layer(fused.parts.index)]


def _difference(fused: FusedLayer, calls: list[_Call], cache: StepCache) -> str:
    """Why a layer's fused form is not the same; empty if it is."""
    call = calls[-1]
    if call.output is None:
        return "it gives more than hidden states"
    written = _written(fused, cache, call.hidden.shape[1])
    for each in written:
        each.fill_(float("nan"))
    try:
        output = fused.step(call.hidden, fused.place(call.hidden, (), call.arguments))
    except NotFusable as unusual:
        return f"{UNUSUAL}: {unusual}"
    tolerance = TOLERANCE[call.hidden.dtype]
    if any(type(module).__name__ == "Linear8bitLt" for module in fused.layer.modules()):
        tolerance = INT8_TOLERANCE
    pairs = {
        "keys": (written[0], call.written[0], None),
        "values": (written[1], call.written[1], None),
        "output": (output, call.output, call.hidden),
    }
    for name, (got, expected, start) in pairs.items():
        added = expected.float() if start is None else expected.float() - start.float()
        error = float((got.float() - expected.float()).norm() / added.norm().clamp_min(1e-9))
        if not error <= tolerance:
            return f"its {name} differ by {error:.2g}"
    return ""
