"""Replies of servers, in the formats of the programs that serve models."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from inference.events import Cancelled, Event, Failed, Finished, Progress, SamplingControls, Started, Token

TokensOf = Callable[[list[Event]], list[Token]]


def finished(events: list[Event]) -> Finished:
    assert isinstance(events[-1], Finished), events[-1]
    return events[-1]


def text(tokens: list[Token]) -> str:
    return "".join(token.text for token in tokens)


def test_vllm_gives_its_raw_distribution(asking: Any, server: Any, tokens_of: TokensOf) -> None:
    server.lists("tiny", owner="vllm", max_model_len=4096)
    server.plays("/v1/chat/completions", "vllm-chat.sse")
    loaded = asking.load()
    assert loaded.context_length == 4096
    assert loaded.info.remote is not None
    assert (loaded.info.remote.kind, loaded.info.remote.probabilities) == ("vllm", "raw")
    events = asking.chat()
    tokens = tokens_of(events)
    assert [token.text for token in tokens] == ["The", " Nile", ".", ""]
    assert tokens[-1].special
    assert tokens[-1].data == b"<|im_end|>"
    assert {token.origin for token in tokens} == {"server-raw"}
    nile = tokens[1]
    assert nile.raw_logprob == -0.5
    assert (nile.sampled_prob, nile.entropy) == (None, None)
    assert [candidate.text for candidate in nile.candidates] == [" Nile", " Amazon"]
    assert nile.candidates[0].id == nile.id
    (stage,) = nile.stages
    assert stage.name == "raw"
    assert stage.probs == pytest.approx([math.exp(-0.5), math.exp(-1.1)])
    # Not the likeliest one was drawn, and what the server does not know is left out.
    assert [candidate.text for candidate in tokens[2].candidates] == ["!", "."]
    assert [candidate.text for candidate in tokens[3].candidates] == ["<|im_end|>"]
    end = finished(events)
    assert (end.reason, end.text, end.prompt_tokens, end.new_tokens) == ("stop", "The Nile.", 12, 4)


def test_raw_texts_are_continued_by_completions(asking: Any, server: Any, tokens_of: TokensOf) -> None:
    server.lists("tiny", owner="vllm")
    server.plays("/v1/completions", "vllm-raw.sse")
    asking.load()
    events = asking.raw("The river")
    assert server.bodies[-1]["prompt"] == "The river"
    assert server.bodies[-1]["logprobs"] == 20
    tokens = tokens_of(events)
    assert text(tokens) == " is long"
    assert [c.text for c in tokens[1].candidates] == [" a", " long"]
    assert finished(events).reason == "length"
    started = next(event for event in events if isinstance(event, Started))
    assert started.prompt_text == "The river"


def test_llama_cpp_tells_ids_and_bytes(asking: Any, server: Any, tokens_of: TokensOf) -> None:
    server.lists("tiny.gguf", owner="llamacpp", meta={"n_ctx_train": 8192})
    server.answers["/props"] = lambda to, _: to.json({"default_generation_settings": {"n_ctx": 2048}})
    server.plays("/v1/chat/completions", "llama-cpp-chat.sse")
    assert asking.load(model="any name").context_length == 2048
    tokens = tokens_of(asking.chat())
    assert [token.id for token in tokens] == [15339, 220, 901, 902]
    assert [token.text for token in tokens] == ["Fox", " ", "", "🦊"]
    assert tokens[2].data + tokens[3].data == "🦊".encode()
    assert server.bodies[-1]["repeat_penalty"] == 1.0
    assert server.bodies[-1]["repeat_last_n"] == -1


def test_a_server_without_probabilities_says_none(asking: Any, server: Any, tokens_of: TokensOf) -> None:
    server.lists("tiny", owner="organization_owner")
    server.plays("/v1/chat/completions", "lm-studio-chat.sse")
    asking.load()
    events = asking.chat()
    tokens = tokens_of(events)
    assert text(tokens) == "<think>\nWhich river? The Nile.\n</think>\n\nThe Nile."
    assert {(token.raw_logprob, token.sampled_prob, token.candidates) for token in tokens} == {
        (None, None, ())
    }
    assert finished(events).text == text(tokens)


def test_comments_and_other_line_ends_are_read(asking: Any, server: Any, tokens_of: TokensOf) -> None:
    server.lists("tiny", owner="library")
    server.plays("/v1/chat/completions", "ollama-chat.sse")
    asking.load()
    assert text(tokens_of(asking.chat())) == "The Nile."


def test_llama_cpp_python_is_read_and_has_one_model(asking: Any, server: Any, tokens_of: TokensOf) -> None:
    server.lists("/models/tiny.gguf", owner="me")
    server.plays("/v1/completions", "llama-cpp-python-raw.sse")
    loaded = asking.load(model="tiny")
    assert loaded.info.remote is not None
    assert loaded.info.remote.kind == "llama-cpp-python"
    tokens = tokens_of(asking.raw("The river"))
    assert [token.raw_logprob for token in tokens] == [-0.25, -0.5]
    assert "repeat_last_n" not in server.bodies[-1]


def test_a_server_that_does_not_stream(asking: Any, server: Any, tokens_of: TokensOf) -> None:
    answer = {"choices": [{"message": {"content": "The Nile."}, "finish_reason": "stop"}]}
    server.answers["/v1/chat/completions"] = lambda to, _: to.json(answer)
    asking.load()
    assert text(tokens_of(asking.chat())) == "The Nile."


def test_tokens_come_while_the_server_writes(asking: Any, server: Any, said: Callable[..., bytes]) -> None:
    import threading

    seen = threading.Event()

    def slowly(to: Any, _: Any) -> None:
        to.begin_stream()
        to.say(said("One"))
        assert seen.wait(20), "the first token was not told before the second was sent"
        to.say(said(" two", end="stop") + b"data: [DONE]\n\n")
        to.end_stream()

    server.answers["/v1/chat/completions"] = slowly
    asking.load()
    from inference.events import GenerateRequest, Message
    from inference.running import RunHandle

    request = GenerateRequest(run_id=1, messages=(Message(role="user", content="Count"),))
    words = []
    for event in asking.session.run(request, RunHandle(1)):
        if isinstance(event, Token):
            words.append(event.text)
            seen.set()
    assert words == ["One", " two"]


def test_only_known_fields_are_sent(asking: Any, server: Any, said: Callable[..., bytes]) -> None:
    server.streams("/v1/chat/completions", said("Yes.", end="stop"), b"data: [DONE]\n\n")
    controls = SamplingControls(
        temperature=0.3, top_k=7, min_p=0.1, seed=5, max_new_tokens=9, stop=("\n",), logit_bias=((4, 2.0),)
    )
    asking.load()
    asking.chat(controls=controls)
    body = server.bodies[-1]
    assert set(body) == {
        *("model", "messages", "stream", "logprobs", "top_logprobs", "temperature", "top_p"),
        *("frequency_penalty", "presence_penalty", "seed", "max_tokens", "stop", "logit_bias"),
    }
    assert (body["seed"], body["stop"], body["logit_bias"]) == (5, ["\n"], {"4": 2.0})
    server.lists("tiny", owner="vllm")
    asking.load()
    asking.chat(controls=controls)
    assert (server.bodies[-1]["top_k"], server.bodies[-1]["min_p"]) == (7, 0.1)
    asking.chat()
    assert server.bodies[-1]["top_k"] == -1  # vLLM's word for all of them


def test_a_drawn_seed_is_sent_and_told(asking: Any, server: Any, said: Callable[..., bytes]) -> None:
    server.streams("/v1/chat/completions", said("Yes.", end="stop"))
    asking.load()
    events = asking.chat()
    started = next(event for event in events if isinstance(event, Started))
    assert server.bodies[-1]["seed"] == started.seed


def test_a_reply_goes_on_from_its_beginning(asking: Any, server: Any, tokens_of: TokensOf) -> None:
    server.lists("tiny", owner="vllm")
    server.plays("/v1/chat/completions", "vllm-chat.sse")
    asking.load()
    asking.chat(reply_text="Well, ")
    body = server.bodies[-1]
    assert body["messages"][-1] == {"role": "assistant", "content": "Well, "}
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    server.lists("tiny", owner="me")
    asking.load()
    events = asking.chat(reply_text="Well, ")
    assert isinstance(events[-1], Failed)
    assert events[-1].kind == "not-available"
    server.plays("/v1/completions", "llama-cpp-python-raw.sse")
    asking.raw("The", reply_text=" river")
    assert server.bodies[-1]["prompt"] == "The river"


def test_known_tokens_may_begin_a_reply(asking: Any, server: Any, tokens_of: TokensOf) -> None:
    server.lists("tiny", owner="llamacpp")
    server.plays("/v1/chat/completions", "llama-cpp-chat.sse")
    asking.load()
    ids = tuple(token.id for token in tokens_of(asking.chat()))
    asking.chat(reply_ids=ids)
    assert server.bodies[-1]["messages"][-1]["content"] == "Fox 🦊"
    assert isinstance(asking.chat(reply_ids=(123456,))[-1], Failed)


def test_a_server_that_refuses_log_probabilities_is_asked_without(
    asking: Any, server: Any, said: Callable[..., bytes], tokens_of: TokensOf
) -> None:
    def picky(to: Any, body: Any) -> None:
        if "logprobs" in body:
            to.json({"error": {"message": "logits_all must be set for logprobs"}}, status=400)
        else:
            to.stream(said("Yes."), said(end="stop"))

    server.answers["/v1/chat/completions"] = picky
    asking.load()
    assert text(tokens_of(asking.chat())) == "Yes."
    asking.chat()
    assert len(server.bodies) == 3  # the second time it is not asked again


def test_a_server_that_gives_fewer_candidates_is_asked_for_those(
    asking: Any, server: Any, said: Callable[..., bytes]
) -> None:
    def modest(to: Any, body: Any) -> None:
        if body["top_logprobs"] > 5:
            message = "Requested sample logprobs of 20, which is greater than max allowed: 5"
            to.json({"object": "error", "message": message, "code": 400}, status=400)
        else:
            to.stream(said("Yes.", end="stop"))

    server.lists("tiny", owner="vllm")
    server.answers["/v1/chat/completions"] = modest
    asking.load()
    finished(asking.chat())
    assert server.bodies[-1]["top_logprobs"] == 5
    asking.chat(candidates=3)
    assert server.bodies[-1]["top_logprobs"] == 3


def test_the_oldest_turns_go_where_the_context_is_too_short(
    asking: Any, server: Any, said: Callable[..., bytes]
) -> None:
    from inference.events import GenerateRequest, Message

    def short(to: Any, body: Any) -> None:
        if len(body["messages"]) > 2:
            message = "This model's maximum context length is 16 tokens."
            to.json({"object": "error", "message": message, "code": 400}, status=400)
        else:
            to.stream(said("Yes.", end="stop"))

    server.answers["/v1/chat/completions"] = short
    asking.load()
    turns = tuple(
        Message(role=role, content=f"{role} {number}")  # type: ignore[arg-type]
        for number, role in enumerate(("system", "user", "assistant", "user"))
    )
    refused = asking.run(GenerateRequest(run_id=2, messages=turns))
    assert refused[-1].kind == "context-full"
    events = asking.run(GenerateRequest(run_id=3, messages=turns, overflow="drop-oldest"))
    started = next(event for event in events if isinstance(event, Started))
    assert started.dropped_messages == 2
    assert [m["content"] for m in server.bodies[-1]["messages"]] == ["system 0", "user 3"]


def test_no_tokens_are_no_request(asking: Any, server: Any) -> None:
    asking.load()
    before = len(server.requests)
    events = asking.chat(controls=SamplingControls(max_new_tokens=0))
    assert finished(events).reason == "length"
    assert len(server.requests) == before


def test_what_a_stop_string_ended_is_told(asking: Any, server: Any, said: Callable[..., bytes]) -> None:
    server.streams("/v1/chat/completions", said("One"), said(end="stop", stop_reason="\n"))
    asking.load()
    assert finished(asking.chat()).reason == "stop-string"


def test_waiting_is_told_before_the_first_word(asking: Any, server: Any, said: Callable[..., bytes]) -> None:
    server.streams("/v1/chat/completions", said("Yes.", end="stop"))
    asking.load()
    first = asking.chat()[0]
    assert isinstance(first, Progress)
    assert "127.0.0.1" in first.stage


@pytest.mark.parametrize("moment", ["connecting", "waiting", "streaming"])
def test_a_cancel_closes_the_connection(
    moment: str, asking: Any, server: Any, said: Callable[..., bytes]
) -> None:
    import socket
    import threading

    from inference.events import GenerateRequest, Message, Secret, Server
    from inference.remote.engine import RemoteEngine
    from inference.running import RunHandle

    hung_up = threading.Event()

    def silent(to: Any, _: Any) -> None:
        if moment == "streaming":
            to.begin_stream()
            to.say(said("One"))
        to.connection.settimeout(20)
        if to.connection.recv(1) == b"":
            hung_up.set()

    server.answers["/v1/chat/completions"] = silent
    asking.load()
    full = socket.socket()
    if moment == "connecting":  # a listener whose queue is full lets further callers wait
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        callers = [socket.socket() for _ in range(3)]
        for caller in callers:
            caller.setblocking(False)
            caller.connect_ex(full.getsockname())
        asking.session.remote = RemoteEngine(Server(url=url, model="tiny"), Secret(""), "unknown")
    handle = RunHandle(9)
    request = GenerateRequest(run_id=9, messages=(Message(role="user", content="Hello?"),))
    timer = threading.Timer(0.3, handle.cancel)
    timer.start()
    events = list(asking.session.run(request, handle))
    timer.join()
    assert isinstance(events[-1], Cancelled)
    if moment == "connecting":
        for caller in callers:
            caller.close()
    else:
        assert hung_up.wait(20), "the server was not hung up on"
    full.close()
    if moment == "streaming":
        assert events[-1].text == "One"
