"""What a model's own code does to read one token, as a list of calls of torch.

Nothing is known of the family: transformers' forward runs as always, and every function of torch that it
calls is written down with what it was called with. Two such recordings at texts of different length tell what
changes from token to token: tensors that come of the token, its position and the cache are computed anew; a
whole number that has grown by as much as the text is counted from its length; everything else must be equal.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode, handle_torch_function
from transformers.cache_utils import Cache, CacheLayerMixin

from inference.passes.one_token_experts import as_one_call

#: Numbers of the values that a recording begins with.
TOKEN, POSITION = 0, 1
#: What tells something of a tensor that does not depend on its content.
_ABOUT = frozenset(
    {"size", "dim", "numel", "nelement", "ndimension", "stride", "storage_offset", "is_contiguous"}
    | {"element_size", "is_floating_point", "is_complex", "get_device", "type", "result_type", "is_inference"}
)
#: How models of transformers get at what a cache holds.
_METHODS = ("update", "get_conv_state", "update_conv_state", "get_recurrent_state", "update_recurrent_state")
#: Looks at the first and the last token to say that padding should be masked.
_WARNING = "warn_if_padding_and_no_attention_mask"
#: What draws random numbers.
_RANDOM = frozenset(
    ("rand", "randn", "randint", "rand_like", "randn_like", "bernoulli", "multinomial", "normal_", "uniform_")
)


class NotRecordable(Exception):
    """The model decides by what is in its tensors, or holds something that a recording can't follow."""


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor by its number."""

    number: int


@dataclass(frozen=True, slots=True)
class Grown:
    """A whole number: so much more than the text's length, or than minus that."""

    beyond: int
    sign: int = 1


