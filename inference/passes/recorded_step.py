"""Single tokens on a CPU through a model of any family, by its recorded calls alone.

What transformers does around each layer (modules, hooks, masks that turn out to be needless, looking things
up) is Python and costs small models half of their speed. The first tokens are read by the model itself and
recorded (see :mod:`inference.passes.recording`); after that the recorded calls are made, once their logits
have been compared with the model's own. A model that decides by what is in its tensors, or keeps a state of
its own, is left to transformers.

A model may read a long text in another way than a short one: at lengths that its config names (a
window, the trained length) a recording ends and another begins.
"""

from __future__ import annotations

import logging
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import ReferenceType, ref

import torch
from torch import Tensor
from transformers.cache_utils import (
    Cache,
    DynamicSlidingWindowLayer,
    LinearAttentionAndFullAttentionLayer,
    LinearAttentionLayer,
)

from inference.models.estimates import LARGEST_COPY
from inference.passes.kv_cache import BufferedLayer
from inference.passes.recorded_calls import Products, shortened
from inference.passes.recording import (
    POSITION,
    TOKEN,
    Grown,
    Recording,
    Value,
    ask,
    compared,
    length_of,
    record,
)

logger = logging.getLogger(__name__)

#: Largest difference to the model's own logits, and that for each unit of the largest of them.
_TOLERANCE, _SHARE = 1e-4, 1e-5
#: Fields of a config that may be lengths of texts.
_LENGTH = re.compile("window|chunk|position|length|context|seq|ctx")
#: No text that ends sooner is told apart: smaller numbers are counts of layers.
_SHORTEST = 8
#: (token, position, length, cache) -> (1, 1, vocabulary)
_Read = Callable[[Tensor, Tensor, int, Cache], Tensor]


@dataclass(slots=True)
class _Stretch:
    """What is known of the lengths between two that the config names.

    Attributes:
        recording: Of the last token that was recorded.
        read: Makes the recorded calls.
        proven_on: The cache on which that gave the model's own logits, and one on which it did before.
    """

    recording: Recording | None = None
    read: _Read | None = None
    proven_on: tuple[ReferenceType[Cache], ...] = ()

    def trusted(self, cache: Cache) -> bool:
        """Whether no more proof is needed: what holds for two caches does not hang on one."""
        return len(self.proven_on) > 1 or any(known() is cache for known in self.proven_on)


class RecordedStep:
    """Reads single tokens by what a model was seen to do.

    Args:
        model: Of transformers, in float32 on a CPU.

    Attributes:
        right: Whether it is relied on; None until that is known.
        copied: Bytes of the packed copies of the weights.
        reason: Why it is not.
    """

    def __init__(self, model: Any) -> None:
        self.right: bool | None = None
        self.copied = 0
        self.reason = ""
        self._model = model
        self._copy = sum(weight.numel() for weight in model.parameters()) <= LARGEST_COPY
        self._limits = _lengths(model.config.to_dict())
        self._stretches: dict[int, _Stretch] = {}
        self._products: Products = {}

    def fits(self, cache: Any) -> bool:
        """Whether the cache is one that this step can write into."""
        return self.right is not False and can_follow(cache)

    def read(self, token: int, cache: Cache, own: Callable[[], Tensor]) -> Tensor:
        """Read a token behind what is in the cache; returns (1, vocabulary) logits.

        Args:
            token: Its id.
            cache: Is extended by it.
            own: Lets the model read it.
        """
        length = length_of(cache)
        place = bisect_right(self._limits, length + 1)
        if place != bisect_right(self._limits, length - 2):  # at a length where something may change
            return own()
        stretch = self._stretches.setdefault(place, _Stretch())
        before = [_state(layer) for layer in cache.layers]
        try:
            if stretch.read is None:
                return self._recorded(stretch, token, cache)
            tried = _step(stretch.read, token, cache, length)
        except Exception as error:  # whatever it is, the model can go on from where the cache was
            _restore(cache, before)
            self._give_up(str(error) or type(error).__name__)
            return own()
        if stretch.trusted(cache):
            return tried
        _restore(cache, before)
        logits = own()
        difference = float((tried - logits).abs().max())
        if difference <= _TOLERANCE + _SHARE * float(logits.abs().max()):
            stretch.proven_on = (*stretch.proven_on, ref(cache))
            self.right = True
        else:
            self._give_up(f"logits differ by {difference:.1e}")
        return logits

    def _recorded(self, stretch: _Stretch, token: int, cache: Cache) -> Tensor:
        """Let the model read a token and learn from it."""
        logits, recording = record(self._model, token, cache)
        known, stretch.recording = stretch.recording, recording
        if known is not None and (known.length < recording.length or recording.length == 0):
            short, copied = shortened(compared(known, recording), self._products, copy=self._copy)
            stretch.read, stretch.recording = compiled(short), None
            self.copied += copied
        return logits

    def _give_up(self, reason: str) -> None:
        logger.warning("Steps are left to transformers: %s", reason)
        self.right, self.reason, self.copied = False, reason, 0
        self._stretches.clear()
        self._products.clear()


