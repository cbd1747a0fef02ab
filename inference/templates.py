"""The chat template of the loaded model: shown, tried out, replaced and restored."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from inference.errors import TemplateError
from inference.events import ChatTemplate, ChatTemplateRequest, Event, Message
from inference.models.tokenizers import end_ids
from inference.prompts import SWITCHES, render, takes_system
from inference.running import RunHandle

if TYPE_CHECKING:
    from inference.session import Session

#: What a template is tried on: every role, and a question at the end.
SAMPLE = (
    Message(role="system", content="Answer briefly."),
    Message(role="user", content="Which river is the longest?"),
    Message(role="assistant", content="The Nile."),
    Message(role="user", content="And the second?"),
)
#: Where a tokenizer that got another template keeps the one that came with it.
_OWN = "_own_chat_template"
_THINKING = re.compile(r"<think>|<\|channel\|>|reasoning_content|enable_thinking|\[THINK\]")
_EXTENSIONS = ("jinja2.ext.loopcontrols",)
_TOOLS = re.compile(r"\btools\b|tool_calls")


def chat_template(session: Session, request: ChatTemplateRequest, handle: RunHandle) -> Iterator[Event]:
    """Show the template, after replacing it where that is asked for -> ChatTemplate.

    Raises:
        TemplateError: The new template can't write a plain chat; the one before it stays.
    """
    loaded = session.require_engine().loaded
    tokenizer: Any = loaded.tokenizer
    if not hasattr(tokenizer, _OWN):
        setattr(tokenizer, _OWN, tokenizer.chat_template)
    own = getattr(tokenizer, _OWN)
    if request.template is not None:
        before = tokenizer.chat_template
        tokenizer.chat_template = request.template or own
        if request.template:
            try:
                render(tokenizer, SAMPLE)
            except TemplateError:
                tokenizer.chat_template = before
                raise
        loaded.eos_ids = end_ids(loaded.model, tokenizer)  # a template may end its turns by another token
    if request.thinking is not None and (name := thinking_switch(text_of(tokenizer.chat_template))):
        setattr(tokenizer, SWITCHES, {name: request.thinking})
    yield described(tokenizer, request.run_id, edited=tokenizer.chat_template != own)


def described(tokenizer: Any, run_id: int, *, edited: bool) -> ChatTemplate:
    """What there is to say of a tokenizer's template."""
    template = text_of(tokenizer.chat_template)
    problem, sample, notes = "", "", []
    try:
        sample = render(tokenizer, SAMPLE)
        if not takes_system(tokenizer):
            notes.append("It knows no system role: a system message is put before the first question.")
    except TemplateError as error:
        problem = error.message
    if isinstance(tokenizer.chat_template, dict):
        notes.append("The model brings several; this is the one for plain chats.")
    if _THINKING.search(template):
        notes.append("It knows a section for thinking before the answer.")
    if _TOOLS.search(template):
        notes.append("It knows calls of tools, which are not offered here.")
    return ChatTemplate(
        run_id=run_id,
        template=template,
        edited=edited,
        problem=problem,
        notes=tuple(notes),
        sample=sample,
        thinking=_thinking(tokenizer, template),
    )


def thinking_switch(template: str) -> str:
    """The variable by which a template is asked for thinking or for none; "" where it has none."""
    from jinja2 import Environment, meta
    from jinja2 import TemplateError as JinjaError

    try:
        asked = meta.find_undeclared_variables(Environment(extensions=_EXTENSIONS).parse(template))
    except JinjaError:  # transformers has tags of its own, for training
        asked = {"enable_thinking"} if re.search(r"\benable_thinking\b", template) else set()
    return next((name for name in ("enable_thinking", "thinking") if name in asked), "")


def _thinking(tokenizer: Any, template: str) -> bool | None:
    """How the switch stands. Where nobody has moved it, it is on if the template does by itself what it does
    when it is on.
    """
    name = thinking_switch(template)
    if not name:
        return None
    switches: dict[str, bool] = getattr(tokenizer, SWITCHES, {})
    if name in switches:
        return switches[name]
    try:
        left_alone = render(tokenizer, SAMPLE)
        setattr(tokenizer, SWITCHES, {name: True})
        return left_alone == render(tokenizer, SAMPLE)
    except TemplateError:
        return None
    finally:
        setattr(tokenizer, SWITCHES, switches)


def text_of(template: Any) -> str:
    """A template as text; of several, the one for plain chats."""
    if isinstance(template, dict):
        return str(template.get("default") or next(iter(template.values()), ""))
    return str(template or "")
