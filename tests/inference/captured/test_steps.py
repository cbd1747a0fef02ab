"""The step of fixed shapes writes what the plain loop writes, whatever is asked of it and whenever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from inference.events import (
    AttentionControl,
    Cancelled,
    Event,
    Finished,
    GenerateRequest,
    SamplingControls,
    SteeringOptions,
    Token,
)
from inference.models.loaded_model import LoadedModel
from inference.running import RunHandle
from inference.session import Session

Run = Callable[..., list[Event]]
Generating = Callable[..., GenerateRequest]
Both = tuple[Session, Session]
PROMPT = "The quick brown fox jumps over the lazy dog. A model reads a prompt, token by token, and"
CONTROL = AttentionControl(start=4, end=19, factor=0.0)


def tokens(events: list[Event]) -> list[Token]:
    return [event for event in events if isinstance(event, Token)]


def path(events: list[Event]) -> str:
    (finished,) = [event for event in events if isinstance(event, Finished)]
    return finished.path


def assert_same(mine: list[Token], theirs: list[Token]) -> None:
    assert [token.id for token in mine] == [token.id for token in theirs]
    for one, other in zip(mine, theirs, strict=True):
        assert one.text == other.text
        assert one.raw_logprob == pytest.approx(other.raw_logprob, abs=1e-4)
        assert one.sampled_prob == pytest.approx(other.sampled_prob, abs=1e-4)
        assert one.entropy == pytest.approx(other.entropy, abs=1e-3)
        mine_by_id, theirs_by_id = by_candidate(one), by_candidate(other)
        common = mine_by_id.keys() & theirs_by_id.keys()
        assert len(common) >= len(other.candidates) - 1  # the last may be one of two that are as likely
        for candidate in common:
            assert mine_by_id[candidate] == pytest.approx(theirs_by_id[candidate], abs=1e-4)
        for stage, other_stage in zip(one.stages, other.stages, strict=True):
            assert stage.name == other_stage.name
            assert stage.removed == pytest.approx(other_stage.removed, abs=1e-4)


def by_candidate(token: Token) -> dict[int, list[float]]:
    """Its log-probability and its probability after each stage."""
    return {
        each.id: [each.raw_logprob, each.sampled_prob, *(stage.probs[place] for stage in token.stages)]
        for place, each in enumerate(token.candidates)
    }


def cut_otherwise(one: Token, other: Token) -> list[int]:
    """The candidates that a stage kept in one and not in the other."""
    mine, theirs = by_candidate(one), by_candidate(other)
    return [
        each
        for each in mine.keys() & theirs.keys()
        if [value > 0 for value in mine[each][1:]] != [value > 0 for value in theirs[each][1:]]
    ]


SETTINGS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "sampled": {"temperature": 1.3, "top_p": 0.9, "seed": 3},
    "everything": {
        "temperature": 1.5,
        "top_k": 60,
        "top_p": 0.95,
        "min_p": 0.01,
        "repetition_penalty": 1.2,
        "frequency_penalty": 0.3,
        "presence_penalty": 0.2,
        "logit_bias": ((42, 2.5), (77, -3.0)),
        "seed": 8,
    },
    "penalized greedy": {"repetition_penalty": 1.4, "logit_bias": ((42, 2.5),)},
    "steered": {"temperature": 1.0, "seed": 2, "attention": (CONTROL,)},
    "unsure": {
        "temperature": 1.0,
        "seed": 2,
        "steering": SteeringOptions(entropy_threshold=3.0, entropy_factor=0.05),
    },
}


FORMS = {
    "multiplied": SteeringOptions(mode="multiplicative"),
    "multiplied in a layer": SteeringOptions(mode="multiplicative", layers=(1, 1)),
    "added in two layers": SteeringOptions(layers=(0, 1)),
    "multiplied where unsure": SteeringOptions(
        mode="multiplicative", entropy_threshold=3.0, entropy_factor=0.0
    ),
    "added in a layer where unsure": SteeringOptions(layers=(2, 2), entropy_threshold=3.0),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_control_does_what_it_does_in_the_plain_loop(
    name: str, both: Both, run: Run, generating: Generating
) -> None:
    for candidates in (20, 1):
        request = generating(prompt=PROMPT, max_new_tokens=30, candidates=candidates, **SETTINGS[name])
        plain, stepped = run(both[0], request), run(both[1], request)
        assert (path(plain), path(stepped)) == ("plain", "captured")
        assert_same(tokens(stepped), tokens(plain))


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=(Phase.explicit, Phase.generate),
)
@given(
    controls=st.builds(
        SamplingControls,
        temperature=st.sampled_from([0.0, 0.5, 1.0, 1.8]),
        top_p=st.sampled_from([1.0, 0.95, 0.5, 0.0]),
        top_k=st.sampled_from([0, 1, 7, 450]),
        min_p=st.sampled_from([0.0, 0.05, 0.5]),
        repetition_penalty=st.sampled_from([1.0, 1.3]),
        frequency_penalty=st.sampled_from([0.0, 0.7]),
        presence_penalty=st.sampled_from([0.0, -0.4]),
        logit_bias=st.sampled_from([(), ((10, 4.0),)]),
        seed=st.integers(0, 2**63),
        max_new_tokens=st.just(6),
    ),
    second=st.floats(0.0, 2.0),
)
def test_any_controls_and_any_change(
    controls: SamplingControls, second: float, both: Both, generating: Generating
) -> None:
    results = []
    for session in both:
        request = replace(generating(prompt=PROMPT[:20]), controls=controls)
        handle = RunHandle(request.run_id, controls)
        found: list[Token] = []
        for event in session.run(request, handle):
            if isinstance(event, Token):
                found.append(event)
                if len(found) == 3:
                    handle.controls = replace(controls, temperature=second)
        results.append(found)
    same = next(
        (
            n
            for n, (one, other) in enumerate(zip(*results, strict=False))
            if one.id != other.id or cut_otherwise(one, other)
        ),
        min(map(len, results)),
    )
    assert_same(results[1][:same], results[0][:same])
    if same < min(map(len, results)):
        # The two add up in another order, so a draw or a cut may fall to either side of a rounding error;
        # but from the same distribution.
        assert len(cut_otherwise(results[1][same], results[0][same])) <= 1
        one, other = by_candidate(results[1][same]), by_candidate(results[0][same])
        for token in one.keys() & other.keys():
            assert one[token][0] == pytest.approx(other[token][0], abs=1e-4)
            assert one[token][4] == pytest.approx(other[token][4], abs=1e-3)  # after temperature


CHANGES: dict[str, dict[str, Any]] = {
    "temperature": {"temperature": 0.0},
    "bias": {"logit_bias": ((77, 500.0),)},
    "penalties": {"repetition_penalty": 2.0, "frequency_penalty": 1.0},
    "seed": {"seed": 99},
    "attention": {"attention": (CONTROL,)},
    "no attention any more": {"attention": ()},
    "multiplied": {"attention": (CONTROL,), "steering": SteeringOptions(mode="multiplicative")},
    "some layers": {"attention": (CONTROL,), "steering": SteeringOptions(layers=(1, 1))},
    "unsure": {"steering": SteeringOptions(entropy_threshold=2.0)},
}


@pytest.mark.parametrize("lookup", [False, True], ids=["one by one", "guessing"])
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_in_mid_run_acts_on_the_very_next_token(
    name: str, lookup: bool, both: Both, generating: Generating
) -> None:
    results = []
    for session in both:
        first: dict[str, Any] = {"attention": (replace(CONTROL, factor=0.5),)} if "any more" in name else {}
        request = generating(
            prompt=PROMPT, max_new_tokens=24, temperature=1.0, seed=1, prompt_lookup=lookup, **first
        )
        handle = RunHandle(request.run_id, request.controls)
        found: list[Token] = []
        for event in session.run(request, handle):
            if isinstance(event, Token):
                found.append(event)
                if len(found) == 5:
                    handle.controls = replace(handle.controls, **CHANGES[name])
                if len(found) == 15:
                    handle.controls = request.controls
        results.append(found)
    assert_same(results[1], results[0])


@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
def test_attention_factors_act_in_every_form(
    options: SteeringOptions, both: Both, run: Run, generating: Generating
) -> None:
    control = replace(CONTROL, factor=0.2)
    request = generating(
        prompt=PROMPT, temperature=1.0, seed=5, max_new_tokens=20, attention=(control,), steering=options
    )
    plain, stepped = run(both[0], request), run(both[1], request)
    assert path(stepped) == "captured"
    assert_same(tokens(stepped), tokens(plain))
    unsteered = run(both[0], replace(request, controls=replace(request.controls, attention=())))
    assert tokens(unsteered)[0].raw_logprob != pytest.approx(tokens(plain)[0].raw_logprob, abs=1e-3)


@pytest.mark.parametrize("family", ["gpt2", "sliding", "mamba"])
def test_other_families_take_the_step_they_can(
    family: str,
    families: dict[str, Any],
    as_loaded: Any,
    stepping: Callable[..., Session],
    run: Run,
    generating: Generating,
) -> None:
    loaded = as_loaded(families[family])
    request = generating(prompt=PROMPT, max_new_tokens=20, temperature=1.0, seed=4)
    plain, stepped = run(stepping(loaded, steps="plain"), request), run(stepping(loaded), request)
    assert_same(tokens(stepped), tokens(plain))
    finished = stepped[-1]
    assert isinstance(finished, Finished)
    assert finished.path == ("plain" if family == "mamba" else "captured")
    assert bool(finished.path_reason) == (family == "mamba")


class TestEnds:
    def test_stop_strings_end_tokens_and_lengths_leave_a_prefix_that_is_whole(
        self, both: Both, run: Run, generating: Generating
    ) -> None:
        text = "".join(token.text for token in tokens(run(both[0], generating(prompt=PROMPT))))
        for stop in ((), (text[5:9],), (text[2:4],)):
            for length in (1, 7):
                request = generating(prompt=PROMPT, stop=stop, max_new_tokens=length)
                plain, stepped = run(both[0], request)[-1], run(both[1], request)[-1]
                assert isinstance(plain, Finished)
                assert isinstance(stepped, Finished)
                assert (stepped.text, stepped.reason) == (plain.text, plain.reason)
                engine = both[1].require_engine()
                assert engine.prefix is not None
                assert engine.prefix.cache.get_seq_length() == len(engine.prefix.ids)

    def test_the_context_is_filled_to_its_last_token(
        self, as_loaded: Any, llama: LoadedModel, stepping: Callable[..., Session], run: Run, generating: Any
    ) -> None:
        loaded = as_loaded(llama.model, context_length=60)
        request = generating(prompt=PROMPT, max_new_tokens=100, seed=3, temperature=1.0)
        plain, stepped = run(stepping(loaded, steps="plain"), request), run(stepping(loaded), request)
        assert_same(tokens(stepped), tokens(plain))
        assert [type(events[-1]) for events in (plain, stepped)] == [Finished, Finished]
        assert [getattr(events[-1], "reason", "") for events in (plain, stepped)] == ["context-full"] * 2

    def test_a_cancelled_run_leaves_what_the_next_one_can_use(
        self, both: Both, run: Run, generating: Generating
    ) -> None:
        request = generating(prompt=PROMPT, max_new_tokens=30)
        handle = RunHandle(request.run_id, request.controls)
        events: Iterator[Event] = both[1].run(request, handle)
        shown = []
        for event in events:
            if isinstance(event, Token):
                shown.append(event)
                if len(shown) == 6:
                    handle.cancel()
        assert isinstance(event, Cancelled)
        assert event.new_tokens == 6
        again, plain = run(both[1], request), run(both[0], request)
        assert_same(tokens(again), tokens(plain))
        assert getattr(again[-1], "reused_tokens", 0) > 0

    def test_an_abandoned_run_takes_nothing_from_the_next(
        self, both: Both, run: Run, generating: Generating
    ) -> None:
        abandoned = both[1].run(generating(prompt=PROMPT[::-1]), RunHandle(1))
        for event in abandoned:
            if isinstance(event, Token):
                break
        first = run(both[1], generating(prompt=PROMPT))
        abandoned.close()  # type: ignore[attr-defined]
        second = run(both[1], generating(prompt=PROMPT))
        expected = run(both[0], generating(prompt=PROMPT))
        assert_same(tokens(first), tokens(expected))
        assert_same(tokens(second), tokens(expected))


class TestBuckets:
    def test_a_reply_that_outgrows_its_buffers_goes_on_in_larger_ones(
        self,
        both: Both,
        run: Run,
        generating: Generating,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("inference.captured.buffers.SMALLEST_BUCKET", 32)
        monkeypatch.setattr("inference.engine._RESERVED", 4)
        sampling = {"prompt": PROMPT, "max_new_tokens": 90, "temperature": 0.9, "seed": 6}
        for lookup in (False, True):
            request = generating(**sampling, prompt_lookup=lookup)
            plain, stepped = run(both[0], request), run(both[1], request)
            assert_same(tokens(stepped), tokens(plain))
            both[1].require_engine().free_cache()

    def test_their_memory_is_told_and_given_back(
        self, both: Both, run: Run, generating: Generating, llama: LoadedModel
    ) -> None:
        finished = run(both[1], generating(prompt=PROMPT))[-1]
        assert isinstance(finished, Finished)
        # Keys and values of 3 layers, 2 heads of 8 numbers, 512 positions of the context, and a bias each.
        assert finished.memory.kv_cache == 3 * 2 * 2 * 8 * 512 * 4
        assert finished.memory.step > 0
        engine = both[1].require_engine()
        engine.free_cache()
        assert engine.runner is not None
        assert engine.runner.buffers.bytes() == 0
        assert_same(
            tokens(run(both[1], generating(prompt=PROMPT))), tokens(run(both[0], generating(prompt=PROMPT)))
        )


class TestFailures:
    def test_a_step_that_computes_something_else_is_not_taken(
        self, both: Both, run: Run, generating: Generating, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from inference.captured.reading import StepReading

        plain_mask = StepReading._mask
        monkeypatch.setattr(
            StepReading, "_mask", lambda self, places, bias: plain_mask(self, places - 3, bias)
        )
        events = run(both[1], generating(prompt=PROMPT))
        assert isinstance(events[-1], Finished)
        assert events[-1].path == "plain"
        assert "differ" in events[-1].path_reason
        assert_same(tokens(events), tokens(run(both[0], generating(prompt=PROMPT))))

    def test_no_memory_for_the_step_is_the_ordinary_error_and_the_engine_goes_on(
        self, both: Both, run: Run, generating: Generating, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from inference.captured.graphs import Graphs

        def no_room(self: Graphs, work: Any) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory.")

        with monkeypatch.context() as patched:
            patched.setattr(Graphs, "capture", no_room)
            failed: Any = run(both[1], generating(prompt=PROMPT))[-1]
        assert failed.kind == "out-of-memory"
        events = run(both[1], generating(prompt=PROMPT))
        assert path(events) == "captured"
        assert_same(tokens(events), tokens(run(both[0], generating(prompt=PROMPT))))

    def test_a_draw_that_cannot_be_captured_is_called_instead(
        self, both: Both, run: Run, generating: Generating, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from inference.captured.graphs import CaptureFailed, Graphs

        captured: list[Any] = []

        def only_the_first(self: Graphs, work: Any) -> Any:
            captured.append(work)
            if len(captured) > 1:
                raise CaptureFailed("not this one")
            work()
            return work

        monkeypatch.setattr(Graphs, "capture", only_the_first)
        request = generating(prompt=PROMPT, temperature=1.0, seed=7, repetition_penalty=1.2)
        events = run(both[1], request)
        assert len(captured) == 2
        assert path(events) == "captured"
        assert_same(tokens(events), tokens(run(both[0], request)))

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_invalid_logits_are_refused(
        self, bad: float, both: Both, run: Run, generating: Generating, llama: LoadedModel
    ) -> None:
        def spoiled(module: Any, args: Any, output: Any) -> Any:
            output.logits = torch.full_like(output.logits, bad)
            return output

        run(both[1], generating(prompt=PROMPT))
        hook = llama.model.register_forward_hook(spoiled)
        try:
            failed: Any = run(both[1], generating(prompt=PROMPT))[-1]
        finally:
            hook.remove()
        assert failed.kind == "invalid-logits"
        assert path(run(both[1], generating(prompt=PROMPT))) == "captured"

    def test_controls_that_leave_no_token_are_refused(
        self, both: Both, run: Run, generating: Generating
    ) -> None:
        bias = tuple((token, -float("inf")) for token in range(500))
        failed: Any = run(both[1], generating(prompt=PROMPT, logit_bias=bias))[-1]
        assert failed.kind == "invalid-logits"


def test_token_healing_and_a_follow_up(both: Both, run: Run, generating: Generating) -> None:
    for prompt in (PROMPT[:50] + " th", PROMPT):
        request = generating(prompt=prompt, token_healing=True, max_new_tokens=20, score_prompt=True)
        assert_same(tokens(run(both[1], request)), tokens(run(both[0], request)))
