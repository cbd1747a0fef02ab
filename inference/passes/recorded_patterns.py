"""Several recorded calls as one that computes the same: found by what they compute, never by a family.

The five calls that transformers writes a root mean square norm with, those that turn queries and keys by
their position, GELU's tanh form where it is written out, changes of shape that follow each other, and sums
behind products.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import gelu, rms_norm

from inference.passes.recorded_values import Chains, read_calls, renumbered, written_values
from inference.passes.recording import Call, Recording, Value

#: sqrt(2 / pi), as it is in the tanh form of GELU.
_GELU = 0.7978845608028654


def norms(calls: list[Call], recording: Recording, constants: dict[int, Tensor]) -> list[Call]:
    """x * rsqrt(mean(x ** 2) + epsilon), and times a weight, as one call."""
    chains = Chains(calls)
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
    return read_calls(shorter, recording.output)


def _norm_of(call: Call, chains: Chains) -> tuple[Value, float] | None:
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


def rotations(calls: list[Call], recording: Recording, constants: dict[int, Tensor]) -> list[Call]:
    """x * cos + cat(-x2, x1) * sin as one call, where x1 and x2 are the halves of x."""
    chains = Chains(calls)
    shorter = []
    for call in calls:
        turned = _turned(call, chains, recording.shapes) if call.name == "add" and call.alone else None
        shorter.append(call if turned is None else replace(call, function=_rotated, args=turned, kwargs={}))
    return shorter


def _turned(call: Call, chains: Chains, shapes: dict[int, tuple[int, ...]]) -> tuple[Value, ...] | None:
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


def gates(calls: list[Call], recording: Recording, constants: dict[int, Tensor]) -> list[Call]:
    """GELU's tanh form, where it is written out, as one call: 0.5 x (1 + tanh(c (x + 0.044715 x ** 3)))."""
    chains = Chains(calls)
    shorter = []
    for call in calls:
        gated = _gated(call, chains) if call.name == "mul" and call.alone else None
        if gated is not None:
            call = replace(call, function=gelu, args=(gated,), kwargs={"approximate": "tanh"})
        shorter.append(call)
    return shorter


def _gated(call: Call, chains: Chains) -> Value | None:
    for one, other in (call.args, call.args[::-1]):
        half, whole = chains.maker(one, "mul", "rmul"), chains.maker(other, "add", "radd")
        bent = chains.maker(whole.args[0], "tanh") if whole else None
        scaled = chains.maker(bent.args[0], "mul", "rmul") if bent else None
        summed = chains.maker(scaled.args[0], "add") if scaled else None
        small = chains.maker(summed.args[1], "mul", "rmul") if summed else None
        cube = chains.maker(small.args[0], "pow") if small else None
        if half is None or whole is None or scaled is None or small is None or cube is None or summed is None:
            continue
        hidden = cube.args[0]
        numbers = (half.args[1], whole.args[1], scaled.args[1], small.args[1], cube.args[1])
        if half.args[0] == hidden == summed.args[0] and numbers == (0.5, 1.0, _GELU, 0.044715, 3.0):
            return hidden if isinstance(hidden, Value) else None
    return None


def views(calls: list[Call], recording: Recording, constants: dict[int, Tensor]) -> list[Call]:
    """Calls that only give another shape to the same numbers in the same order, as one where they follow each
    other.
    """
    shapes, written = recording.shapes, written_values(calls)
    roots: dict[int, int] = {}
    known: dict[tuple[int, tuple[int, ...]], int] = {}
    same: dict[int, int] = {}
    shorter = []
    for call in calls:
        call = renumbered(call, same)
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
    shape = shapes[call.args[0].number]
    if call.name == "permute" and all(isinstance(axis, int) for axis in call.args[1:]):
        moved = [axis % len(shape) for axis in call.args[1:] if shape[axis] > 1]
        return moved == sorted(moved)
    if call.name != "transpose":
        return False
    first, last = sorted(axis % len(shape) for axis in call.args[1:])
    return sum(size > 1 for size in shape[first : last + 1]) < 2


def residuals(calls: list[Call], recording: Recording) -> list[Call]:
    """Products that add what they are added to."""
    chains, shapes = Chains(calls), recording.shapes
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
    return read_calls(shorter, recording.output)
