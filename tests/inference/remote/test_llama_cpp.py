"""The built-in model behind llama-cpp-python's server says what it says here.

Runs where llama_cpp can be imported, or where MODEL_LOUPE_LLAMA_CPP names a Python that can
(``pip install "llama-cpp-python[server]"``).
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inference.events import Event, Finished, GenerateRequest, LoadRequest, Message, SamplingControls, Token
from inference.running import RunHandle, new_run_id
from inference.session import Session

PYTHON = os.environ.get("MODEL_LOUPE_LLAMA_CPP") or (
    sys.executable if importlib.util.find_spec("llama_cpp") else ""
)
ROOT = Path(__file__).parents[3]
BUILTIN = ROOT / "resources/models/builtin"
GREEDY = SamplingControls(temperature=0.0, top_p=1.0, max_new_tokens=24)

pytestmark = [
    pytest.mark.builtin,
    pytest.mark.skipif(not PYTHON, reason="llama_cpp is not installed (MODEL_LOUPE_LLAMA_CPP)"),
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of the built-in model."""
    file = tmp_path_factory.mktemp("gguf") / "builtin.gguf"
    script = ROOT / "packaging/builtin_model/to_gguf.py"
    subprocess.run([sys.executable, script, BUILTIN, file, "--type", "f32"], check=True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
    options = ["--n_ctx", "512", "--n_threads", "1", "--logits_all", "true", "--verbose", "false"]
    server = subprocess.Popen(
        [PYTHON, "-m", "llama_cpp.server", "--model", str(file), "--port", port, *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and server.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(port))) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait()


def session(model: str) -> Session:
    made = Session()
    events = list(made.run(LoadRequest(run_id=new_run_id(), model=model), RunHandle(0)))
    assert isinstance(events[-1], Finished), events[-1]
    return made


def replies(made: Session, **what: Any) -> list[Token]:
    request = GenerateRequest(run_id=new_run_id(), controls=GREEDY, candidates=5, **what)
    events: list[Event] = list(made.run(request, RunHandle(request.run_id, GREEDY)))
    assert isinstance(events[-1], Finished), events[-1]
    return [event for event in events if isinstance(event, Token) and not event.special]


@pytest.mark.parametrize(
    "what",
    [
        {"messages": (Message(role="user", content="Which river is the longest?"),)},
        {"prompt": "The longest river"},
        {"prompt": "The longest river", "reply_text": " in the world"},
    ],
    ids=["chat", "raw", "continued"],
)
def test_the_server_says_the_same(url: str, what: dict[str, Any]) -> None:
    there, here = replies(session(f"openai:{url}#builtin"), **what), replies(session("builtin"), **what)
    assert "".join(token.text for token in there) == "".join(token.text for token in here)
    for far, near in zip(there, here, strict=True):
        assert far.raw_logprob == pytest.approx(near.raw_logprob, abs=5e-3)
        assert far.candidates[0].text == near.candidates[0].text
