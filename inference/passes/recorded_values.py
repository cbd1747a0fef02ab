"""What can be told of recorded calls: who makes a value, who writes into it, whether anybody reads it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from inference.passes.recording import Call, Grown, Value, ask


def written_values(calls: list[Call]) -> set[int]:
    """Numbers of values that a later call writes into, also by way of another view of them."""
    written: set[int] = set()
    for call in reversed(calls):
        first = next(call.values(), None)
        if first is not None and (call.in_place or written.intersection(call.outputs)):
            written.add(first)
    return written


def grows(part: Any) -> bool:
    if isinstance(part, (tuple, list)):
        return any(grows(one) for one in part)
    if isinstance(part, slice):
        return grows((part.start, part.stop, part.step))
    return isinstance(part, Grown)


def with_tensors(part: Any, constants: dict[int, Tensor]) -> Any:
    """Arguments with tensors in the place of their numbers."""
    if isinstance(part, Value):
        return constants[part.number]
    if isinstance(part, (tuple, list)):
        return type(part)(with_tensors(one, constants) for one in part)
    if isinstance(part, dict):
        return {key: with_tensors(one, constants) for key, one in part.items()}
    if isinstance(part, slice):
        return slice(*(with_tensors(one, constants) for one in (part.start, part.stop, part.step)))
    return part


def read_calls(calls: list[Call], output: int) -> list[Call]:
    """The calls that something comes of."""
    needed, kept = {output}, []
    for call in reversed(calls):
        if call.in_place or call.function is ask or needed.intersection(call.outputs):
            kept.append(call)
            needed.update(call.values())
    return kept[::-1]


def comparable(part: Any) -> bool:
    """Whether arguments can be compared."""
    if isinstance(part, (tuple, list)):
        return all(comparable(one) for one in part)
    known = (Value, Grown, int, float, str, torch.dtype, torch.device, slice, type(None), type(...))
    return isinstance(part, known)


def hashable(part: Any) -> Any:
    if isinstance(part, (tuple, list)):
        return (type(part), tuple(hashable(one) for one in part))
    if isinstance(part, slice):
        return (slice, *(hashable(one) for one in (part.start, part.stop, part.step)))
    return (type(part), part)


def renumbered(call: Call, same: dict[int, int]) -> Call:
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


class Chains:
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
