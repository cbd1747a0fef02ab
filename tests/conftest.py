"""Shared fixtures: a scripted session for the tests of the window, and a check that nothing is left
running.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from inference.errors import InferenceError, RunCancelled
from inference.events import (
    Cancelled,
    Candidate,
    ControlsChanged,
    Event,
    Failed,
    Finished,
    GenerateRequest,
    ListModelsRequest,
    LoadRequest,
    MemoryEstimate,
    MemoryUse,
    ModelEntry,
    ModelInfo,
    ModelInspected,
    ModelLoaded,
    ModelsListed,
    ModelUnloaded,
    Progress,
    PromptRendered,
    PromptScored,
    RenderRequest,
    Request,
    ScoredToken,
    ScoreRequest,
    Stage,
    Started,
    Token,
    UnloadRequest,
)
from inference.running import RunHandle

if os.name == "posix" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

Script = Callable[[Any, RunHandle], Iterator[Event]]

INFO = ModelInfo(
    source="builtin",
    name="fake",
    architecture="LlamaForCausalLM",
    parameters=1_000_000,
    context_length=1024,
    vocabulary=512,
    layers=2,
    hidden_size=64,
    kv_bytes_per_token=1024,
    stored_bytes=4_000_000,
    stored_dtype="float32",
    licence="apache-2.0",
    has_chat_template=True,
)


class FakeSession:
    """A session whose answers a test writes.

    Every kind of request has a plain answer; ``script[RequestClass] = generator function`` replaces it. A
    reply is ``reply_pieces``, one token each, with the sampled probability equal to the temperature that
    acted (capped at 1), so that a test can see which controls a token felt. With ``stepwise`` set, each
    token waits for :meth:`step`.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.threads: list[str] = []
        self.script: dict[type[Request], Script] = {}
        self.reply_pieces: tuple[str, ...] = ("It", " is", " the", " Nile", ".")
        self.stepwise = False
        self._steps = threading.Semaphore(0)

    def step(self, count: int = 1) -> None:
        """Let ``count`` more tokens come."""
        self._steps.release(count)

    def of(self, kind: type[Any]) -> list[Any]:
        """The requests of one kind that came so far."""
        return [request for request in self.requests if isinstance(request, kind)]

    def run(self, request: Request, handle: RunHandle) -> Iterator[Event]:
        """Answer as ``inference.session.Session`` does: endings are events, not exceptions."""
        self.requests.append(request)
        self.threads.append(threading.current_thread().name)
        run_id = request.run_id
        try:
            ended = False
            for event in self.script.get(type(request), self._plain)(request, handle):
                ended = isinstance(event, (Finished, Cancelled, Failed))
                yield event
            if not ended:
                yield Finished(run_id=run_id, reason="done")
        except RunCancelled:
            yield Cancelled(run_id=run_id)
        except InferenceError as error:
            yield Failed(run_id=run_id, kind=error.kind, message=error.message, hint=error.hint)

    def wait_for_step(self, handle: RunHandle) -> None:
        """Block until :meth:`step`, looking at the cancel flag meanwhile."""
        while not self._steps.acquire(timeout=0.005):
            handle.check()

    def _plain(self, request: Any, handle: RunHandle) -> Iterator[Event]:
        run_id = request.run_id
        if isinstance(request, LoadRequest):
            yield Progress(run_id=run_id, stage="Reading weights", done=1, total=2, unit="layers")
            handle.check()
            yield ModelLoaded(
                run_id=run_id,
                info=INFO,
                quantization=request.quantization,
                device="cpu",
                context_length=request.context_length or 1024,
                seconds=0.1,
                memory=MemoryUse(process=10**8, weights=4 * 10**6),
            )
        elif isinstance(request, UnloadRequest):
            yield ModelUnloaded(run_id=run_id, freed=4 * 10**6, memory=MemoryUse(process=10**8))
        elif isinstance(request, ListModelsRequest):
            entry = ModelEntry(source="builtin", name="Built-in", origin="builtin", size=4 * 10**6)
            yield ModelsListed(run_id=run_id, entries=(entry,))
        elif isinstance(request, RenderRequest):
            text = "".join(f"<{m.role}>{m.content}\n" for m in request.messages) + "<assistant>"
            yield PromptRendered(run_id=run_id, text=text + request.reply_text, tokens=len(text))
        elif isinstance(request, ScoreRequest):
            yield PromptScored(run_id=run_id, tokens=self.score(request))
        elif isinstance(request, GenerateRequest):
            yield from self._generate(request, handle)
        elif type(request).__name__ == "InspectRequest":
            estimate = MemoryEstimate(
                device="cpu", weights=4 * 10**6, kv_cache=10**6, overhead=10**6, free=10**9
            )
            yield ModelInspected(run_id=run_id, info=INFO, estimate=estimate)

    def score(self, request: ScoreRequest | GenerateRequest) -> tuple[ScoredToken, ...]:
        """The prompt, one token a word."""
        texts = [request.prompt] if request.prompt is not None else [m.content for m in request.messages]
        words = " ".join(texts).split(" ")
        return tuple(
            ScoredToken(
                index=i,
                id=i,
                text=(" " if i else "") + word,
                data=word.encode(),
                special=False,
                raw_logprob=-1.0 if i else None,
                entropy=0.5 if i else None,
            )
            for i, word in enumerate(words)
        )

    def _generate(self, request: GenerateRequest, handle: RunHandle) -> Iterator[Event]:
        run_id, controls = request.run_id, handle.controls
        prompt_text = request.prompt if request.prompt is not None else request.messages[-1].content
        yield Started(
            run_id=run_id,
            prompt_tokens=10,
            reused_tokens=0,
            context_length=1024,
            seed=controls.seed if controls.seed is not None else 1234,
            prompt_text=prompt_text,
        )
        if request.score_prompt:
            yield PromptScored(run_id=run_id, tokens=self.score(request))
        made: list[str] = []
        # Like the engine: counted from the beginning of the reply, which may have been given.
        for index, piece in enumerate(self.reply_pieces, start=len(request.reply_ids)):
            if self.stepwise:
                self.wait_for_step(handle)
            handle.check()
            if handle.controls is not controls:
                change = ("temperature", str(controls.temperature), str(handle.controls.temperature))
                controls = handle.controls
                yield ControlsChanged(run_id=run_id, index=index, changes=(change,))
            made.append(piece)
            yield self.token(run_id, index, piece, min(controls.temperature, 1.0))
        yield Finished(
            run_id=run_id,
            reason="stop",
            text="".join(made),
            prompt_tokens=10,
            new_tokens=len(made),
            tokens_per_second=50.0,
        )

    @staticmethod
    def token(run_id: int, index: int, text: str, sampled_prob: float) -> Token:
        """A token with one rival."""
        return Token(
            run_id=run_id,
            index=index,
            id=100 + index,
            text=text,
            data=text.encode(),
            special=False,
            raw_logprob=-0.5,
            sampled_prob=sampled_prob,
            entropy=0.7,
            candidates=(
                Candidate(id=100 + index, text=text, raw_logprob=-0.5, sampled_prob=sampled_prob),
                Candidate(id=300 + index, text=" rival", raw_logprob=-1.5, sampled_prob=1 - sampled_prob),
            ),
            stages=(Stage(name="raw", probs=(0.6, 0.4), removed=0.0),),
            at=0.01 * index,
        )


