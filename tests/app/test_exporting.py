"""Conversations as Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from app.exporting import file_name, to_json_text, to_markdown
from app.history import History
from inference.events import AttentionControl, ControlsChanged, SamplingControls, SteeringOptions, Token


@pytest.fixture
def rivers(history: History, make_tokens: Callable[..., tuple[Token, ...]]) -> int:
    chat = history.create("Rivers", system_prompt="Be brief.", controls=SamplingControls(temperature=0.3))
    ask = history.add_message(chat.id, None, "user", "Longest?")
    history.add_message(chat.id, ask.id, "assistant", "The *Amazon*.", model="builtin")
    reply = history.add_message(chat.id, ask.id, "assistant", "", model="builtin", state="streaming")
    mark = ControlsChanged(run_id=4, index=1, changes=(("temperature", "0.3", "1.2"),))
    history.save_reply(reply.id, "The Nile.", make_tokens(["The", " Nile", "."]), marks=[mark])
    history.end_reply(reply.id, "stopped")
    return chat.id


def test_markdown_holds_the_branch_that_is_shown(history: History, rivers: int) -> None:
    text = to_markdown(history, rivers)
    assert text.startswith("# Rivers\n\n*")
    assert "## System\n\nBe brief.\n\n## You\n\nLongest?\n\n## Model (builtin)\n\nThe Nile.\n" in text
    assert text.endswith("*(not finished)*\n")
    assert "Amazon" not in text


def test_json_holds_all_branches_and_the_controls(history: History, rivers: int) -> None:
    whole = json.loads(to_json_text(history, rivers))
    assert whole["controls"]["temperature"] == 0.3
    texts = {message["id"]: message["text"] for message in whole["messages"]}
    assert sorted(texts.values()) == ["Longest?", "The *Amazon*.", "The Nile."]
    assert {texts.get(message["parent"]) for message in whole["messages"]} == {None, "Longest?"}
    assert whole["messages"][2]["controls_changed"] == [
        {"index": 1, "changes": [["temperature", "0.3", "1.2"]]}
    ]
    assert "tokens" not in whole["messages"][2]


def test_words_that_were_turned_down_are_exported_with_the_conversation(
    history: History, rivers: int
) -> None:
    controls = SamplingControls(
        attention=(AttentionControl(start=0, end=7, factor=0.1, message=1),),
        steering=SteeringOptions(mode="multiplicative", layers=(2, 5), similarity_threshold=0.6),
    )
    history.set_controls(rivers, controls)
    found = json.loads(to_json_text(history, rivers))["controls"]
    assert found["attention"] == [{"start": 0, "end": 7, "factor": 0.1, "message": 1}]
    assert (found["steering"]["mode"], found["steering"]["layers"]) == ("multiplicative", [2, 5])
    assert found["steering"]["similarity_threshold"] == 0.6


def test_json_with_tokens_has_their_probabilities_and_candidates(history: History, rivers: int) -> None:
    whole = json.loads(to_json_text(history, rivers, with_tokens=True))
    tokens = whole["messages"][2]["tokens"]
    assert "".join(token["text"] for token in tokens) == "The Nile."
    assert tokens[1]["raw_logprob"] == -0.25
    assert tokens[1]["candidates"][1]["text"] == " other"


@pytest.mark.parametrize(
    ("title", "name"),
    [("Rivers", "Rivers.md"), ("a/b\\c: d?", "a b c d.md"), ("...", "conversation.md"), ("長江", "長江.md")],
)
def test_a_title_becomes_a_file_name_that_every_platform_takes(title: str, name: str) -> None:
    assert file_name(title, ".md") == name
