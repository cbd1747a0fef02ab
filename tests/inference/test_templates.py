"""Chat templates: shown, tried out, replaced, restored; and what happens without a system role."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from inference.errors import TemplateError
from inference.events import (
    AttentionControl,
    ChatTemplate,
    ChatTemplateRequest,
    Failed,
    Message,
    PromptRendered,
    PromptScored,
    RenderRequest,
    ScoreRequest,
)
from inference.running import new_run_id
from inference.session import Session

CHAT = (Message(role="system", content="Be brief."), Message(role="user", content="Hello there"))
TURNS = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]"
REFUSES = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}[{{ m.role }}]{{ m.content }}{% endfor %}"
)
LEAVES_OUT = "{% for m in messages if m.role != 'system' %}[{{ m.role }}]{{ m.content | trim }}{% endfor %}"
BROKEN = "{% for m in messages %}{{ m.content }"


@pytest.fixture
def chat(
    families: Any, as_loaded: Callable[..., Any], byte_tokenizer: Any, run: Callable[..., Any]
) -> Callable[..., Any]:
    """``chat(template)``: a session on a tiny Llama whose tokenizer has this template."""

    def make(template: Any) -> Session:
        tokenizer = copy.deepcopy(byte_tokenizer)
        tokenizer.chat_template = template
        session = Session()
        session.use(as_loaded(families["llama"], tokenizer=tokenizer))
        return session

    return make


def ask(run: Callable[..., Any], session: Session, template: str | None = None) -> Any:
    return run(session, ChatTemplateRequest(run_id=new_run_id(), template=template))[0]


def rendered(run: Callable[..., Any], session: Session) -> str:
    event = run(session, RenderRequest(run_id=new_run_id(), messages=CHAT))[0]
    assert isinstance(event, PromptRendered), event
    return event.text


def test_it_is_shown_with_what_it_makes_of_a_chat(chat: Any, run: Any) -> None:
    event = ask(run, chat(TURNS))
    assert isinstance(event, ChatTemplate)
    assert (event.template, event.edited, event.problem, event.notes) == (TURNS, False, "", ())
    assert event.sample == (
        "[system]Answer briefly.[user]Which river is the longest?[assistant]The Nile.[user]And the second?"
        "[assistant]"
    )


def test_another_one_acts_at_once_and_can_be_taken_back(chat: Any, run: Any) -> None:
    session = chat(TURNS)
    other = "{{ messages[-1].content }} =>"
    event = ask(run, session, other)
    assert event.edited
    assert rendered(run, session) == "Be brief.\n\nHello there =>"
    event = ask(run, session, "")
    assert (event.template, event.edited) == (TURNS, False)
    assert rendered(run, session) == "[system]Be brief.[user]Hello there[assistant]"


def test_a_broken_one_is_refused_and_the_one_before_stays(chat: Any, run: Any) -> None:
    session = chat(TURNS)
    failed = ask(run, session, BROKEN)
    assert isinstance(failed, Failed)
    assert failed.kind == TemplateError.kind
    assert "refuses these messages" in failed.message
    assert rendered(run, session) == "[system]Be brief.[user]Hello there[assistant]"


@pytest.mark.parametrize("template", [None, BROKEN])
def test_a_missing_or_broken_one_says_so_and_can_be_replaced(chat: Any, run: Any, template: Any) -> None:
    session = chat(template)
    event = ask(run, session)
    assert event.problem
    assert event.sample == ""
    assert ask(run, session, TURNS).problem == ""
    assert rendered(run, session).endswith("[assistant]")


@pytest.mark.parametrize("template", [REFUSES, LEAVES_OUT])
def test_without_a_system_role_its_text_is_put_before_the_first_question(
    chat: Any, run: Any, template: str
) -> None:
    session = chat(template)
    assert rendered(run, session) == "[user]Be brief.\n\nHello there"
    assert "no system role" in ask(run, session).notes[0]


def test_a_system_message_that_was_moved_can_still_be_steered(chat: Any, run: Any) -> None:
    """Its words are found where they were put: turning them down is felt."""
    session = chat(REFUSES)

    def last(*controls: AttentionControl) -> float:
        request = ScoreRequest(run_id=new_run_id(), messages=CHAT, attention=controls, candidates=1)
        scored = next(event for event in run(session, request) if isinstance(event, PromptScored))
        return float(scored.tokens[-1].raw_logprob)

    assert last() != last(AttentionControl(message=0, start=0, end=9, factor=0.0))
    assert last() == last(AttentionControl(message=0, start=0, end=9, factor=1.0))


QWEN = (
    "{% for m in messages %}[{{ m.role }}]{% if m.role == 'assistant' and not loop.last %}"
    "{{ m.content.split('</think>')[-1].lstrip() }}{% else %}{{ m.content }}{% endif %}{% endfor %}"
    "[assistant]{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}"
)
HARMONY = (
    "{% for m in messages %}{% if '<|channel|>' in m.content %}{{ raise_exception('Pass thinking apart') }}"
    "{% endif %}[{{ m.role }}]{% if m.thinking %}({{ m.thinking }}){% endif %}{{ m.content }}{% endfor %}"
)
THOUGHT = (
    Message(role="user", content="2 + 2?"),
    Message(role="assistant", content="<think>\nAdd.\n</think>\n\n4"),
    Message(role="user", content="And 3 + 3?"),
)


def test_thinking_can_be_asked_for_where_the_template_has_a_switch(chat: Any, run: Any) -> None:
    session = chat(QWEN)
    assert ask(run, chat(TURNS)).thinking is None
    assert ask(run, session).thinking is True
    assert rendered(run, session).endswith("[assistant]")
    off = run(session, ChatTemplateRequest(run_id=new_run_id(), thinking=False))[0]
    assert off.thinking is False
    assert off.sample.endswith("<think></think>")
    assert rendered(run, session).endswith("<think></think>")
    assert run(session, ChatTemplateRequest(run_id=new_run_id(), thinking=True))[0].thinking is True
    assert rendered(run, session).endswith("[assistant]")


def test_words_behind_thinking_that_the_template_leaves_out_are_still_found(chat: Any, run: Any) -> None:
    session = chat(QWEN)

    def last(*controls: AttentionControl) -> float:
        request = ScoreRequest(run_id=new_run_id(), messages=THOUGHT, attention=controls, candidates=1)
        scored = next(event for event in run(session, request) if isinstance(event, PromptScored))
        assert "Add." not in "".join(token.text for token in scored.tokens)
        return float(scored.tokens[-1].raw_logprob)

    assert last() != last(AttentionControl(message=2, start=0, end=9, factor=0.0))


def test_a_template_with_a_field_for_thinking_gets_it_apart(chat: Any, run: Any) -> None:
    reply = "<|channel|>analysis<|message|>Add.<|end|><|start|>assistant<|channel|>final<|message|>4"
    messages = (THOUGHT[0], Message(role="assistant", content=reply), THOUGHT[2])
    event = run(chat(HARMONY), RenderRequest(run_id=new_run_id(), messages=messages))[0]
    assert event.text == "[user]2 + 2?[assistant](Add.)4[user]And 3 + 3?"


def test_what_is_unusual_is_told(chat: Any, run: Any) -> None:
    thinking = TURNS + "{% if enable_thinking %}<think>{% endif %}{% if tools %}{{ tools }}{% endif %}"
    notes = " ".join(ask(run, chat(thinking)).notes)
    assert "thinking" in notes
    assert "tools" in notes
    several = {"default": TURNS, "tool_use": TURNS + "{{ tools }}"}
    event = ask(run, chat(several))
    assert event.template == TURNS
    assert "several" in event.notes[0]
