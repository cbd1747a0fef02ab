"""A recording made short: the same results from fewer calls.

- What comes of the weights alone is computed once, and so is what every layer makes of the position.
- What nobody reads is left out.
- Linears that read the same become one product, on packed weights where those are exact (see
  :mod:`inference.passes.packed_linear`), and of experts only the chosen ones are read.
- Some groups of calls become one (see :mod:`inference.passes.recorded_patterns`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from inference.passes.one_token_experts import OneTokenExperts, mixture
from inference.passes.packed_linear import product
from inference.passes.recorded_patterns import gates, norms, residuals, rotations, views
from inference.passes.recorded_values import (
    comparable,
    grows,
    hashable,
    read_calls,
    renumbered,
    with_tensors,
    written_values,
)
from inference.passes.recording import Call, Recording, Value, ask

#: Numbers in a tensor that is compared with others to find those that are there twice.
_SMALL = 1 << 20
#: Products and experts by what they are made of: other recordings of a model share them.
Products = dict[tuple[int, ...], Any]


@torch.inference_mode()
def shortened(recording: Recording, products: Products, *, copy: bool) -> tuple[Recording, int]:
    """The calls that a step makes.

    Args:
        recording: Of one token.
        products: Those that were made for other recordings of the model; is added to.
        copy: Whether packed copies of weights may be made.

    Returns:
        The recording made short, and the bytes of new copies.
    """
    calls, constants = _folded(recording)
    calls = _once(calls, constants, recording.output)
    for shorten in (norms, rotations, gates, views):
        calls = read_calls(
            shorten(read_calls(calls, recording.output), recording, constants), recording.output
        )
    maker = _Products(products, copy)
    calls = residuals(maker.experts(maker.linears(calls, constants, recording.shapes)), recording)
    used = {number for call in calls for number in call.values()}
    kept = {number: tensor for number, tensor in constants.items() if number in used}
    return replace(recording, calls=calls, constants=kept), maker.copied


def _folded(recording: Recording) -> tuple[list[Call], dict[int, Tensor]]:
    """Calls without those whose results never change, and these results among the constants."""
    constants = dict(recording.constants)
    written = written_values(recording.calls)
    calls = []
    for call in recording.calls:
        fixed = (
            all(number in constants for number in call.values())
            and call.outputs
            and call.function is not ask
            and not call.in_place
            and not written.intersection(call.outputs)
            and not grows((call.args, tuple(call.kwargs.values())))
        )
        if not fixed:
            calls.append(call)
            continue
        result = call.function(*with_tensors(call.args, constants), **with_tensors(call.kwargs, constants))
        made = zip(call.outputs, (result,) if call.alone else result, strict=True)
        constants |= {number: one for number, one in made if number is not None}
    return calls, constants


def _once(calls: list[Call], constants: dict[int, Tensor], output: int) -> list[Call]:
    """Calls without those that another layer has made with equal arguments: of a position, mostly."""
    written = written_values(calls)
    contents: dict[Any, int] = {}
    same: dict[int, int] = {}
    for number, tensor in constants.items():
        if 0 < tensor.numel() <= _SMALL and number not in written:
            content = (
                tensor.dtype,
                tensor.shape,
                bytes(tensor.detach().contiguous().view(-1).view(torch.uint8).numpy()),
            )
            same[number] = contents.setdefault(content, number)
    made: dict[Any, tuple[int | None, ...]] = {}
    kept = []
    for call in calls:
        call = renumbered(call, same)
        key = (call.function, hashable((call.args, tuple(call.kwargs.items()))))
        fixed = not call.outputs or call.in_place or call.function is ask or output in call.outputs
        if fixed or written.intersection((*call.outputs, *call.values())) or not comparable(call.args):
            kept.append(call)
        elif key in made:
            pairs = zip(call.outputs, made[key], strict=True)
            same |= {one: other for one, other in pairs if one is not None and other is not None}
        else:
            made[key] = call.outputs
            kept.append(call)
    return kept


class _Products:
    """Makes products of fixed weights, each of them once."""

    def __init__(self, made: Products, copy: bool) -> None:
        self._made, self._copy = made, copy
        self.copied = 0

    def linears(
        self, calls: list[Call], constants: dict[int, Tensor], shapes: dict[int, tuple[int, ...]]
    ) -> list[Call]:
        """Linears that read the same value as one product, where the first of them is called."""
        groups: dict[int, list[tuple[Call, Tensor, Tensor | None]]] = defaultdict(list)
        for call in calls:
            known = _linear(call, constants, shapes)
            if known is not None:
                groups[known[0]].append((call, *known[1:]))
        instead: dict[int, Call | None] = {}
        for number, group in groups.items():
            weights = [weight for _, weight, _ in group]
            key = tuple(weight.data_ptr() for weight in weights)
            if key not in self._made:
                biases = [bias for _, _, bias in group]
                self._made[key], copied = product(weights, biases, copy=self._copy)
                self.copied += copied
            instead |= {id(call): None for call, _, _ in group}
            first, read = group[0][0], (Value(number),)
            outputs = tuple(call.outputs[0] for call, _, _ in group)
            if len(group) == 1:
                instead[id(first)] = Call(self._made[key], read, {}, outputs, True)
            else:
                split = _split(self._made[key], [len(weight) for weight in weights])
                instead[id(first)] = Call(split, read, {}, outputs, False)
        replaced = (instead.get(id(call), call) for call in calls)
        return [call for call in replaced if call is not None]

    def experts(self, calls: list[Call]) -> list[Call]:
        """Experts of which only the chosen ones are read."""
        return [self._experts(call) if call.function is mixture else call for call in calls]

    def _experts(self, call: Call) -> Call:
        key = (id(call.args[0]),)
        if key not in self._made:
            experts = self._made[key] = OneTokenExperts(call.args[0], copy=self._copy)
            self.copied += experts.copied
        return replace(call, function=self._made[key], args=call.args[1:])


def _split(made: Callable[..., Tensor], sizes: list[int]) -> Callable[..., Any]:
    def split(hidden: Tensor) -> Any:
        return torch.split(made(hidden), sizes, -1)

    return split


def _linear(
    call: Call, constants: dict[int, Tensor], shapes: dict[int, tuple[int, ...]]
) -> tuple[int, Tensor, Tensor | None] | None:
    """What is read, (out, in) weights and bias of a call that multiplies one row with fixed weights."""
    bias: Any = None
    if call.function is linear:
        given = dict(zip(("input", "weight", "bias"), call.args, strict=False)) | call.kwargs
        hidden, weight, bias = given["input"], given["weight"], given.get("bias")
    elif call.name == "addmm" and not call.kwargs:
        bias, hidden, weight = call.args
    elif call.name in ("matmul", "mm"):
        hidden, weight = call.args
    else:
        return None
    values = [part.number for part in (weight, bias) if isinstance(part, Value)]
    if not isinstance(hidden, Value) or not isinstance(weight, Value) or hidden.number in constants:
        return None
    if any(number not in constants for number in values) or constants[weight.number].dim() != 2:
        return None
    held_weight = constants[weight.number]
    if call.function is not linear:
        held_weight = held_weight.t()
    one_row = torch.Size(shapes.get(hidden.number, (0,))).numel() == held_weight.shape[1]
    if not one_row or held_weight.dtype != torch.float32:
        return None
    return hidden.number, held_weight, None if bias is None else constants[bias.number]
