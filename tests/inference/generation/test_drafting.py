"""A draft model makes a reply cheaper and nothing else of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from inference.engine import Engine
from inference.events import (
    DraftLoaded,
    Event,
    Failed,
    Finished,
    GenerateRequest,
    LoadDraftRequest,
    Token,
)
from inference.models.loaded_model import LoadedModel
from inference.running import RunHandle, new_run_id
from inference.session import Session
from tests.inference.conftest import SIZES, build  # type: ignore[import-not-found, unused-ignore]

Run = Callable[..., list[Event]]
Generating = Callable[..., GenerateRequest]
PROMPT = "The quick brown fox jumps over the lazy dog. A model reads a prompt, token by token, and"


@pytest.fixture(scope="module")
def small() -> LlamaForCausalLM:
    """Another model of the same vocabulary, whose guesses are mostly wrong."""
    model: LlamaForCausalLM = build(LlamaForCausalLM, LlamaConfig(**SIZES | {"num_hidden_layers": 1}))
    return model


@pytest.fixture(params=["plain", "uncaptured"])
def drafting(
    request: pytest.FixtureRequest, llama: LoadedModel, as_loaded: Any, small: LlamaForCausalLM
) -> Callable[[str], Session]:
    """A session with a draft model: the model itself ("same"), or a small one that mostly errs."""

    def make(draft: str) -> Session:
        session = Session()
        session.engine = Engine(llama, steps=request.param)
        model = llama if draft == "same" else as_loaded(small)
        session.draft = Engine(model, steps=request.param)
        return session

    return make


def tokens(events: list[Event]) -> list[Token]:
    return [event for event in events if isinstance(event, Token)]


def finished(events: list[Event]) -> Finished:
    (found,) = [event for event in events if isinstance(event, Finished)]
    return found


@pytest.mark.parametrize("draft", ["same", "small"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 1.0, "seed": 5, "top_p": 0.9},
        {"temperature": 0.4, "repetition_penalty": 1.2, "seed": 1},
    ],
    ids=["greedy", "sampled", "penalized"],
)
def test_the_reply_is_the_same_with_and_without(
    draft: str, settings: dict[str, Any], drafting: Any, session: Session, run: Run, generating: Generating
) -> None:
    with_draft = drafting(draft)
    for prompt in (PROMPT, PROMPT + " then"):
        request = generating(prompt=prompt, max_new_tokens=40, draft=True, **settings)
        got = run(with_draft, request)
        expected = run(session, generating(prompt=prompt, max_new_tokens=40, **settings))
        assert [token.id for token in tokens(got)] == [token.id for token in tokens(expected)]
        for mine, theirs in zip(tokens(got), tokens(expected), strict=True):
            assert mine.raw_logprob == pytest.approx(theirs.raw_logprob, abs=1e-4)
        end = finished(got)
        assert end.accepted == sum(token.guessed for token in tokens(got))
        assert 0 < end.guesses >= end.accepted


def test_a_draft_that_is_always_right_is_always_accepted(
    drafting: Any, run: Run, generating: Generating
) -> None:
    end = finished(run(drafting("same"), generating(prompt=PROMPT, max_new_tokens=41, draft=True)))
    # After the first token eight passes of five rows each: a token and four guesses.
    assert (end.guesses, end.accepted) == (32, 32)


def test_own_words_come_before_the_draft(drafting: Any, run: Run, generating: Generating) -> None:
    session = drafting("small")
    request = generating(prompt="print(add(1, 2)) " * 5, max_new_tokens=20, draft=True, prompt_lookup=True)
    expected = run(session, generating(prompt="print(add(1, 2)) " * 5, max_new_tokens=20))
    assert [t.id for t in tokens(run(session, request))] == [t.id for t in tokens(expected)]


def test_a_cancel_and_the_end_of_the_context(drafting: Any, run: Run, generating: Generating) -> None:
    session = drafting("same")
    request = generating(prompt=PROMPT, max_new_tokens=60, draft=True)
    handle = RunHandle(request.run_id, request.controls)
    shown = 0
    for event in session.run(request, handle):
        if isinstance(event, Token):
            shown += 1
            if shown == 7:
                handle.cancel()
    assert event.new_tokens == 7  # type: ignore[attr-defined]
    long = generating(prompt=PROMPT * 5, max_new_tokens=600, draft=True, temperature=1.0, seed=2)
    with_draft = run(session, long)
    plain = run(session, generating(prompt=PROMPT * 5, max_new_tokens=600, temperature=1.0, seed=2))
    assert [t.id for t in tokens(with_draft)] == [t.id for t in tokens(plain)]


def test_without_a_draft_model_the_request_is_refused(
    session: Session, run: Run, generating: Generating
) -> None:
    failed = run(session, generating(prompt=PROMPT, draft=True))[-1]
    assert isinstance(failed, Failed)
    assert failed.kind == "invalid-request"


def test_a_model_of_another_vocabulary_is_refused(
    session: Session, run: Run, generating: Generating, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = run(session, LoadDraftRequest(run_id=new_run_id(), model="builtin"))[-1]
    assert isinstance(failed, Failed)
    assert failed.kind == "invalid-request"
    assert session.draft is None
    gone = run(session, LoadDraftRequest(run_id=new_run_id(), model=""))
    assert [event.model for event in gone if isinstance(event, DraftLoaded)] == [""]
