"""What changed between two sets of controls, in words for the transcript."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from inference.events import AdapterScale, AttentionControl, SamplingControls, SteeringOptions


def changes_between(old: SamplingControls, new: SamplingControls) -> tuple[tuple[str, str, str], ...]:
    """(name, old, new) of each control that differs, in the order of :class:`SamplingControls`."""
    return tuple(
        (field.name, *_both(field.name, getattr(old, field.name), getattr(new, field.name)))
        for field in fields(SamplingControls)
        if getattr(old, field.name) != getattr(new, field.name)
    )


def _both(name: str, old: Any, new: Any) -> tuple[str, str]:
    """What it was and what it is; adapters and experts that are left as they are have no words of their
    own.
    """
    if name == "adapters":
        old, new = old or (), new or ()
    elif name == "experts_off":
        old, new = (
            ", ".join(f"{e} of layer {layer}" for layer, e in off or ()) or "none" for off in (old, new)
        )
    return in_words(old), in_words(new)


def in_words(value: Any) -> str:
    """A control's value as a person reads it."""
    match value:
        case None:
            return "random"
        case float():
            return f"{value:g}"
        case SteeringOptions():
            return value.mode
        case tuple():
            return ", ".join(_part(each) for each in value) or "none"
        case _:
            return str(value)


def _part(value: Any) -> str:
    match value:
        case AdapterScale():
            return value.name if value.scale == 1.0 else f"{value.name} × {value.scale:g}"
        case AttentionControl():
            where = "" if value.message is None else f" of message {value.message + 1}"
            return f"{value.start}-{value.end}{where} × {value.factor:g}"
        case (int() as token, float() | int() as bias):
            return f"{token}: {bias:+g}"
        case _:
            return repr(value)
