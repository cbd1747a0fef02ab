"""Every run ends once, whatever happens, and the session can be used afterwards."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.errors import InvalidLogits
from inference.events import (
    ENDINGS,
    Event,
    Failed,
    Finished,
    GenerateRequest,
    ListModelsRequest,
    LoadRequest,
    Message,
    ModelLoaded,
    ModelUnloaded,
    Progress,
    PromptRendered,
    PromptScored,
    RenderRequest,
    Request,
    ScoreRequest,
    Started,
    Token,
    UnloadRequest,
    to_json,
)
from inference.models.loaded_model import LoadedModel
from inference.passes.forward import Forward
from inference.running import RunHandle, new_run_id
from inference.session import Session

Run = Callable[..., list[Event]]
Generating = Callable[..., GenerateRequest]
PROMPT = "The quick brown fox jumps over the lazy dog."


def failure(events: list[Event]) -> Failed:
    """The run's only ending, which must be a failure with a hint."""
    assert [event for event in events if isinstance(event, ENDINGS)] == [events[-1]]
    assert isinstance(events[-1], Failed)
    assert events[-1].message
    assert events[-1].hint
    return events[-1]


def text_of(events: list[Event]) -> str:
    assert isinstance(events[-1], Finished), events[-1]
    return events[-1].text


