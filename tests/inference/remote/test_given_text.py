"""Probabilities of given text, and the explanations that are made of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from inference.events import (
    Event,
    ExplainRequest,
    Explanation,
    ExplanationPart,
    ExplanationStarted,
    Failed,
    ListMethodsRequest,
    Message,
    MethodsListed,
    PromptScored,
    ScoreRequest,
    TextSpan,
)

FailureOf = Callable[[list[Event]], Failed]
METHOD = "server-leave-one-out"


def pieces(text: str) -> list[str]:
    """Words with the space before them, as most tokenizers cut."""
    return re.findall(r"\s?\S+|\s", text)


def chances(text: str) -> list[tuple[str, float | None]]:
    """A made-up model: a word costs 2 nats, 1 less for every earlier "Nile"; the first one has none."""
    told: list[tuple[str, float | None]] = []
    for number, word in enumerate(pieces(text)):
        before = "".join(pieces(text)[:number])
        told.append((word, None if number == 0 else -2.0 + before.count("Nile")))
    return told


def echoing(to: Any, body: Any) -> None:
    """A raw completion that echoes its prompt, as llama-cpp-python's."""
    told = [*chances(body["prompt"]), (" and", -0.5)]
    starts = [sum(len(word) for word, _ in told[:n]) for n in range(len(told))]
    logprobs = {
        "tokens": [word for word, _ in told],
        "token_logprobs": [chance for _, chance in told],
        "text_offset": starts,
        "top_logprobs": [None] * len(told),
    }
    choice = {"text": body["prompt"] + " and", "logprobs": logprobs, "finish_reason": "length"}
    to.json({"choices": [choice], "usage": {"prompt_tokens": len(told), "completion_tokens": 1}})


def reading(to: Any, body: Any) -> None:
    """vLLM's prompt_logprobs, of a chat and of a raw text."""
    raw = "prompt" in body
    text = body["prompt"] if raw else "".join(f"<{m['role']}>{m['content']}" for m in body["messages"])
    listed = [
        None if chance is None else {str(n): {"logprob": chance, "rank": 1, "decoded_token": word}}
        for n, (word, chance) in enumerate(chances(text))
    ]
    choice = {"text": " and", "finish_reason": "length"} | ({"prompt_logprobs": listed} if raw else {})
    to.json({"choices": [choice], "prompt_logprobs": None if raw else listed})


@pytest.fixture
def vllm(asking: Any, server: Any) -> Any:
    server.lists("tiny", owner="vllm")
    server.answers |= {"/v1/completions": reading, "/v1/chat/completions": reading}
    asking.load()
    return asking


@pytest.fixture
def python_server(asking: Any, server: Any) -> Any:
    server.lists("tiny", owner="me")
    server.answers["/v1/completions"] = echoing
    asking.load()
    return asking


def test_a_raw_text_is_scored_by_its_echo(python_server: Any) -> None:
    events = python_server.run(ScoreRequest(run_id=1, prompt="The Nile is long"))
    scored = next(event for event in events if isinstance(event, PromptScored))
    assert [(token.text, token.raw_logprob) for token in scored.tokens] == [
        ("The", None),
        (" Nile", -2.0),
        (" is", -1.0),
        (" long", -1.0),
    ]


