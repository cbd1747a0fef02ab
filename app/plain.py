"""Plain JSON values back to frozen dataclasses, field by field, so that one bad value costs that value only.

The way there is :func:`inference.events.to_json`.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

T = TypeVar("T")


@functools.cache
def _hints(cls: Any) -> dict[str, Any]:
    """Looking names up takes half a millisecond a class."""
    return typing.get_type_hints(cls)


def from_plain(kind: Any, value: Any) -> Any:
    """Turn plain JSON into a value of type ``kind``: scalars, literals, optionals, tuples, bytes (hex),
    dataclasses.

    Raises:
        ValueError: ``value`` does not have that shape.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        if value in arguments:
            return value
    elif origin in (Union, types.UnionType):
        return _from_union(arguments, value)
    elif origin is tuple:
        if isinstance(value, list):
            return _tuple_from(arguments, value)
    elif is_dataclass(kind) and isinstance(kind, type):
        if isinstance(value, Mapping):
            return _whole(kind, value)
    elif kind is bytes and isinstance(value, str):
        return bytes.fromhex(value)
    elif kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    elif isinstance(kind, type) and type(value) is kind:
        return value
    raise ValueError(f"{value!r} is not {kind}")


def _from_union(arguments: tuple[Any, ...], value: Any) -> Any:
    for argument in arguments:
        if argument is type(None):
            if value is None:
                return None
            continue
        try:
            return from_plain(argument, value)
        except ValueError:
            continue
    raise ValueError(f"{value!r} is none of {arguments}")


def _tuple_from(arguments: tuple[Any, ...], value: list[Any]) -> tuple[Any, ...]:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(from_plain(arguments[0], item) for item in value)
    if len(arguments) != len(value):
        raise ValueError(f"{value!r} has not {len(arguments)} items")
    return tuple(from_plain(kind, item) for kind, item in zip(arguments, value, strict=True))


def _whole(cls: Any, value: Mapping[str, Any]) -> Any:
    hints = _hints(cls)
    known = {
        field.name: from_plain(hints[field.name], value[field.name])
        for field in fields(cls)
        if field.name in value
    }
    try:
        return cls(**known)
    except TypeError as error:
        raise ValueError(f"{value!r} is not a whole {cls.__name__}") from error


def read_fields(cls: type[T], value: Mapping[str, Any]) -> tuple[T, tuple[str, ...]]:
    """Make a ``cls`` of the fields that can be read; the others keep their defaults.

    Returns:
        The object, and the names of the fields whose values were of no use.
    """
    hints, good, bad = _hints(typing.cast(Any, cls)), {}, []
    for field in fields(cls):  # type: ignore[arg-type]
        if field.name in value:
            try:
                good[field.name] = from_plain(hints[field.name], value[field.name])
            except ValueError:
                bad.append(field.name)
    return cls(**good), tuple(bad)
