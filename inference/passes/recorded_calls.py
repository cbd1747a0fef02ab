"""A recording made short: the same results from fewer calls.

- What comes of the weights alone is computed once.
- What nobody reads is left out.
- Linears that read the same become one product, on packed weights where those are exact (see
  :mod:`inference.passes.packed_linear`).
- The five calls that transformers writes a root mean square norm with become one; so do those that turn
  queries and keys by their position, and experts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, rms_norm

from inference.passes.one_token_experts import OneTokenExperts, mixture
from inference.passes.packed_linear import product
from inference.passes.recording import Call, Grown, Recording, Value, ask

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
    for shorten in (_norms, _rotations, _views):
        calls = _read(shorten(_read(calls, recording.output), recording, constants), recording.output)
    maker = _Products(products, copy)
    calls = _residuals(maker.experts(maker.linears(calls, constants, recording.shapes)), recording)
    used = {number for call in calls for number in call.values()}
    kept = {number: tensor for number, tensor in constants.items() if number in used}
    return replace(recording, calls=calls, constants=kept), maker.copied


def _folded(recording: Recording) -> tuple[list[Call], dict[int, Tensor]]:
    """Calls without those whose results never change, and these results among the constants."""
    constants = dict(recording.constants)
    written = _written(recording.calls)
    calls = []
    for call in recording.calls:
        fixed = (
            all(number in constants for number in call.values())
            and call.outputs
            and call.function is not ask
            and not call.in_place
            and not written.intersection(call.outputs)
            and not _grows((call.args, tuple(call.kwargs.values())))
        )
        if not fixed:
            calls.append(call)
            continue
        result = call.function(*_with(call.args, constants), **_with(call.kwargs, constants))
        made = zip(call.outputs, (result,) if call.alone else result, strict=True)
        constants |= {number: one for number, one in made if number is not None}
    return calls, constants


def _written(calls: list[Call]) -> set[int]:
    """Numbers of values that a later call writes into, also by way of another view of them."""
    written: set[int] = set()
    for call in reversed(calls):
        first = next(call.values(), None)
        if first is not None and (call.in_place or written.intersection(call.outputs)):
            written.add(first)
    return written


def _grows(part: Any) -> bool:
    if isinstance(part, (tuple, list)):
        return any(_grows(one) for one in part)
    if isinstance(part, slice):
        return _grows((part.start, part.stop, part.step))
    return isinstance(part, Grown)


def _with(part: Any, constants: dict[int, Tensor]) -> Any:
    """Arguments with tensors in the place of their numbers."""
    if isinstance(part, Value):
        return constants[part.number]
    if isinstance(part, (tuple, list)):
        return type(part)(_with(one, constants) for one in part)
    if isinstance(part, dict):
        return {key: _with(one, constants) for key, one in part.items()}
    if isinstance(part, slice):
        return slice(*(_with(one, constants) for one in (part.start, part.stop, part.step)))
    return part


def _read(calls: list[Call], output: int) -> list[Call]:
    """The calls that something comes of."""
    needed, kept = {output}, []
    for call in reversed(calls):
        if call.in_place or call.function is ask or needed.intersection(call.outputs):
            kept.append(call)
            needed.update(call.values())
    return kept[::-1]


class _Chains:
    """Who makes each value, and how often it is read."""

    def __init__(self, calls: list[Call]) -> None:
        self.made = {call.outputs[0]: call for call in calls if call.alone}
        self.reads = Counter(number for call in calls for number in call.values())

    def maker(self, part: Any, *names: str, reads: int = 1) -> Call | None:
        """The call of one of these names that makes a value which is read so often."""
        if not isinstance(part, Value) or self.reads[part.number] != reads:
            return None
        call = self.made.get(part.number)
        return call if call is not None and call.name in names else None


def _norms(calls: list[Call], recording: Recording, constants: dict[int, Tensor]) -> list[Call]:
    """x * rsqrt(mean(x ** 2) + epsilon), and times a weight, as one call."""
    chains = _Chains(calls)
    found: dict[int, tuple[Value, float]] = {}
    shorter = []
    for call in calls:
        if call.name in ("mul", "rmul") and len(call.args) == 2 and call.alone:
            number = call.outputs[0]
            assert number is not None
            plain = _norm_of(call, chains)
            if plain is not None:
                found[number] = plain
                call = replace(call, function=_normed, args=(plain[0], None, plain[1]))
            else:
                for one, other in (call.args, call.args[::-1]):
                    known = found.get(one.number) if isinstance(one, Value) else None
                    weight = constants.get(other.number) if isinstance(other, Value) else None
                    if known is not None and weight is not None and weight.dim() == 1:
                        call = replace(call, function=_normed, args=(known[0], other, known[1]))
                        break
        shorter.append(call)
    return _read(shorter, recording.output)


def _norm_of(call: Call, chains: _Chains) -> tuple[Value, float] | None:
    """What is normed by this product, and the epsilon."""
    for one, other in (call.args, call.args[::-1]):
        root = chains.maker(other, "rsqrt")
        total = chains.maker(root.args[0], "add", "radd") if root else None
        mean = chains.maker(total.args[0], "mean") if total else None
        square = chains.maker(mean.args[0], "pow") if mean else None
        if total is None or mean is None or square is None or not isinstance(one, Value):
            continue
        along = (*mean.args[1:], *mean.kwargs.values())
        if square.args == (one, 2) and along == (-1, True) and isinstance(total.args[1], float):
            return one, total.args[1]
    return None


def _normed(hidden: Tensor, weight: Tensor | None, epsilon: float) -> Tensor:
    """Of one row: a dot product and a number of Python cost half of what ``rms_norm`` does."""
    size = hidden.shape[-1]
    if hidden.numel() != size:
        return rms_norm(hidden, (size,), weight, epsilon)
    row = hidden.view(-1)
    factor = (float(row.dot(row)) / size + epsilon) ** -0.5
    return hidden * factor if weight is None else (hidden * weight).mul_(factor)


def _rotations(calls: list[Call], recording: Recording, constants: dict[int, Tensor]) -> list[Call]:
    """x * cos + cat(-x2, x1) * sin as one call, where x1 and x2 are the halves of x."""
    chains = _Chains(calls)
    shorter = []
    for call in calls:
        turned = _turned(call, chains, recording.shapes) if call.name == "add" and call.alone else None
        shorter.append(call if turned is None else replace(call, function=_rotated, args=turned, kwargs={}))
    return shorter


def _turned(call: Call, chains: _Chains, shapes: dict[int, tuple[int, ...]]) -> tuple[Value, ...] | None:
    for one, other in (call.args[:2], call.args[1::-1]):
        straight, crossed = chains.maker(one, "mul"), chains.maker(other, "mul")
        joined = chains.maker(crossed.args[0], "cat") if crossed else None
        if straight is None or crossed is None or joined is None:
            continue
        parts = joined.args[0]
        minus = chains.maker(parts[0], "neg") if len(parts) == 2 else None
        second = chains.maker(minus.args[0], "getitem") if minus else None
        first = chains.maker(parts[1], "getitem") if second else None
        turning, cos = straight.args
        if first is None or second is None or not isinstance(turning, Value) or not isinstance(cos, Value):
            continue
        half = shapes.get(turning.number, (0,))[-1] // 2
        halves = (..., slice(None, half, None)), (..., slice(half, None, None))
        if first.args == (turning, halves[0]) and second.args == (turning, halves[1]):
            return turning, cos, crossed.args[1]
    return None


def _rotated(hidden: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = hidden.chunk(2, -1)
    return torch.addcmul(hidden * cos, torch.cat([-second, first], -1), sin)


def _views(calls: list[Call], recording: Recording, constants: dict[int, Tensor]) -> list[Call]:
    """Calls that only give another shape to the same numbers in the same order, as one where they follow each
    other.
    """
    shapes, written = recording.shapes, _written(calls)
    roots: dict[int, int] = {}
    known: dict[tuple[int, tuple[int, ...]], int] = {}
    same: dict[int, int] = {}
    shorter = []
    for call in calls:
        call = _renumbered(call, same)
        number = call.outputs[0] if call.alone else None
        first = call.args[0] if call.args else None
        kept = number is None or number == recording.output
        if kept or not isinstance(first, Value) or not _reshapes(call, shapes):
            shorter.append(call)
            continue
        assert number is not None
        root = roots[number] = roots.get(first.number, first.number)
        shape = shapes[number]
        if written.intersection((number, root)):
            shorter.append(call)
        elif shape == shapes[root] or (root, shape) in known:
            same[number] = root if shape == shapes[root] else known[root, shape]
        else:
            known[root, shape] = number
            shorter.append(Call(Tensor.reshape, (Value(root), shape), {}, call.outputs, True))
    return shorter


def _reshapes(call: Call, shapes: dict[int, tuple[int, ...]]) -> bool:
    """Whether all numbers stay in their order, and the shape does not grow with the text."""
    if call.kwargs or call.outputs[0] not in shapes or [*call.values()] != [call.args[0].number]:
        return False
    if call.args[0].number not in shapes:
        return False
    if call.name in ("view", "reshape", "unsqueeze", "squeeze", "flatten", "contiguous"):
        return all(not isinstance(part, torch.dtype) for part in call.args)
    if call.name != "transpose":
        return False
    shape = shapes[call.args[0].number]
    first, last = sorted(axis % len(shape) for axis in call.args[1:])
    return sum(size > 1 for size in shape[first : last + 1]) < 2


def _renumbered(call: Call, same: dict[int, int]) -> Call:
    """With values that are the same as others replaced by those."""
    return replace(call, args=_other(call.args, same), kwargs=_other(call.kwargs, same))


def _other(part: Any, same: dict[int, int]) -> Any:
    if isinstance(part, Value):
        return Value(same.get(part.number, part.number))
    if isinstance(part, (tuple, list)):
        return type(part)(_other(one, same) for one in part)
    if isinstance(part, dict):
        return {key: _other(one, same) for key, one in part.items()}
    if isinstance(part, slice):
        return slice(*(_other(one, same) for one in (part.start, part.stop, part.step)))
    return part


def _residuals(calls: list[Call], recording: Recording) -> list[Call]:
    """Products that add what they are added to."""
    chains, shapes = _Chains(calls), recording.shapes
    shorter = []
    for call in calls:
        if call.name in ("add", "radd") and len(call.args) == 2 and not call.kwargs and not call.in_place:
            for one, other in (call.args, call.args[::-1]):
                made = chains.maker(one, "packed")
                fits = (
                    made is not None
                    and isinstance(other, Value)
                    and shapes.get(one.number) == shapes.get(other.number)
                )
                if made is not None and fits and len(made.args) == 1:
                    call = replace(call, function=made.function, args=(*made.args, other))
                    break
        shorter.append(call)
    return _read(shorter, recording.output)


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
