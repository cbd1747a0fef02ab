"""Requests and events of chat templates: what turns messages into the text that a model reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from inference.events.base import Event, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTemplateRequest(Request):
    """The loaded model's chat template -> :class:`ChatTemplate`.

    ``template`` puts another one (Jinja) in its place until the model is unloaded; "" restores the model's
    own; None leaves it as it is. A template that can't write a plain chat is refused, and the one before it
    stays. ``thinking`` asks the template for thinking before the answer, or for none, where it has a switch
    for that; None leaves it as it is.
    """

    template: str | None = None
    thinking: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTemplate(Event):
    """A chat template, and what it makes of a short chat.

    ``edited`` is whether it is not the model's own; ``problem`` says why it can't write a plain chat ("" if
    it can), ``notes`` what is unusual in it, in words; ``sample`` is the text of a short chat with a system
    message, up to where the reply begins. ``thinking`` is how the template's switch for thinking stands;
    None: it has none.
    """

    event: ClassVar[str] = "chat-template"
    template: str
    edited: bool
    problem: str
    notes: tuple[str, ...]
    sample: str
    thinking: bool | None = None
