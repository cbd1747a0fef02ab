"""Layers that see only a window of keys take the step of fixed shapes: all keys stay, masks hide the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import transformers

from inference.captured.capturable import why_not
from inference.events import (
    AttentionControl,
    Event,
    Finished,
    GenerateRequest,
    SamplingControls,
    Started,
    SteeringOptions,
    Token,
)
from inference.running import RunHandle
from inference.session import Session
from tests.inference.conftest import SIZES, build  # type: ignore[import-not-found, unused-ignore]

Run = Callable[..., list[Event]]
PROMPT = "The quick brown fox jumps over the lazy dog. A model reads a prompt, token by token, and"
#: Windows are far shorter than the prompt; the last layers' see what the first's do not.
FAMILIES: dict[str, dict[str, Any]] = {
    "Mistral": {"sliding_window": 16},
    "Gemma2": {"sliding_window": 16, "head_dim": 16},
    "Gemma3Text": {"sliding_window": 16, "head_dim": 16, "sliding_window_pattern": 2},
    "GptOss": {"sliding_window": 16, "head_dim": 8, "num_local_experts": 2, "num_experts_per_tok": 1},
    "Llama4Text": {"attention_chunk_size": 24, "head_dim": 8, "num_local_experts": 2},
}
STEERED = (AttentionControl(start=60, end=85, factor=0.1),)
CASES: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "sampled": {"temperature": 1.2, "seed": 4},
    "guessed": {"temperature": 0.0, "prompt_lookup": True},
    "added": {"attention": STEERED, "temperature": 0.0},
    "multiplied": {"attention": STEERED, "steering": SteeringOptions(mode="multiplicative")},
    "in one layer": {"attention": STEERED, "steering": SteeringOptions(layers=(1, 1))},
}


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    return {}


def model_of(family: str, models: dict[str, Any]) -> Any:
    if family not in models:
        config = getattr(transformers, f"{family}Config")(**SIZES, **FAMILIES[family])
        kind = "Gemma3" if family == "Gemma3Text" else "Llama4" if family == "Llama4Text" else family
        models[family] = build(getattr(transformers, f"{kind}ForCausalLM"), config)
    return models[family]


def tokens(events: list[Event]) -> list[Token]:
    return [event for event in events if isinstance(event, Token)]


def finished(events: list[Event]) -> Finished:
    assert isinstance(events[-1], Finished), events[-1]
    return events[-1]


@pytest.mark.parametrize("family", FAMILIES)
def test_steps_write_what_the_plain_loop_writes(
    family: str,
    models: dict[str, Any],
    as_loaded: Any,
    stepping: Callable[..., Session],
    run: Run,
    generating: Callable[..., GenerateRequest],
) -> None:
    loaded = as_loaded(model_of(family, models))
    plain, stepped = stepping(loaded, steps="plain"), stepping(loaded)
    for name, case in CASES.items():
        request = generating(prompt=PROMPT, max_new_tokens=30, **case)
        expected, got = run(plain, request), run(stepped, request)
        assert (finished(got).path, finished(got).path_reason) == ("captured", ""), name
        assert [token.id for token in tokens(got)] == [token.id for token in tokens(expected)], name
        for one, other in zip(tokens(got), tokens(expected), strict=True):
            assert one.raw_logprob == pytest.approx(other.raw_logprob, abs=1e-3), name


def test_a_step_takes_back_what_a_window_has_left(
    models: dict[str, Any],
    as_loaded: Any,
    stepping: Callable[..., Session],
    run: Run,
    generating: Callable[..., GenerateRequest],
) -> None:
    """A prompt that shares a beginning with the last text is read from there, though the window is full."""
    session = stepping(as_loaded(model_of("Gemma2", models)))
    text = PROMPT + " " + PROMPT
    run(session, generating(prompt=text, temperature=0.0, max_new_tokens=30))
    other = generating(prompt=text[:140] + " but not so today", temperature=0.0, max_new_tokens=12)
    events = run(session, other)
    (started,) = [event for event in events if isinstance(event, Started)]
    assert started.reused_tokens > 20
    session.require_engine().prefix = None
    assert [token.id for token in tokens(run(session, other))] == [token.id for token in tokens(events)]


def test_a_change_of_factors_is_felt_by_the_next_token(
    models: dict[str, Any],
    as_loaded: Any,
    stepping: Callable[..., Session],
    run: Run,
    generating: Callable[..., GenerateRequest],
) -> None:
    """The last token is read again under the new factors, as at the start of a run that has them."""
    session = stepping(as_loaded(model_of("Gemma2", models)))
    request = generating(prompt=PROMPT, temperature=0.0, max_new_tokens=6)
    steered: SamplingControls = replace(request.controls, attention=STEERED)
    handle, changed = RunHandle(request.run_id, request.controls), []
    for event in session.run(request, handle):
        if isinstance(event, Token):
            changed.append(event)
            handle.controls = steered
    unchanged = tokens(run(session, request))
    assert changed[0].raw_logprob == pytest.approx(unchanged[0].raw_logprob, abs=1e-5)
    assert changed[1].raw_logprob != pytest.approx(unchanged[1].raw_logprob, abs=1e-4)


def test_models_that_make_their_masks_themselves_say_so(
    as_loaded: Any,
    stepping: Callable[..., Session],
    run: Run,
    generating: Callable[..., GenerateRequest],
) -> None:
    config = transformers.BloomConfig(vocab_size=500, hidden_size=32, n_layer=2, n_head=4)
    session = stepping(as_loaded(build(transformers.BloomForCausalLM, config)))
    end = finished(run(session, generating(prompt=PROMPT, max_new_tokens=4)))
    assert end.path == "plain"
    assert "masks" in end.path_reason


def test_keys_that_would_not_fit_on_the_gpu_are_forgotten_as_before(
    models: dict[str, Any], as_loaded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = as_loaded(model_of("Gemma2", models))
    loaded = replace(
        loaded,
        device=torch.device("cuda", 0),
        info=replace(loaded.info, kv_bytes_per_token=1000),
        context_length=100_000,
    )
    for free, reason in ((2e8, False), (1e8, True)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, free=free: (int(free), int(1e9)))
        assert ("shorter context" in why_not(loaded)) == reason
