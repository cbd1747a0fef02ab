"""The adapters of one loaded model: attached, switched, scaled and taken off.

A layer that is changed gets a forward hook, which adds the adapters' part to what the layer computes. So it
does not matter how the layer holds its weights, several adapters add up, and with all of them off there is
no hook: the model is itself again, to the bit. Who computes a layer without calling it (the fast step on a
CPU, the fused layers on a GPU) has to ask :attr:`Adapters.mark` first.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from inference import machine
from inference.adapters.changes import Change, Replacement, changes_of
from inference.adapters.files import AdapterFiles
from inference.errors import InvalidRequest, OutOfMemory
from inference.events import AdapterInfo, AdapterScale

_numbers = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """An adapter in memory. ``number`` tells it from all others, whatever their names."""

    number: int
    info: AdapterInfo
    changes: dict[str, tuple[Change, ...]]

    def bytes(self) -> int:
        """Memory of its tensors."""
        changes = (change for each in self.changes.values() for change in each)
        tensors = (tensor for change in changes for tensor in change.tensors())
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


class Adapters:
    """What is attached to a model, and what of it acts.

    Attributes:
        active: The adapters that are on, in the order in which they were attached.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        self._model, self._dtype = model, dtype
        self._attached: dict[str, Attached] = {}
        self._hooks: list[RemovableHandle] = []
        self.active: tuple[AdapterScale, ...] = ()

    @property
    def attached(self) -> tuple[AdapterInfo, ...]:
        """What is attached, on or off."""
        return tuple(each.info for each in self._attached.values())

    @property
    def mark(self) -> Hashable:
        """Equal where a text is read under the same adapters; None where none is on."""
        if not self.active:
            return None
        return tuple((self._attached[each.name].number, each.scale) for each in self.active)

    def bytes(self) -> int:
        """Memory of all that is attached."""
        return sum(each.bytes() for each in self._attached.values())

    def attach(self, files: AdapterFiles) -> str:
        """Bring an adapter into memory, switched off; returns the name that it has here.

        Raises:
            ModelUnsupported: It does not fit the model.
            OutOfMemory: There is no room for it.
        """
        size = torch.empty(0, dtype=self._dtype).element_size()
        info = files.info(size)
        device = next(self._model.parameters()).device
        free = machine.free_memory("cuda" if device.type == "cuda" else "cpu")
        if info.memory > free:
            raise OutOfMemory(
                f"The adapter needs {info.memory / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB are free.",
                hint="Choose a smaller quantization or context length, or close other programs.",
            )
        changes = changes_of(files, self._model, self._dtype)
        old = next((name for name, each in self._attached.items() if each.info.source == info.source), None)
        name = old or _free_name(info.name, self._attached)
        if old is not None:
            self.detach(old)
        self._attached[name] = Attached(number=next(_numbers), info=replace(info, name=name), changes=changes)
        return name

    def detach(self, name: str) -> None:
        """Let go of an adapter.

        Raises:
            InvalidRequest: There is none of that name.
        """
        self._check(name)
        self.use([each for each in self.active if each.name != name])
        del self._attached[name]

    def clear(self) -> None:
        """Let go of all of them."""
        self.use(())
        self._attached.clear()

    def use(self, scales: Sequence[AdapterScale]) -> bool:
        """Let these act, and no others; returns whether that changes anything.

        Raises:
            InvalidRequest: One is not attached, or two of them bring the same layer whole.
        """
        wanted = {each.name: each for each in scales if each.scale != 0.0}
        for name in wanted:
            self._check(name)
        active = tuple(wanted[name] for name in self._attached if name in wanted)
        if active == self.active:
            return False
        parts = self._parts(active)
        for hook in self._hooks:
            hook.remove()
        self._hooks = [
            self._model.get_submodule(module).register_forward_hook(_Adding(changes))
            for module, changes in parts.items()
        ]
        self.active = active
        return True

    def _parts(self, active: Sequence[AdapterScale]) -> dict[str, list[tuple[Change, float]]]:
        """For each layer what acts on it; what replaces it comes first."""
        parts: dict[str, list[tuple[Change, float]]] = {}
        for each in active:
            for module, changes in self._attached[each.name].changes.items():
                held = parts.setdefault(module, [])
                for change in changes:
                    if not isinstance(change, Replacement):
                        held.append((change, each.scale))
                        continue
                    if held and isinstance(held[0][0], Replacement):
                        raise InvalidRequest(
                            f"Two adapters bring their own {module}; only one of them can be on.",
                            hint="Switch one of them off.",
                        )
                    held.insert(0, (change, each.scale))
        return parts

    def _check(self, name: str) -> None:
        if name not in self._attached:
            raise InvalidRequest(
                f"No adapter {name!r} is attached.",
                hint=f"Attached are: {', '.join(self._attached) or 'none'}.",
            )


class _Adding:
    """A forward hook: what acts on a layer, in order."""

    __slots__ = ("_changes",)

    def __init__(self, changes: list[tuple[Change, float]]) -> None:
        self._changes = changes

    def __call__(self, layer: nn.Module, given: tuple[Any, ...], output: Tensor) -> Tensor:
        for change, scale in self._changes:
            output = change.apply(layer, given[0], output, scale)
        return output


def _free_name(name: str, taken: dict[str, Attached]) -> str:
    """A name that no other adapter has: many are called "checkpoint-1000"."""
    numbered = (f"{name} ({number})" for number in itertools.count(2))
    return next(each for each in itertools.chain([name], numbered) if each not in taken)
