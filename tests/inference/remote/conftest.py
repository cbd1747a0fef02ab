"""A scripted server on loopback, and sessions that ask it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from inference.events import (
    Event,
    Failed,
    GenerateRequest,
    LoadRequest,
    Message,
    ModelLoaded,
    Request,
    SamplingControls,
    Secret,
    Server,
    Token,
)
from inference.running import RunHandle, new_run_id
from inference.session import Session

RECORDED = Path(__file__).parent / "recorded"


class Answering(BaseHTTPRequestHandler):
    """One request; what it is answered is the test's."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self._answer(json.loads(self.rfile.read(length) or b"null"))

    def _answer(self, body: Any) -> None:
        server: Any = self.server
        server.owner.requests.append((self.path, dict(self.headers), body))
        answer = server.owner.answers.get(self.path)
        if answer is None:
            self.json({"error": {"message": "Not Found"}}, status=404)
        else:
            answer(self, body)
        self.close_connection = True

    def json(self, value: Any, *, status: int = 200, **headers: str) -> None:
        """Answer with JSON."""
        self.whole(json.dumps(value).encode(), status=status, kind="application/json", **headers)

    def whole(self, data: bytes, *, status: int = 200, kind: str = "text/plain", **headers: str) -> None:
        """Answer with bytes."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def begin_stream(self) -> None:
        """The head of a stream; :meth:`say` sends its parts."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()

    def say(self, data: bytes) -> None:
        """Some bytes of a stream."""
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def end_stream(self) -> None:
        """The stream's proper end."""
        self.wfile.write(b"0\r\n\r\n")

    def stream(self, *parts: bytes) -> None:
        """A whole stream."""
        self.begin_stream()
        for part in parts:
            self.say(part)
        self.end_stream()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


class ScriptedServer:
    """Answers as the test says; ``requests`` holds path, headers and body of what came."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.answers: dict[str, Callable[[Answering, Any], None]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self._server.daemon_threads = True
        self._server.owner = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def bodies(self) -> list[Any]:
        """The bodies of the POST requests."""
        return [body for _, _, body in self.requests if body is not None]

    def lists(self, *names: str, owner: str = "someone", **more: Any) -> None:
        """Answer ``GET /models`` with these."""
        entries = [{"id": name, "object": "model", "owned_by": owner, **more} for name in names]
        self.answers["/v1/models"] = lambda to, _: to.json({"object": "list", "data": entries})

    def streams(self, path: str, *parts: bytes) -> None:
        """Answer a path with a stream."""
        self.answers[path] = lambda to, _: to.stream(*parts)

    def plays(self, path: str, recording: str) -> None:
        """Answer a path with a recorded stream, in pieces that end anywhere."""
        data = (RECORDED / recording).read_bytes()
        self.streams(path, *(data[at : at + 97] for at in range(0, len(data), 97)))

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A server that has one model, "tiny", and says nothing of what it is."""
    scripted = ScriptedServer()
    scripted.lists("tiny")
    yield scripted
    scripted.close()


class Asking:
    """A session, and what its runs answered."""

    def __init__(self, server: ScriptedServer) -> None:
        self.server = server
        self.session = Session()

    def run(self, request: Request, controls: SamplingControls | None = None) -> list[Event]:
        """All events of a run."""
        return list(self.session.run(request, RunHandle(request.run_id, controls)))

    def load(self, *, model: str = "tiny", key: str = "", **options: Any) -> ModelLoaded:
        """Connect; the run must end well."""
        events = self.run(self.load_request(model=model, key=key, **options))
        loaded = [event for event in events if isinstance(event, ModelLoaded)]
        assert loaded, events
        return loaded[0]

    def load_request(self, *, model: str = "tiny", key: str = "", **options: Any) -> LoadRequest:
        """What connects to the scripted server."""
        return LoadRequest(
            run_id=new_run_id(),
            model=f"openai:{self.server.url}#{model}",
            server=Server(url=self.server.url, model=model, **options),
            key=Secret(key),
        )

    def chat(self, text: str = "Hello?", **options: Any) -> list[Event]:
        """Ask something."""
        controls = options.pop("controls", None)
        request = GenerateRequest(
            run_id=new_run_id(), messages=(Message(role="user", content=text),), **options
        )
        return self.run(request, controls)

    def raw(self, prompt: str, **options: Any) -> list[Event]:
        """Have a raw text continued."""
        controls = options.pop("controls", None)
        return self.run(GenerateRequest(run_id=new_run_id(), prompt=prompt, **options), controls)


@pytest.fixture
def asking(server: ScriptedServer) -> Asking:
    """A session that has not connected yet."""
    return Asking(server)


@pytest.fixture
def tokens_of() -> Callable[[list[Event]], list[Token]]:
    """The tokens among events."""
    return lambda events: [event for event in events if isinstance(event, Token)]


@pytest.fixture
def failure_of() -> Callable[[list[Event]], Failed]:
    """The failure that a run ended in."""

    def failed(events: list[Event]) -> Failed:
        assert isinstance(events[-1], Failed), events
        assert events[-1].kind != "internal", events[-1].details
        return events[-1]

    return failed


def chunk(text: str = "", *, end: str | None = None, **more: Any) -> bytes:
    """One event of a chat's stream."""
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": end, **more}
    return b"data: " + json.dumps({"id": "x", "choices": [choice]}).encode() + b"\n\n"


@pytest.fixture
def said() -> Callable[..., bytes]:
    """Makes events of a chat's stream."""
    return chunk