@dataclass(frozen=True, slots=True)
class Call:
    """One call: tensors in its arguments are :class:`Value`, also within tuples and lists.

    Attributes:
        outputs: Numbers of what it gives; one of a tuple is None where it is no tensor.
        alone: Whether it gives one tensor instead of a tuple.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[int | None, ...]
    alone: bool

    @property
    def name(self) -> str:
        """Of the function, without the underscores of operators."""
        return getattr(self.function, "__name__", "").strip("_")

    @property
    def in_place(self) -> bool:
        """Whether it writes into its first argument."""
        name = getattr(self.function, "__name__", "")
        ends = name.endswith("_") and not name.endswith("__")
        return ends or name == "__setitem__" or (name.startswith("__i") and name != "__invert__")

    def values(self) -> Iterator[int]:
        """Numbers of the tensors that it reads."""
        yield from _values((self.args, tuple(self.kwargs.values())))


@dataclass(frozen=True, slots=True)
class Recording:
    """Calls in their order.

    Attributes:
        length: Tokens in the cache before.
        constants: Tensors of the model, by their numbers.
        shapes: Of all values; once two were compared, of those that do not grow with the text.
        output: Number of the logits (1, 1, vocabulary).
    """

    length: int
    calls: list[Call]
    constants: dict[int, Tensor]
    shapes: dict[int, tuple[int, ...]]
    output: int


def ask(method: str, *given: Any, **named: Any) -> Any:
    """Stands in a recording for a method of the cache."""
    tensors = [one for one in (*given, *named.values()) if isinstance(one, Tensor)]
    return handle_torch_function(ask, tensors, method, *given, **named)


def record(model: Any, token: int, cache: Cache) -> tuple[Tensor, Recording]:
    """Let the model read a token, and write down how.

    Args:
        model: Of transformers.
        token: Its id.
        cache: Is extended by it.

    Returns:
        (1, vocabulary) logits, and the calls.

    Raises:
        NotRecordable: The token was read by nobody if nothing is in the cache beyond what was.
    """
    length = length_of(cache)
    accepted = inspect.signature(model.forward).parameters
    inputs = torch.tensor([[token]]), torch.tensor([[length]])
    named = "past_key_values" if "past_key_values" in accepted else "cache_params"
    given: dict[str, Any] = {"input_ids": inputs[0], named: cache, "use_cache": True}
    if "position_ids" in accepted:
        given["position_ids"] = inputs[1]
    if "logits_to_keep" in accepted:
        given["logits_to_keep"] = 1
    own = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    with _listening(cache) as methods, as_one_call(model), _unwarned(model):
        recorder = _Recorder(own, inputs, methods)
        with recorder:
            logits = model(**given).logits
    recording = Recording(
        length, recorder.calls, recorder.constants, recorder.shapes, recorder.numbers[id(logits)]
    )
    return logits[0, -1:], recording


def compared(first: Recording, second: Recording) -> Recording:
    """The second recording with what grows with the text known as such.

    Raises:
        NotRecordable: They differ in more than that.
    """
    if len(first.calls) != len(second.calls) or first.output != second.output:
        raise NotRecordable("other calls at another token")
    if any(tensor is not second.constants.get(number) for number, tensor in first.constants.items()):
        raise NotRecordable("other tensors at another token")
    calls = []
    for one, other in zip(first.calls, second.calls, strict=True):
        if (
            one.function != other.function
            or one.outputs != other.outputs
            or list(one.kwargs) != list(other.kwargs)
        ):
            raise NotRecordable(f"{one.name} and {other.name} at another token")
        both = partial(_both, lengths=(first.length, second.length))
        args = both(one.args, other.args)
        kwargs = {key: both(one.kwargs[key], other.kwargs[key]) for key in one.kwargs}
        calls.append(replace(other, args=args, kwargs=kwargs))
    shapes = {number: shape for number, shape in second.shapes.items() if first.shapes[number] == shape}
    return replace(second, calls=calls, shapes=shapes)


def _both(one: Any, other: Any, lengths: tuple[int, int]) -> Any:
    both = partial(_both, lengths=lengths)
    if type(one) is not type(other):
        raise NotRecordable(f"{one!r} and {other!r} at another token")
    if isinstance(one, (tuple, list)) and len(one) == len(other):
        return type(one)(both(*pair) for pair in zip(one, other, strict=True)) if one else other
    if isinstance(one, slice):
        return slice(both(one.start, other.start), both(one.stop, other.stop), both(one.step, other.step))
    if isinstance(one, (bool, Tensor)) or not isinstance(one, int):
        if one is other or one == other:
            return other
    elif one == other:
        return other
    elif abs(other - one) == lengths[1] - lengths[0]:
        sign = 1 if other > one else -1
        return Grown(one - sign * lengths[0], sign)
    raise NotRecordable(f"{one!r} and {other!r} at another token")


class _Recorder(TorchFunctionMode):
    def __init__(
        self, own: dict[int, Tensor], inputs: tuple[Tensor, ...], methods: dict[str, Callable[..., Any]]
    ) -> None:
        super().__init__()
        self._methods = methods
        self.calls: list[Call] = []
        self.constants: dict[int, Tensor] = {}
        self.shapes: dict[int, tuple[int, ...]] = {}
        self.numbers: dict[int, int] = {}
        self._own = own
        self._kept: list[Tensor] = []
        for tensor in inputs:
            self._numbered(tensor)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call it, and write it down if tensors come of it."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        about = name == "__get__" or name in _ABOUT
        noted = () if about else self._noted(args), {} if about else self._noted(kwargs)
        run, given = (self._methods[args[0]], args[1:]) if func is ask else (func, args)
        result = run(*given, **kwargs)
        outputs = result if isinstance(result, (tuple, list)) else (result,)
        if not any(isinstance(output, Tensor) for output in outputs):
            if not about and result is not None and list(_values((noted[0], tuple(noted[1].values())))):
                raise NotRecordable(f"{name} looks into a tensor")
            if not about and result is None:
                self.calls.append(Call(func, *noted, (), False))
            return result
        if name in _RANDOM:
            raise NotRecordable(f"{name} draws random numbers")
        if about and isinstance(result, Tensor):  # .T, .mT, .data: what they are of is an argument
            noted = self._noted(args), {}
        alone = isinstance(result, Tensor)
        if alone and id(result) in self.numbers and not name.endswith("_") and func is not ask:
            return result  # ``to`` what it is already: the tensor itself
        numbers = tuple(self._numbered(one) if isinstance(one, Tensor) else None for one in outputs)
        self.calls.append(Call(func, *noted, numbers, alone))
        return result

    def _noted(self, part: Any) -> Any:
        if isinstance(part, Tensor):
            return Value(self._number(part))
        if isinstance(part, (tuple, list)):
            return (list if isinstance(part, list) else tuple)(self._noted(one) for one in part)
        if isinstance(part, dict):
            return {key: self._noted(one) for key, one in part.items()}
        if isinstance(part, slice):
            return slice(self._noted(part.start), self._noted(part.stop), self._noted(part.step))
        return part

    def _number(self, tensor: Tensor) -> int:
        number = self.numbers.get(id(tensor))
        if number is None:
            if id(tensor) not in self._own:
                raise NotRecordable("a tensor from elsewhere")
            number = self._numbered(tensor)
            self.constants[number] = tensor
        return number

    def _numbered(self, tensor: Tensor) -> int:
        if id(tensor) not in self.numbers:
            self.numbers[id(tensor)] = len(self._kept)
            with torch._C.DisableTorchFunction():
                self.shapes[len(self._kept)] = tuple(tensor.shape)
            self._kept.append(tensor)
        return self.numbers[id(tensor)]


@contextmanager
def _unwarned(model: Any) -> Iterator[None]:
    """Without the look at the first token that only decides whether to warn of padding."""
    warning = [module for module in model.modules() if hasattr(module, _WARNING)]
    with ExitStack() as stack:
        for module in warning:
            setattr(module, _WARNING, lambda *args, **kwargs: None)
            stack.callback(module.__dict__.pop, _WARNING)
        yield


@contextmanager
def _listening(cache: Any) -> Iterator[dict[str, Callable[..., Any]]]:
    """While this is open, what a model asks of the cache is recorded as one call each; gives its methods."""
    methods = {name: getattr(cache, name) for name in _METHODS if hasattr(cache, name)}

    def update(keys: Tensor, values: Tensor, layer: int, *args: Any, **kwargs: Any) -> Any:
        return ask("update", keys, values, layer)

    with ExitStack() as stack:
        for name in methods:
            setattr(cache, name, update if name == "update" else partial(ask, name))
            stack.callback(cache.__dict__.pop, name)
        yield methods


def length_of(cache: Cache) -> int:
    """Tokens in a cache; 0 where it keeps nothing but states."""
    counted = any(isinstance(layer, CacheLayerMixin) for layer in cache.layers)
    return int(cache.get_seq_length()) if counted else 0


def _values(part: Any) -> Iterator[int]:
    if isinstance(part, Value):
        yield part.number
    elif isinstance(part, (tuple, list)):
        for one in part:
            yield from _values(one)
    elif isinstance(part, slice):
        yield from _values((part.start, part.stop, part.step))