@pytest.fixture(autouse=True)
def deleted_widgets_go() -> Iterator[None]:
    """Delete what is waiting for it: else every theme styles the widgets of all tests before, too."""
    yield
    core = sys.modules.get("PySide6.QtCore")
    if core is not None and core.QCoreApplication.instance() is not None:
        core.QCoreApplication.sendPostedEvents(None, core.QEvent.Type.DeferredDelete)


@pytest.fixture
def fake_session() -> FakeSession:
    """A scriptable session."""
    return FakeSession()


@pytest.fixture
def nothing_left_running(qapp: Any) -> Iterator[None]:
    """Fail if a QThread runs or a QTimer ticks after the test that did not before it."""
    from PySide6.QtCore import QCoreApplication, QEvent, QThread, QTimer
    from shiboken6 import isValid

    def running() -> dict[int, Any]:
        # By type: asking some objects of torch for their __class__ makes them warn.
        objects = [o for o in gc.get_objects() if issubclass(type(o), (QThread, QTimer)) and isValid(o)]
        return {id(o): o for o in objects if (o.isRunning() if isinstance(o, QThread) else o.isActive())}

    before = running()
    yield
    left: list[Any] = []
    for _ in range(3):
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        QCoreApplication.processEvents()
        left = [o for key, o in running().items() if key not in before and o is not QThread.currentThread()]
        if not left:
            break
        gc.collect()  # expensive once torch is imported, so only where something is left
    assert not left, f"left running: {left}"