def test_probabilities_that_are_one_token_late_are_not_believed(
    python_server: Any, server: Any, failure_of: FailureOf
) -> None:
    # What llama-cpp-python 0.3.36 answers for a model without a begin-of-text token: " l" has the
    # log-probability that "igh" should have, and the token that was written has none.
    logprobs = {
        "tokens": ["The", " l", "igh"],
        "token_logprobs": [None, -11.92, -16.10],
        "text_offset": [0, 3, 5],
        "top_logprobs": [None, {"ux": -2.76, " l": -11.92}, {"th": -0.005, "igh": -16.10}],
    }
    server.answers["/v1/completions"] = lambda to, _: to.json(
        {
            "choices": [{"text": "The lighth", "logprobs": logprobs, "finish_reason": "length"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 1},
        }
    )
    failed = failure_of(python_server.run(ScoreRequest(run_id=1, prompt="The ligh")))
    assert failed.kind == "not-available"
    assert "begin-of-text" in failed.message


def test_a_chat_is_scored_by_prompt_logprobs(vllm: Any, server: Any) -> None:
    request = ScoreRequest(
        run_id=1, messages=(Message(role="user", content="Which river?"),), reply_text="The Nile is it"
    )
    scored = next(event for event in vllm.run(request) if isinstance(event, PromptScored))
    assert "".join(token.text for token in scored.tokens).endswith("The Nile is it")
    assert scored.tokens[-1].raw_logprob == -1.0
    assert server.bodies[-1]["prompt_logprobs"] == 0
    assert server.bodies[-1]["messages"][-1]["role"] == "assistant"


def explained(events: list[Event]) -> tuple[ExplanationStarted, Explanation]:
    assert not isinstance(events[-1], Failed), events[-1]
    return (
        next(event for event in events if isinstance(event, ExplanationStarted)),
        next(event for event in events if isinstance(event, Explanation)),
    )


@pytest.mark.parametrize("kind", ["vllm", "python_server"])
def test_what_carried_a_word(kind: str, request: pytest.FixtureRequest) -> None:
    asking = request.getfixturevalue(kind)
    wanted = ExplainRequest(
        run_id=1,
        method=METHOD,
        prompt="By far the Nile is the",
        reply_text=" longest river",
        target_start=0,
        target_end=8,
        granularity="word",
    )
    events = asking.run(wanted)
    started, explanation = explained(events)
    assert started.context == "By far the Nile is the"
    assert [segment.text for segment in started.segments] == ["By", "far", "the", "Nile", "is", "the"]
    assert (started.targets[0].text, started.targets[0].logprob) == (" longest", -1.0)
    assert explanation.scores == ((0.0, 0.0, 0.0, 1.0, 0.0, 0.0),)
    assert explanation.forward_passes == 7
    assert explanation.complete
    parts = [event for event in events if isinstance(event, ExplanationPart)]
    assert [part.done for part in parts] == [1, 2, 3, 4, 5, 6]


def test_a_target_of_several_words_is_one_sum(vllm: Any) -> None:
    wanted = ExplainRequest(
        run_id=1, method=METHOD, prompt="Nile", reply_text=" is a river", granularity="word"
    )
    started, explanation = explained(vllm.run(wanted))
    assert started.targets[0].logprob == -3.0
    # Without "Nile" nothing stands before the target: its first word is not predicted, the others cost 2.
    assert explanation.scores == ((1.0,),)


def test_a_chat_is_explained_message_by_message(vllm: Any, server: Any) -> None:
    wanted = ExplainRequest(
        run_id=1,
        method=METHOD,
        messages=(
            Message(role="system", content="Be brief."),
            Message(role="user", content="The Nile. Which river?"),
        ),
        reply_text="It is long",
        target_start=6,
        granularity="sentence",
    )
    started, explanation = explained(vllm.run(wanted))
    assert [(s.text, s.label) for s in started.segments] == [
        ("Be brief.", "system"),
        ("The Nile.", "user"),
        ("Which river?", "user"),
        ("It is", "reply"),
    ]
    assert explanation.scores == ((0.0, 1.0, 0.0, 0.0),)
    for segment in started.segments:
        assert started.context[segment.start : segment.end] == segment.text
    contents = [[m["content"] for m in body["messages"]] for body in server.bodies]
    assert ["Be brief.", "Which river?", "It is long"] in contents


def test_a_gap_between_words_is_one_space(vllm: Any, server: Any) -> None:
    wanted = ExplainRequest(
        run_id=1, method=METHOD, prompt="one two three", target=" four", granularity="word"
    )
    vllm.run(wanted)
    assert [body["prompt"] for body in server.bodies] == [
        "one two three four",
        "two three four",
        "one three four",
        "one two four",
    ]


def test_given_parts_of_a_message(vllm: Any) -> None:
    wanted = ExplainRequest(
        run_id=1,
        method=METHOD,
        messages=(Message(role="user", content="The Nile flows. The Nile ends."),),
        reply_text="So it is",
        target_start=2,
        granularity="given",
        given=(TextSpan(message=0, start=0, end=15), TextSpan(message=0, start=16, end=30)),
    )
    _, explanation = explained(vllm.run(wanted))
    assert explanation.scores == ((2.0, 2.0),)


def test_languages_without_spaces_are_cut_by_sentences(vllm: Any) -> None:
    wanted = ExplainRequest(
        run_id=1, method=METHOD, prompt="你好世界。尼罗河很长。", target=" 是", granularity="sentence"
    )
    started, _ = explained(vllm.run(wanted))
    assert [segment.text for segment in started.segments] == ["你好世界。", "尼罗河很长。"]


def test_an_estimate_asks_once(vllm: Any, server: Any) -> None:
    wanted = ExplainRequest(run_id=1, method=METHOD, prompt="a b c", target=" d", estimate_only=True)
    events = vllm.run(wanted)
    cost = next(event for event in events if isinstance(event, ExplanationStarted)).cost
    assert cost.forward_passes == 4
    assert len(server.bodies) == 1


def test_a_stopped_explanation_keeps_what_came(vllm: Any) -> None:
    from inference.running import RunHandle

    wanted = ExplainRequest(run_id=7, method=METHOD, prompt="a b c", target=" d", granularity="word")
    handle, events = RunHandle(7), []
    for event in vllm.session.run(wanted, handle):
        events.append(event)
        if isinstance(event, ExplanationPart):
            handle.cancel()
    explanation = next(event for event in events if isinstance(event, Explanation))
    assert not explanation.complete
    assert explanation.scores[0][0] is not None
    assert explanation.scores[0][2] is None
    assert type(events[-1]).__name__ == "Cancelled"


def test_methods_that_work_inside_the_model_say_so(vllm: Any, failure_of: FailureOf) -> None:
    listed = next(
        event for event in vllm.run(ListMethodsRequest(run_id=1)) if isinstance(event, MethodsListed)
    )
    problems = {status.spec.name: status.problem for status in listed.methods}
    assert [name for name, problem in problems.items() if not problem] == [METHOD]
    failed = failure_of(vllm.run(ExplainRequest(run_id=2, method="atman", prompt="a", target="b")))
    assert failed.kind == "not-available"


def test_servers_that_tell_nothing_of_given_text(
    asking: Any, python_server: Any, failure_of: FailureOf, server: Any
) -> None:
    chat = (Message(role="user", content="Hello"),)
    request = ExplainRequest(run_id=2, method=METHOD, messages=chat, reply_text="Hi")
    assert "raw mode only" in failure_of(python_server.run(request)).message
    server.lists("tiny", owner="library")
    asking.load()
    assert failure_of(asking.run(ScoreRequest(run_id=3, prompt="Hello"))).kind == "not-available"
    listed = asking.run(ListMethodsRequest(run_id=4))[0]
    assert isinstance(listed, MethodsListed)
    assert all(status.problem for status in listed.methods)


def test_an_answer_without_probabilities_is_a_fault(vllm: Any, server: Any, failure_of: FailureOf) -> None:
    server.answers["/v1/completions"] = lambda to, _: to.json({"choices": [{"text": "x"}]})
    assert failure_of(vllm.run(ScoreRequest(run_id=3, prompt="Hello"))).kind == "server-garbled"
