"""Thinking sections and calls of tools, as the families write them."""

from __future__ import annotations

import pytest

from inference.events.sections import answer_of, find_sections, marks_among, opens_inside, thinking_of

QWEN = "<think>\nThe user asks.\n\nSo: 4.\n</think>\n\nIt is 4."
DEEPSEEK = "The user asks.\n</think>\n\nIt is 4."
MAGISTRAL = "[THINK]The user asks.[/THINK]It is 4."
COMMAND_A = "<|START_THINKING|>The user asks.<|END_THINKING|><|START_RESPONSE|>It is 4.<|END_RESPONSE|>"
GPT_OSS = (
    "<|channel|>analysis<|message|>The user asks.<|end|><|start|>assistant<|channel|>final<|message|>It is 4."
)
SEED = "<seed:think>The user asks.</seed:think>It is 4."


def parts(text: str, *, inside: bool = False) -> list[tuple[str, str]]:
    return [(s.kind, text[s.inner_start : s.inner_end].strip()) for s in find_sections(text, inside=inside)]


@pytest.mark.parametrize("text", [DEEPSEEK, MAGISTRAL, COMMAND_A, GPT_OSS, SEED])
def test_thinking_of_each_family(text: str) -> None:
    assert thinking_of(text) == "The user asks."
    assert answer_of(text).strip() == "It is 4."
    assert all(section.closed for section in find_sections(text))


def test_offsets_are_exact() -> None:
    (section,) = find_sections(QWEN)
    assert QWEN[section.start : section.end] == "<think>\nThe user asks.\n\nSo: 4.\n</think>"
    assert QWEN[section.inner_start : section.inner_end] == "\nThe user asks.\n\nSo: 4.\n"


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("<think>\nThe user", False),
        ("[THINK]The user", False),
        ("<|channel|>analysis<|message|>The user", False),
        ("The user", True),
    ],
)
def test_a_section_that_goes_on(text: str, inside: bool) -> None:
    (section,) = find_sections(text, inside=inside)
    assert not section.closed
    assert text[section.inner_start : section.inner_end].strip() == "The user"


def test_a_reply_that_grows_never_shows_the_marks_of_its_channels() -> None:
    tokens = [
        "<|channel|>",
        "analysis",
        "<|message|>",
        "Hm.",
        "<|end|>",
        "<|start|>",
        "assistant",
        "<|channel|>",
    ]
    tokens += ["final", "<|message|>", "4"]
    answers = [answer_of("".join(tokens[:count])) for count in range(1, len(tokens) + 1)]
    assert answers == [""] * (len(tokens) - 1) + ["4"]


@pytest.mark.parametrize("text", [QWEN, MAGISTRAL, COMMAND_A, GPT_OSS, SEED])
def test_read_from_where_nothing_is_open_the_rest_is_the_same(text: str) -> None:
    whole = find_sections(text)
    for section in whole:
        rest = find_sections(text, start=section.end)
        assert rest == tuple(other for other in whole if other.start >= section.end)


def test_a_prompt_that_opens_the_section() -> None:
    assert opens_inside("<|User|>2 + 2?<|Assistant|><think>\n")
    assert opens_inside("[INST]2 + 2?[/INST][THINK]")
    assert not opens_inside("<think>no</think> What is <b>")
    assert parts("Hm.</think>4", inside=True) == [("thinking", "Hm.")]


@pytest.mark.parametrize(
    "text",
    [
        "Nothing special: a < b, [x], {y}.",
        "Write <think> in your prompt, and </think> behind it.",
        "```xml\n<think>\nexample\n</think>\n```\nThat is how.",
        'Here is {"name": "x"} for you.',
        "<thinker>no</thinker>",
    ],
)
def test_text_that_only_looks_like_it(text: str) -> None:
    assert find_sections(text) == ()


@pytest.mark.parametrize(
    ("text", "name", "body"),
    [
        (
            '<tool_call>\n{"name": "weather", "arguments": {"city": "Bonn"}}\n</tool_call>',
            "weather",
            '{"name": "weather", "arguments": {"city": "Bonn"}}',
        ),
        (
            '{"name": "weather", "parameters": {"city": "Bonn"}}',
            "weather",
            '{"name": "weather", "parameters": {"city": "Bonn"}}',
        ),
        (
            '[TOOL_CALLS][{"name": "weather", "arguments": {}}]',
            "weather",
            '[{"name": "weather", "arguments": {}}]',
        ),
        ('[TOOL_CALLS]weather[ARGS]{"city": "Bonn"}', "weather", 'weather[ARGS]{"city": "Bonn"}'),
        (
            '<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{"city": "Bonn"}<|call|>',
            "weather",
            '{"city": "Bonn"}',
        ),
        (
            "<tool_call>\n<function=weather>\n<parameter=city>\nBonn\n</parameter>\n</function>\n</tool_call>",
            "weather",
            "<function=weather>\n<parameter=city>\nBonn\n</parameter>\n</function>",
        ),
    ],
)
def test_calls_of_tools(text: str, name: str, body: str) -> None:
    (section,) = find_sections(text)
    assert (section.kind, section.name, section.closed) == ("tool-call", name, True)
    assert text[section.inner_start : section.inner_end].strip() == body


def test_thinking_then_a_call_then_another() -> None:
    calls = "\n".join(f'<tool_call>\n{{"name": "{name}"}}\n</tool_call>' for name in "xy")
    text = f"<think>a</think>\n{calls}"
    assert [(s.kind, s.name) for s in find_sections(text)] == [
        ("thinking", ""),
        ("tool-call", "x"),
        ("tool-call", "y"),
    ]
    assert answer_of(text).strip() == ""


def test_special_tokens_that_have_to_stay_in_the_text() -> None:
    assert marks_among(["<s>", "</s>", "[INST]", "[THINK]", "[/THINK]"]) == {"[THINK]", "[/THINK]"}
    harmony = ["<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>"]
    assert marks_among(harmony) == {"<|start|>", "<|end|>", "<|message|>", "<|channel|>"}
    assert marks_among(["<|end|>", "<|user|>", "<|assistant|>"]) == set()
