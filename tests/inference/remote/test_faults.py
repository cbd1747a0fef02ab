"""What goes wrong on the way to a server: each has its own words, and what came before it stays."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from inference.events import (
    Event,
    Failed,
    LoadRequest,
    ModelLoaded,
    Secret,
    Server,
    ServerModels,
    ServerModelsRequest,
    Token,
    to_json,
)

FailureOf = Callable[[list[Event]], Failed]
CHAT = "/v1/chat/completions"


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Token))


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


# --- connecting


def test_nothing_answers(asking: Any, failure_of: FailureOf) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    failed = failure_of(asking.run(LoadRequest(run_id=1, model=f"openai:{url}#tiny")))
    assert failed.kind == "server-unreachable"
    assert "Nothing answers at 127.0.0.1" in failed.message


def test_no_such_host(asking: Any, failure_of: FailureOf, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    failed = failure_of(asking.run(LoadRequest(run_id=1, model="openai:http://nowhere.invalid/v1#tiny")))
    assert failed.kind == "server-unreachable"
    assert failed.message == "There is no host named nowhere.invalid."


def test_a_server_that_speaks_no_tls(asking: Any, server: Any, failure_of: FailureOf) -> None:
    url = server.url.replace("http:", "https:")
    failed = failure_of(asking.run(LoadRequest(run_id=1, model=f"openai:{url}#tiny")))
    assert failed.kind == "server-unreachable"
    assert "TLS" in failed.message


@pytest.mark.parametrize(
    "source",
    [
        *(
            "openai:http://127.0.0.1/v1",
            "openai:#tiny",
            "openai:ftp://host/v1#tiny",
            "openai:http://a b/v1#t",
        ),
        *(
            "openai:http://user:word@host/v1#tiny",
            "openai:http://host/v1?key=1#tiny",
            "openai:http://h:x/v1#t",
        ),
    ],
)
def test_addresses_that_cannot_be_used(source: str, asking: Any, failure_of: FailureOf) -> None:
    assert failure_of(asking.run(LoadRequest(run_id=1, model=source))).kind == "invalid-request"


def test_a_model_that_the_server_does_not_have(asking: Any, server: Any, failure_of: FailureOf) -> None:
    server.lists("large", "small", owner="vllm")
    failed = failure_of(asking.run(asking.load_request()))
    assert failed.kind == "model-not-found"
    assert "large, small" in failed.hint


def test_a_web_page_in_place_of_a_list(asking: Any, server: Any, failure_of: FailureOf) -> None:
    page = b"<!doctype html><title>Welcome to nginx!</title>"
    server.answers["/v1/models"] = lambda to, _: to.whole(page, kind="text/html")
    failed = failure_of(asking.run(asking.load_request()))
    assert failed.kind == "server-garbled"
    assert "/v1" in failed.hint
    assert "nginx" in failed.details


def test_json_that_is_no_list(asking: Any, server: Any, failure_of: FailureOf) -> None:
    server.answers["/v1/models"] = lambda to, _: to.json({"models": "many"})
    assert failure_of(asking.run(asking.load_request())).kind == "server-garbled"


def test_a_broken_list_does_not_keep_from_a_model_that_was_named(
    asking: Any, server: Any, said: Callable[..., bytes]
) -> None:
    # As transformers serve 5.23 answers where there is no cache of the hub to list.
    server.answers["/v1/models"] = lambda to, _: to.whole(b"Internal Server Error", status=500)
    server.streams(CHAT, said("Here.", end="stop"))
    asking.load()
    assert text(asking.chat()) == "Here."


def test_a_model_that_works_stays_when_another_cannot_be_reached(
    asking: Any, server: Any, said: Callable[..., bytes], failure_of: FailureOf
) -> None:
    asking.load()
    failure_of(asking.run(LoadRequest(run_id=1, model=f"openai:http://127.0.0.1:{free_port()}/v1#tiny")))
    server.streams(CHAT, said("Still here.", end="stop"))
    assert text(asking.chat()) == "Still here."


def test_a_redirect_to_another_host_is_refused(asking: Any, server: Any, failure_of: FailureOf) -> None:
    def away(to: Any, _: Any) -> None:
        to.whole(b"", status=307, Location="http://elsewhere.invalid/v1/models")

    server.answers["/v1/models"] = away
    failed = failure_of(asking.run(asking.load_request(key="sk-secret")))
    assert failed.kind == "server-moved"
    assert "elsewhere.invalid" in failed.message


def test_a_redirect_to_another_port_is_refused(asking: Any, server: Any, failure_of: FailureOf) -> None:
    server.answers[CHAT] = lambda to, _: to.whole(
        b"", status=308, Location=f"http://127.0.0.1:{free_port()}{CHAT}"
    )
    asking.load()
    assert failure_of(asking.chat()).kind == "server-moved"


def test_a_redirect_within_the_server_is_followed(asking: Any, server: Any) -> None:
    listed = server.answers["/v1/models"]
    server.answers["/v1/models"] = lambda to, _: to.whole(b"", status=301, Location="/v1/models/")
    server.answers["/v1/models/"] = listed
    assert asking.load().info.name == "tiny"


def test_a_redirect_in_circles_ends(asking: Any, server: Any, failure_of: FailureOf) -> None:
    server.answers["/v1/models"] = lambda to, _: to.whole(b"", status=302, Location="/v1/models")
    assert failure_of(asking.run(asking.load_request())).kind == "server-moved"


# --- refused


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (401, {"error": {"message": "Incorrect API key provided: sk-secret."}}, "server-key", "API key"),
        (403, {"detail": "Forbidden"}, "server-key", "Forbidden"),
        (404, {"error": {"message": "The model `tiny` does not exist"}}, "model-not-found", "tiny"),
        (404, {"detail": "Not Found"}, "not-available", CHAT.removeprefix("/v1")),
        (400, {"message": "maximum context length is 16 tokens"}, "context-full", "16 tokens"),
        (400, {"error": {"message": "it exceeds the available context size"}}, "context-full", "context"),
        (422, {"detail": [{"msg": "Extra inputs are not permitted"}]}, "server-error", "Extra"),
        (500, {"error": "out of memory on cuda:0"}, "server-error", "cuda:0"),
        (503, {"error": {"code": 503, "message": "Loading model"}}, "server-error", "Loading model"),
        (502, "<html>Bad Gateway</html>", "server-error", "502"),
        (418, "", "server-error", "418"),
    ],
)  # fmt: skip
def test_statuses(
    status: int, body: Any, kind: str, words: str, asking: Any, server: Any, failure_of: FailureOf
) -> None:
    server.answers[CHAT] = lambda to, _: (
        to.whole(body.encode(), status=status, kind="text/html")
        if isinstance(body, str)
        else to.json(body, status=status)
    )
    asking.load(key="sk-secret")
    failed = failure_of(asking.chat())
    assert failed.kind == kind
    assert words in failed.message
    assert failed.hint
    assert "sk-secret" not in repr(failed)


def test_too_many_requests_tells_how_long_to_wait(asking: Any, server: Any, failure_of: FailureOf) -> None:
    server.answers[CHAT] = lambda to, _: to.json(
        {"error": {"message": "Rate limit reached"}}, status=429, Retry_After="21"
    )
    asking.load()
    failed = failure_of(asking.chat())
    assert failed.kind == "rate-limited"
    assert "21 seconds" in failed.message
    assert "Rate limit reached" in failed.message


# --- in mid-stream


def test_silence_before_the_first_word(asking: Any, server: Any, failure_of: FailureOf) -> None:
    server.answers[CHAT] = lambda to, _: to.connection.settimeout(20) or to.connection.recv(1)
    asking.load(first_seconds=0.2)
    failed = failure_of(asking.chat())
    assert failed.kind == "server-timeout"
    assert "0.2 seconds" in failed.message


def test_silence_in_the_middle(
    asking: Any, server: Any, said: Callable[..., bytes], failure_of: FailureOf
) -> None:
    def pausing(to: Any, _: Any) -> None:
        to.begin_stream()
        to.say(said("The longest"))
        to.connection.settimeout(20)
        to.connection.recv(1)

    server.answers[CHAT] = pausing
    asking.load(pause_seconds=0.2)
    events = asking.chat()
    assert text(events) == "The longest"
    failed = failure_of(events)
    assert failed.kind == "server-timeout"
    assert "middle" in failed.message


def test_silence_after_the_end_is_no_fault(
    asking: Any, server: Any, said: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lingering(to: Any, _: Any) -> None:
        to.begin_stream()
        to.say(said("All.", end="stop"))
        to.connection.settimeout(20)
        to.connection.recv(1)

    monkeypatch.setattr("inference.remote.reply._AFTER_END", 0.1)
    server.answers[CHAT] = lingering
    asking.load()
    events = asking.chat()
    assert type(events[-1]).__name__ == "Finished"
    assert text(events) == "All."


@pytest.mark.parametrize(
    ("rest", "kind"),
    [
        (b"", "server-garbled"),  # ends without an end
        (b'data: {"choices": [{"delta": {"con', "server-garbled"),  # cut in the middle of a line
        (b"data: {broken\n\n", "server-garbled"),
        (b'data: {"choices": "none"}\n\n', "server-garbled"),
        (b'data: {"choices": [{"delta": {"content": 7}}]}\n\n', "server-garbled"),
        (b'data: {"choices": [{"delta": {}, "logprobs": {"content": [{}]}}]}\n\n', "server-garbled"),
        (b"data: [1, 2]\n\n", "server-garbled"),
        (b"<html>what?</html>\n\n", "server-garbled"),
        (b'data: {"error": {"message": "CUDA error", "code": 500}}\n\n', "server-error"),
        (b'error: {"code": 400, "message": "too many tokens"}\n\n', "context-full"),
        (b'data: {"choices": [{"delta": {}, "finish_reason": "content_filter"}]}\n\n', "server-error"),
    ],
)  # fmt: skip
def test_what_came_stays_when_the_rest_is_garbage(
    rest: bytes, kind: str, asking: Any, server: Any, said: Callable[..., bytes], failure_of: FailureOf
) -> None:
    server.streams(CHAT, said("The longest"), rest)
    asking.load()
    events = asking.chat()
    assert text(events) == "The longest"
    assert failure_of(events).kind == kind


def test_a_connection_that_breaks_off(
    asking: Any, server: Any, said: Callable[..., bytes], failure_of: FailureOf
) -> None:
    def breaking(to: Any, _: Any) -> None:
        to.begin_stream()
        to.say(said("The longest"))
        to.wfile.write(b"40\r\nhalf of what was")
        to.wfile.flush()
        to.connection.shutdown(socket.SHUT_RDWR)

    server.answers[CHAT] = breaking
    asking.load()
    events = asking.chat()
    assert text(events) == "The longest"
    failed = failure_of(events)
    assert failed.kind == "server-unreachable"
    assert "kept" in failed.hint


def test_a_line_without_an_end(
    asking: Any, server: Any, failure_of: FailureOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.remote.sse.MOST", 1000)
    server.streams(CHAT, b"data: " + b"x" * 2000)
    asking.load()
    assert failure_of(asking.chat()).kind == "server-garbled"


# --- what is not from here


def test_a_key_goes_to_its_server_and_nowhere_else(
    asking: Any, server: Any, failure_of: FailureOf, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    asking.load(key="sk-secret")
    server.answers[CHAT] = lambda to, _: to.whole(b"No: sk-secret", status=500)
    events = asking.chat()
    assert all(h["Authorization"] == "Bearer sk-secret" for _, h, _ in server.requests)
    request = asking.load_request(key="sk-secret")
    for shown in (caplog.text, repr(request), str(to_json(request)), repr(failure_of(events)), repr(events)):
        assert "sk-secret" not in shown


def test_proxies_are_not_asked_for_this_machine(asking: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    assert asking.load().info.name == "tiny"


def test_steering_and_looking_inside_say_why_not(asking: Any, failure_of: FailureOf) -> None:
    from inference.events import (
        AttentionControl,
        AttentionRequest,
        BoundaryRequest,
        ChatTemplateRequest,
        ExpertsRequest,
        FindTokensRequest,
        LensRequest,
        SamplingControls,
    )

    asking.load()
    steered = SamplingControls(attention=(AttentionControl(start=0, end=2, factor=0.1, message=0),))
    assert failure_of(asking.chat(controls=steered)).kind == "not-available"
    for request in (
        LensRequest(run_id=1, prompt="Hello"),
        AttentionRequest(run_id=2, prompt="Hello", layers=(0,)),
        ExpertsRequest(run_id=3, prompt="Hello"),
        BoundaryRequest(run_id=4, prompt="Hello"),
        FindTokensRequest(run_id=5, text="a"),
        ChatTemplateRequest(run_id=6),
    ):
        failed = failure_of(asking.run(request))
        assert failed.kind == "not-available"
        assert "server" in failed.message


def test_unloading_lets_go(asking: Any, failure_of: FailureOf) -> None:
    from inference.events import ModelUnloaded, UnloadRequest

    asking.load()
    assert any(isinstance(event, ModelUnloaded) for event in asking.run(UnloadRequest(run_id=1)))
    assert failure_of(asking.chat()).kind == "no-model"


def test_a_server_tells_its_models(asking: Any, server: Any) -> None:
    server.lists("large", "small", owner="vllm")
    request = ServerModelsRequest(run_id=1, server=Server(url=server.url, model=""), key=Secret("k"))
    told = next(event for event in asking.run(request) if isinstance(event, ServerModels))
    assert (told.models, told.kind) == (("large", "small"), "vllm")


def test_describing_a_server_connects_to_nothing(asking: Any, server: Any) -> None:
    from inference.events import InspectRequest, ModelInspected

    request = InspectRequest(run_id=1, model=f"openai:{server.url}#tiny")
    shown = next(event for event in asking.run(request) if isinstance(event, ModelInspected))
    assert shown.info.remote is not None
    assert (shown.info.remote.address, shown.info.remote.this_machine) == (server.url, True)
    assert server.requests == []


def test_loading_tells_where_prompts_go(asking: Any) -> None:
    loaded: ModelLoaded = asking.load()
    assert "on this machine" in loaded.note
    assert loaded.device == "server"
