"""What moves while the model is generating: every control acts on the very next token, and a cancel is
seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from transformers import PreTrainedModel

from inference.events import (
    AttentionControl,
    Cancelled,
    ControlsChanged,
    Event,
    Failed,
    Finished,
    GenerateRequest,
    Progress,
    PromptScored,
    ScoreRequest,
    Started,
    SteeringOptions,
    Token,
)
from inference.models.loaded_model import LoadedModel
from inference.passes.forward import Forward
from inference.running import RunHandle, new_run_id
from inference.session import Session

Run = Callable[..., list[Event]]
Generating = Callable[..., GenerateRequest]
PROMPT = "The quick brown fox jumps over the lazy dog. A model reads a prompt, token by token, and"


def start(session: Session, request: GenerateRequest) -> tuple[RunHandle, Iterator[Event]]:
    handle = RunHandle(request.run_id, request.controls)
    return handle, session.run(request, handle)


def next_tokens(events: Iterator[Event], count: int) -> list[Token]:
    found: list[Token] = []
    while len(found) < count:
        event = next(events)
        if isinstance(event, Token):
            found.append(event)
    return found


def tokens(events: list[Event]) -> list[Token]:
    return [event for event in events if isinstance(event, Token)]


class TestChanges:
    def test_a_moved_temperature_acts_on_the_next_token(
        self, session: Session, generating: Generating
    ) -> None:
        handle, events = start(session, generating(prompt=PROMPT, temperature=2.0, seed=1, max_new_tokens=30))
        assert all(token.sampled_prob < 1.0 for token in next_tokens(events, 3))
        handle.controls = replace(handle.controls, temperature=0.0)
        changed = next(events)
        assert isinstance(changed, ControlsChanged)
        assert (changed.index, changed.changes) == (3, (("temperature", "2", "0"),))
        (fourth,) = next_tokens(events, 1)
        assert fourth.index == 3
        assert fourth.sampled_prob == 1.0
        assert fourth.raw_logprob == max(each.raw_logprob for each in fourth.candidates)

    def test_logit_bias_and_penalties_act_on_the_next_token(
        self, session: Session, generating: Generating
    ) -> None:
        handle, events = start(session, generating(prompt=PROMPT, max_new_tokens=30))
        next_tokens(events, 2)
        handle.controls = replace(handle.controls, logit_bias=((77, 500.0),))
        assert [token.id for token in next_tokens(events, 3)] == [77, 77, 77]
        handle.controls = replace(handle.controls, frequency_penalty=200.0)
        assert [token.id for token in next_tokens(events, 1)] != [77]

    def test_equal_controls_are_no_change(self, session: Session, generating: Generating) -> None:
        handle, events = start(session, generating(prompt=PROMPT, max_new_tokens=4))
        next_tokens(events, 1)
        handle.controls = replace(handle.controls)
        assert not [event for event in events if isinstance(event, ControlsChanged)]

    def test_a_new_seed_starts_the_random_numbers_anew(
        self, session: Session, run: Run, generating: Generating
    ) -> None:
        first = tokens(run(session, generating(prompt=PROMPT, temperature=1.0, seed=4, max_new_tokens=3)))
        kept = tuple(token.id for token in first)
        request = generating(prompt=PROMPT, temperature=1.0, seed=4, max_new_tokens=13)
        handle, events = start(session, request)
        next_tokens(events, 3)
        handle.controls = replace(handle.controls, seed=9)
        rest = [token.id for token in next_tokens(events, 10)]
        rest_only = generating(prompt=PROMPT, reply_ids=kept, temperature=1.0, seed=9, max_new_tokens=10)
        assert rest == [token.id for token in tokens(run(session, rest_only))]

    def test_fewer_new_tokens_than_there_are_end_the_reply_with_the_next(
        self, session: Session, generating: Generating
    ) -> None:
        handle, events = start(session, generating(prompt=PROMPT, max_new_tokens=30))
        next_tokens(events, 5)
        handle.controls = replace(handle.controls, max_new_tokens=2)
        rest = list(events)
        assert len(tokens(rest)) == 1
        assert isinstance(rest[-1], Finished)
        assert rest[-1].reason == "length"

    def test_a_stop_string_can_be_added(self, session: Session, run: Run, generating: Generating) -> None:
        whole = run(session, generating(prompt=PROMPT, max_new_tokens=30))
        text = "".join(token.text for token in tokens(whole))
        handle, events = start(session, generating(prompt=PROMPT, max_new_tokens=30))
        shown = "".join(token.text for token in next_tokens(events, 3))
        stop = text[len(shown) + 4 : len(shown) + 9]
        handle.controls = replace(handle.controls, stop=(stop,))
        finished = list(events)[-1]
        assert isinstance(finished, Finished)
        assert finished.reason == "stop-string"
        assert finished.text == text[: text.index(stop, len(shown))]

    def test_an_impossible_value_fails_the_run_and_keeps_the_session(
        self, session: Session, run: Run, generating: Generating
    ) -> None:
        handle, events = start(session, generating(prompt=PROMPT, max_new_tokens=30))
        next_tokens(events, 2)
        handle.controls = replace(handle.controls, top_p=7.0)
        failed: Any = list(events)[-1]
        assert failed.kind == "invalid-request"
        assert isinstance(run(session, generating(prompt=PROMPT))[-1], Finished)


class TestAttention:
    CONTROL = AttentionControl(start=4, end=19, factor=0.0)

    def test_a_control_of_the_whole_run_is_the_same_with_and_without_reuse(
        self, llama: LoadedModel, run: Run, generating: Generating
    ) -> None:
        def ids(session: Session) -> list[int]:
            request = generating(prompt=PROMPT, attention=(self.CONTROL,), max_new_tokens=20)
            return [token.id for token in tokens(run(session, request))]

        used, fresh = Session(), Session()
        used.use(llama)
        fresh.use(llama)
        plain = [token.id for token in tokens(run(used, generating(prompt=PROMPT, max_new_tokens=20)))]
        steered = ids(used)
        assert steered == ids(fresh) == ids(used)
        assert steered != plain
        assert plain == [
            token.id for token in tokens(run(used, generating(prompt=PROMPT, max_new_tokens=20)))
        ]

    def test_keys_are_reused_up_to_the_first_one_that_is_steered_otherwise(
        self, session: Session, run: Run, generating: Generating, llama: LoadedModel
    ) -> None:
        run(session, generating(prompt=PROMPT))
        late = AttentionControl(start=60, end=70, factor=0.3)
        events = run(session, generating(prompt=PROMPT, attention=(late,)))
        before = len(llama.tokenizer.encode(PROMPT[:60]))
        reused = next(event for event in events if isinstance(event, Started)).reused_tokens
        assert before - 2 <= reused <= before

    def test_a_message_is_steered_like_the_same_words_of_the_prompt(
        self, session: Session, run: Run, generating: Generating
    ) -> None:
        from inference.events import Message

        chat = (Message(role="user", content="  The quick brown fox jumps over it.  "),)
        control = AttentionControl(start=6, end=17, factor=0.1, message=0)
        by_message = run(session, generating(messages=chat, attention=(control,)))
        text = next(event for event in by_message if isinstance(event, Started)).prompt_text
        start = text.index("quick brown")
        control = AttentionControl(start=start, end=start + len("quick brown"), factor=0.1)
        assert control.end - control.start == 11
        by_text = run(session, generating(prompt=text, attention=(control,)))
        assert [t.id for t in tokens(by_text)] == [t.id for t in tokens(by_message)]
        plain = run(session, generating(prompt=text))
        assert [t.raw_logprob for t in tokens(plain)] != [t.raw_logprob for t in tokens(by_text)]

    @pytest.mark.parametrize(
        "options",
        [SteeringOptions(), SteeringOptions(mode="multiplicative"), SteeringOptions(layers=(1, 2))],
        ids=["log-additive", "multiplicative", "layers"],
    )
    def test_a_change_in_mid_reply_acts_on_the_next_token_and_is_not_reused(
        self, options: SteeringOptions, session: Session, run: Run, generating: Generating, llama: LoadedModel
    ) -> None:
        request = generating(prompt=PROMPT, max_new_tokens=20)
        plain = tokens(run(session, request))
        handle, events = start(session, generating(prompt=PROMPT, max_new_tokens=20))
        assert [token.id for token in next_tokens(events, 4)] == [token.id for token in plain[:4]]
        handle.controls = replace(handle.controls, attention=(self.CONTROL,), steering=options)
        assert isinstance(next(events), ControlsChanged)
        (fifth,) = next_tokens(events, 1)
        assert fifth.raw_logprob != pytest.approx(plain[4].raw_logprob, abs=1e-3)
        events.close()
        again = tokens(run(session, generating(prompt=PROMPT, max_new_tokens=20)))
        assert [token.id for token in again] == [token.id for token in plain]

    def test_what_was_written_while_controls_changed_is_read_again_to_go_on(
        self, session: Session, run: Run, generating: Generating, llama: LoadedModel
    ) -> None:
        handle, events = start(session, generating(prompt=PROMPT, max_new_tokens=20))
        written = next_tokens(events, 4)
        handle.controls = replace(handle.controls, attention=(self.CONTROL,))
        written += next_tokens(events, 8)
        events.close()
        going_on = {"prompt": PROMPT, "reply_ids": tuple(token.id for token in written), "max_new_tokens": 5}
        fresh = Session()
        fresh.use(llama)
        for attention in ((), (self.CONTROL,)):
            reused = tokens(run(session, generating(**going_on, attention=attention)))
            expected = tokens(run(fresh, generating(**going_on, attention=attention)))
            assert [token.raw_logprob for token in reused] == pytest.approx(
                [token.raw_logprob for token in expected], abs=1e-4
            )

    def test_a_model_without_attention_says_so_in_mid_reply_too(
        self,
        families: dict[str, PreTrainedModel],
        as_loaded: Callable[..., LoadedModel],
        generating: Generating,
    ) -> None:
        session = Session()
        session.use(as_loaded(families["mamba"]))
        handle, events = start(session, generating(prompt=PROMPT, max_new_tokens=20))
        next_tokens(events, 3)
        handle.controls = replace(handle.controls, attention=(self.CONTROL,))
        last = list(events)[-1]
        assert isinstance(last, Failed)
        assert last.kind == "not-available"
        assert "no attention" in last.message

    def test_what_the_model_was_unsure_of_can_be_turned_down(
        self, session: Session, run: Run, generating: Generating
    ) -> None:
        unsure = SteeringOptions(entropy_threshold=0.0, entropy_factor=0.0)
        plain = tokens(run(session, generating(prompt=PROMPT)))
        steered = tokens(run(session, generating(prompt=PROMPT, steering=unsure)))
        assert steered[0].raw_logprob == pytest.approx(plain[0].raw_logprob, abs=1e-5)
        assert [t.raw_logprob for t in steered[1:]] != pytest.approx(
            [t.raw_logprob for t in plain[1:]], abs=1e-3
        )


class TestCancel:
    def test_a_cancel_between_tokens_ends_the_run_at_once(
        self, session: Session, generating: Generating
    ) -> None:
        handle, events = start(session, generating(prompt=PROMPT, max_new_tokens=30))
        shown = next_tokens(events, 5)
        handle.cancel()
        (cancelled,) = events
        assert isinstance(cancelled, Cancelled)
        assert cancelled.text == "".join(token.text for token in shown)
        assert cancelled.new_tokens == 5

    @pytest.mark.parametrize("scored", [False, True])
    def test_a_cancel_during_prefill_is_seen_after_one_chunk(
        self, scored: bool, llama: LoadedModel, generating: Generating, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Forward, "chunk", 8)
        session = Session()
        session.use(llama)
        request = generating(prompt=PROMPT * 3, score_prompt=scored)
        handle, events = start(session, request)
        reads = 0
        for event in events:
            if isinstance(event, Progress):
                reads += 1
                if reads == 3:
                    handle.cancel()
        assert isinstance(event, Cancelled)
        assert reads == 3

    def test_what_a_cancelled_prefill_has_read_is_reused(
        self, llama: LoadedModel, run: Run, generating: Generating, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Forward, "chunk", 8)
        session = Session()
        session.use(llama)
        handle, events = start(session, generating(prompt=PROMPT * 3))
        for event in events:
            if isinstance(event, Progress) and event.done >= 16:
                handle.cancel()
        again = run(session, generating(prompt=PROMPT * 3))
        assert [event.reused_tokens for event in again if isinstance(event, Started)] == [24]

    def test_scoring_can_be_cancelled(self, llama: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Forward, "chunk", 8)
        session = Session()
        session.use(llama)
        request = ScoreRequest(run_id=new_run_id(), prompt=PROMPT)
        handle = RunHandle(request.run_id)
        events = session.run(request, handle)
        next(events)
        handle.cancel()
        rest = list(events)
        assert isinstance(rest[-1], Cancelled)
        assert not [event for event in rest if isinstance(event, PromptScored)]

    def test_a_run_that_is_dropped_in_the_middle_leaves_the_session_usable(
        self, session: Session, run: Run, generating: Generating
    ) -> None:
        _, events = start(session, generating(prompt=PROMPT, max_new_tokens=30))
        next_tokens(events, 2)
        events.close()  # type: ignore[attr-defined]
        assert isinstance(run(session, generating(prompt=PROMPT))[-1], Finished)


def test_prompt_lookup_gives_the_same_text_in_fewer_passes(
    session: Session, run: Run, generating: Generating, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    plain_call = Forward.__call__

    def counted(self: Forward, ids: list[int], *args: Any, **kwargs: Any) -> Any:
        passes.append(len(ids))
        return plain_call(self, ids, *args, **kwargs)

    monkeypatch.setattr(Forward, "__call__", counted)
    prompt = "print(add(1, 2)) " * 6
    for settings in ({}, {"temperature": 0.9, "seed": 5, "top_p": 0.9}):
        bias = tuple((token, 9.0) for token in set(session.require_engine().loaded.tokenizer.encode(prompt)))
        request = {"prompt": prompt, "max_new_tokens": 60, "logit_bias": bias, **settings}
        plain = run(session, generating(**request))
        passes.clear()
        session.require_engine().prefix = None
        guessed = run(session, generating(**request, prompt_lookup=True))
        assert [t.id for t in tokens(guessed)] == [t.id for t in tokens(plain)]
        for mine, theirs in zip(tokens(guessed), tokens(plain), strict=True):
            assert mine.raw_logprob == pytest.approx(theirs.raw_logprob, abs=1e-4)
        assert len(passes) < len(tokens(guessed))
        finished = guessed[-1]
        assert isinstance(finished, Finished)
        assert finished.accepted == sum(token.guessed for token in tokens(guessed)) > 0
        assert finished.accepted <= finished.guesses
        again = run(session, generating(**request))
        assert [t.id for t in tokens(again)] == [t.id for t in tokens(plain)]