class Breaking:
    """Makes the forward pass fail at its n-th call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._plain = Forward.__call__
        self._monkeypatch = monkeypatch

    def at(self, call: int, outcome: Any) -> None:
        calls = 0

        def broken(forward: Forward, *args: Any, **kwargs: Any) -> torch.Tensor:
            nonlocal calls
            calls += 1
            logits = self._plain(forward, *args, **kwargs)
            if calls < call:
                return logits
            if isinstance(outcome, Exception):
                raise outcome
            return torch.full_like(logits, outcome)

        self._monkeypatch.setattr(Forward, "__call__", broken)

    def mend(self) -> None:
        self._monkeypatch.setattr(Forward, "__call__", self._plain)


@pytest.fixture
def forward_pass(monkeypatch: pytest.MonkeyPatch) -> Breaking:
    return Breaking(monkeypatch)


class TestFailures:
    def test_without_a_model(self, run: Run, generating: Generating) -> None:
        for request in (
            generating(prompt="a"),
            ScoreRequest(run_id=1, prompt="a"),
            RenderRequest(run_id=1, messages=(Message(role="user", content="a"),)),
        ):
            assert failure(run(Session(), request)).kind == "no-model"

    @pytest.mark.parametrize(
        ("arguments", "kind"),
        [
            ({"prompt": ""}, "empty-prompt"),
            ({}, "empty-prompt"),
            ({"prompt": "a", "messages": (Message(role="user", content="b"),)}, "invalid-request"),
            ({"prompt": "word " * 600}, "context-full"),
            ({"prompt": "a", "max_new_tokens": -1}, "invalid-request"),
            ({"prompt": "a", "temperature": float("nan")}, "invalid-request"),
        ],
    )
    def test_bad_requests(
        self, arguments: dict[str, Any], kind: str, session: Session, run: Run, generating: Generating
    ) -> None:
        before = text_of(run(session, generating(prompt=PROMPT)))
        assert failure(run(session, generating(**arguments))).kind == kind
        assert text_of(run(session, generating(prompt=PROMPT))) == before

    @pytest.mark.parametrize("call", [1, 5], ids=["prefill", "mid-reply"])
    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_logits_that_are_no_numbers(
        self,
        call: int,
        value: float,
        session: Session,
        run: Run,
        generating: Generating,
        forward_pass: Breaking,
    ) -> None:
        forward_pass.at(call, value)
        events = run(session, generating(prompt=PROMPT))
        assert failure(events).kind == InvalidLogits.kind
        assert len([event for event in events if isinstance(event, Token)]) == call - 1
        forward_pass.mend()
        assert text_of(run(session, generating(prompt=PROMPT)))

    @pytest.mark.parametrize("call", [1, 5], ids=["prefill", "mid-reply"])
    @pytest.mark.parametrize(
        "error",
        [
            MemoryError(),
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: not enough memory"),
        ],
        ids=["python", "cuda", "cpu"],
    )
    def test_out_of_memory_frees_the_cache_and_keeps_the_model(
        self,
        call: int,
        error: Exception,
        session: Session,
        run: Run,
        generating: Generating,
        forward_pass: Breaking,
    ) -> None:
        expected = text_of(run(session, generating(prompt=PROMPT)))
        forward_pass.at(call, error)
        assert failure(run(session, generating(prompt=PROMPT))).kind == "out-of-memory"
        assert session.require_engine().prefix is None
        forward_pass.mend()
        events = run(session, generating(prompt=PROMPT))
        assert next(event for event in events if isinstance(event, Started)).reused_tokens == 0
        assert text_of(events) == expected

    def test_a_pass_that_breaks_off_half_way_leaves_no_cache_to_reuse(
        self, session: Session, run: Run, generating: Generating, forward_pass: Breaking
    ) -> None:
        expected = text_of(run(session, generating(prompt=PROMPT)))
        forward_pass.at(4, ValueError("a defect"))
        failed = failure(run(session, generating(prompt=PROMPT)))
        assert failed.kind == "internal"
        assert "a defect" in failed.message
        assert "Traceback" in failed.details
        forward_pass.mend()
        events = run(session, generating(prompt=PROMPT))
        assert next(event for event in events if isinstance(event, Started)).reused_tokens == 0
        assert text_of(events) == expected

    def test_a_request_that_nobody_handles(self, session: Session, run: Run) -> None:
        assert failure(run(session, Request(run_id=1))).kind == "internal"


class TestHandlers:
    def test_a_handler_may_be_added_and_need_not_end_the_run(self, run: Run) -> None:
        def answer(session: Session, request: Request, handle: RunHandle) -> Iterator[Event]:
            yield Progress(run_id=request.run_id, stage="x", done=1, total=1, unit="files")

        session = Session()
        session.handlers[ListModelsRequest] = answer
        events = run(session, ListModelsRequest(run_id=7))
        assert [type(event) for event in events] == [Progress, Finished]
        assert events[-1].run_id == 7

    def test_nothing_follows_an_ending(self, run: Run) -> None:
        def answer(session: Session, request: Request, handle: RunHandle) -> Iterator[Event]:
            yield Finished(run_id=request.run_id, reason="done", text="mine")
            yield Progress(run_id=request.run_id, stage="x", done=1, total=1, unit="files")

        session = Session()
        session.handlers[ListModelsRequest] = answer
        assert [type(event) for event in run(session, ListModelsRequest(run_id=7))] == [Finished]

    def test_unloading_lets_go_of_the_model(
        self, families: dict[str, Any], as_loaded: Any, run: Run, generating: Generating
    ) -> None:
        import copy

        session = Session()
        session.use(as_loaded(copy.deepcopy(families["llama"])))
        run(session, generating(prompt=PROMPT))
        assert isinstance(run(session, UnloadRequest(run_id=1))[-1], Finished)
        assert session.loaded is None
        assert failure(run(session, generating(prompt=PROMPT))).kind == "no-model"
        assert isinstance(run(session, UnloadRequest(run_id=2))[-1], Finished)

    @pytest.mark.parametrize("model", ["/no/such/folder", ""])
    def test_a_model_that_is_not_there_does_not_cost_the_one_that_works(
        self, model: str, session: Session, run: Run, generating: Generating
    ) -> None:
        assert failure(run(session, LoadRequest(run_id=1, model=model))).kind == "model-not-found"
        assert text_of(run(session, generating(prompt=PROMPT)))

    def test_loading_takes_the_place_of_the_model_before(
        self, tmp_path: Path, families: dict[str, Any], as_loaded: Any, run: Run, generating: Generating
    ) -> None:
        import copy

        loaded = as_loaded(copy.deepcopy(families["llama"]))
        loaded.model.save_pretrained(tmp_path)
        loaded.tokenizer.save_pretrained(tmp_path)
        session = Session()
        session.use(loaded)
        before = text_of(run(session, generating(prompt=PROMPT)))
        events = run(session, LoadRequest(run_id=1, model=str(tmp_path)))
        kinds = [type(event) for event in events if not isinstance(event, Progress)]
        assert kinds == [ModelUnloaded, ModelLoaded, Finished]
        assert text_of(run(session, generating(prompt=PROMPT))) == before

    def test_rendering_shows_what_would_be_read_however_long_it_is(
        self, session: Session, run: Run, llama: LoadedModel
    ) -> None:
        messages = (Message(role="user", content="word " * 600),)
        rendered = run(session, RenderRequest(run_id=1, messages=messages, reply_text="So"))[0]
        assert isinstance(rendered, PromptRendered)
        assert rendered.text.endswith("<|end|><|assistant|>So")
        assert rendered.tokens == len(llama.tokenizer.encode(rendered.text, add_special_tokens=False))


class TestScoring:
    def test_given_text_is_scored_like_the_same_text_when_it_was_written(
        self, session: Session, run: Run, generating: Generating, llama: LoadedModel
    ) -> None:
        events = run(session, generating(prompt=PROMPT, temperature=1.2, seed=8, score_prompt=True))
        written = [event for event in events if isinstance(event, Token)]
        fresh = Session()
        fresh.use(llama)
        request = ScoreRequest(run_id=2, prompt=PROMPT, reply_ids=tuple(token.id for token in written))
        for each in (session, fresh):
            scored = next(e for e in run(each, request) if isinstance(e, PromptScored)).tokens
            reply = scored[len(scored) - len(written) :]
            for given, token in zip(reply, written, strict=True):
                assert given.id == token.id
                assert given.raw_logprob == pytest.approx(token.raw_logprob, abs=1e-4)
                assert given.entropy == pytest.approx(token.entropy, abs=1e-4)
                assert {c.id for c in given.candidates} == {c.id for c in token.candidates}

    def test_chunks_do_not_change_the_scores(
        self, llama: LoadedModel, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        results = []
        for chunk in (3, 512):
            monkeypatch.setattr(Forward, "chunk", chunk)
            session = Session()
            session.use(llama)
            events = run(session, ScoreRequest(run_id=1, prompt=PROMPT * 4))
            (scored,) = [event for event in events if isinstance(event, PromptScored)]
            results.append(scored.tokens)
            assert "".join(token.text for token in scored.tokens) == PROMPT * 4
        for one, other in zip(*results, strict=True):
            assert one.raw_logprob == pytest.approx(other.raw_logprob, abs=1e-4)


class TestEvents:
    def test_events_pickle_and_print_as_json(
        self, session: Session, run: Run, generating: Generating
    ) -> None:
        events = run(session, generating(prompt=PROMPT, score_prompt=True, temperature=1.0, seed=1))
        assert pickle.loads(pickle.dumps(events)) == events
        for event in events:
            assert json.loads(json.dumps(to_json(event)))["event"] == event.event

    def test_events_hold_plain_numbers(self, session: Session, run: Run, generating: Generating) -> None:
        (token, *_) = [e for e in run(session, generating(prompt=PROMPT)) if isinstance(e, Token)]
        numbers = [token.raw_logprob, token.sampled_prob, token.entropy, token.stages[0].removed]
        numbers += [candidate.raw_logprob for candidate in token.candidates]
        assert {type(number) for number in numbers} == {float}
        assert type(token.id) is int


def test_importing_the_session_loads_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, inference.session, inference.__main__\n"
        "print([name for name in ('torch', 'transformers', 'numpy', 'PySide6') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_run_ids_are_unique() -> None:
    assert len({new_run_id() for _ in range(100)}) == 100