def why_not_recorded(model: Any) -> str:
    """Why it is not worth while, or the weights are not where the recorded calls would read them; "" if they
    are.
    """
    weights = list(model.parameters())
    if any(weight.device.type != "cpu" for weight in weights):
        return "its weights are not on the CPU"
    if any(weight.dtype != torch.float32 for weight in weights):
        return "its weights are not held in float32"
    if not weights or sum(weight.numel() for weight in weights) > LARGEST_COPY:
        return "it is large: it waits for its weights, not for what is called around them"
    if any(hasattr(module, "_hf_hook") for module in model.modules()):
        return "its layers are spread over several devices"
    if getattr(model.config, "attention_chunk_size", None) is not None:
        return "it tells chunks of the text apart by where they begin, which a recording can't follow"
    return ""


def _step(read: _Read, token: int, cache: Cache, length: int) -> Tensor:
    return read(torch.tensor([[token]]), torch.tensor([[length]]), length, cache)[0]


def _lengths(fields: Mapping[str, Any]) -> list[int]:
    """Whole numbers in a config that may be lengths of texts."""
    found = set()
    for name, value in fields.items():
        if isinstance(value, Mapping):
            found.update(_lengths(value))
        elif isinstance(value, int) and value >= _SHORTEST and _LENGTH.search(name):
            found.add(value)
    return sorted(found)


def can_follow(cache: Any) -> bool:
    """Whether every layer of a cache can be written by a step, and taken back."""
    layers: list[Any] = cache.layers if isinstance(cache, Cache) else []
    return bool(layers) and all(_followed(layer) for layer in layers)


def _followed(layer: Any) -> bool:
    """Whether a layer of a cache holds something, of one text, in a way that can be restored."""
    if isinstance(layer, LinearAttentionLayer) and not all(layer.has_previous_state.values()):
        return False
    if type(layer).__name__ == "DummyLayer":  # in newer transformers: it reads what another layer keeps
        return True
    known = type(layer) in (BufferedLayer, DynamicSlidingWindowLayer, LinearAttentionAndFullAttentionLayer)
    return (known and layer.keys is not None and layer.keys.shape[0] == 1) or type(
        layer
    ) is LinearAttentionLayer


def _state(layer: Any) -> dict[str, Any]:
    """What brings a layer of a cache back to where it is; states are written in place, so they are copied."""
    if isinstance(layer, BufferedLayer):
        return {"length": layer.length}
    kept = {
        name: vars(layer)[name] for name in ("keys", "values", "cumulative_length") if name in vars(layer)
    }
    states = ("conv_states", "recurrent_states") if isinstance(layer, LinearAttentionLayer) else ()
    return kept | {name: _copied(getattr(layer, name)) for name in states}


def _copied(states: dict[int, Tensor | None]) -> dict[int, Tensor | None]:
    return {number: None if state is None else state.clone() for number, state in states.items()}


def _restore(cache: Cache, before: list[Any]) -> None:
    """Take back what was read since; old keys and values stand where they stood."""
    layers: list[Any] = cache.layers
    for layer, state in zip(layers, before, strict=True):
        if not isinstance(layer, BufferedLayer):
            vars(layer).update(state)
        elif layer.length > state["length"]:
            layer.crop(state["length"] - layer.length)


def compiled(recording: Recording) -> _Read:
    """The calls as one function of Python."""
    names: dict[str, Any] = {f"v{number}": tensor for number, tensor in recording.constants.items()}
    lines = [f"def read(v{TOKEN}, v{POSITION}, length, cache):"]
    for call in recording.calls:
        if call.function is ask:
            function, args = f"cache.{call.args[0]}", call.args[1:]
        else:
            function, args = f"f{len(lines)}", call.args
            names[function] = call.function
        given = [_written(part, names) for part in args]
        given += [f"{key}={_written(part, names)}" for key, part in call.kwargs.items()]
        into = ", ".join("_" if number is None else f"v{number}" for number in call.outputs)
        into += "" if call.alone or not into else ","
        lines.append(f"    {into + ' = ' if into else ''}{function}({', '.join(given)})")
    lines.append(f"    return v{recording.output}")
    exec("\n".join(lines), names)  # built from the calls above only
    read: _Read = names["read"]
    return read


def _written(part: Any, names: dict[str, Any]) -> str:
    """An argument as Python is written; what can't be gets a name."""
    if isinstance(part, Value):
        return f"v{part.number}"
    if isinstance(part, Grown):
        return f"{part.beyond} {'+' if part.sign > 0 else '-'} length"
    if isinstance(part, list):
        return f"[{', '.join(_written(one, names) for one in part)}]"
    if isinstance(part, tuple):
        return f"({''.join(_written(one, names) + ', ' for one in part)})"
    if isinstance(part, slice):
        return f"slice({', '.join(_written(one, names) for one in (part.start, part.stop, part.step))})"
    if part is None or isinstance(part, (bool, int, str)):
        return repr(part)
    name = f"c{len(names)}"
    names[name] = part
    return name
