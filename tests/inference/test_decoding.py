"""The decode loop against transformers: the same tokens, the same probabilities, whatever was reused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from inference.events import (
    ENDINGS,
    Event,
    Finished,
    GenerateRequest,
    Message,
    PromptScored,
    Started,
    Token,
)
from inference.models.loaded_model import LoadedModel
from inference.session import Session
from tests.inference.conftest import SIZES, build  # type: ignore[import-not-found, unused-ignore]

Run = Callable[..., list[Event]]
Generating = Callable[..., GenerateRequest]

PROMPT = "The quick brown fox jumps over the lazy dog. A model reads a prompt, token by token, and"
FAMILIES = ["llama", "sliding", "gpt2", "mamba"]


def tokens(events: list[Event]) -> list[Token]:
    return [event for event in events if isinstance(event, Token)]


def only(kind: type[Any], events: list[Event]) -> Any:
    (found,) = [event for event in events if isinstance(event, kind)]
    return found


def using(loaded: LoadedModel) -> Session:
    session = Session()
    session.use(loaded)
    return session


def teacher_forced(model: PreTrainedModel, ids: list[int]) -> torch.Tensor:
    """Log-probabilities (positions, vocabulary) of transformers' own pass over all ids, without a cache."""
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    return logits.float().log_softmax(-1)


class TestAgainstTransformers:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_greedy_output_is_that_of_generate(
        self, family: str, families: dict[str, Any], as_loaded: Any, run: Run, generating: Generating
    ) -> None:
        loaded = as_loaded(families[family])
        events = run(using(loaded), generating(prompt=PROMPT, max_new_tokens=40))
        ids = loaded.tokenizer.encode(PROMPT)
        expected = loaded.model.generate(
            torch.tensor([ids]), max_new_tokens=40, do_sample=False, eos_token_id=[2, 6]
        )
        assert [token.id for token in tokens(events)] == expected[0, len(ids) :].tolist()

    def test_greedy_output_with_penalties_is_that_of_generate(
        self, llama: LoadedModel, session: Session, run: Run, generating: Generating
    ) -> None:
        request = generating(
            prompt=PROMPT, repetition_penalty=1.4, logit_bias=((42, 2.5),), max_new_tokens=40
        )
        ids = llama.tokenizer.encode(PROMPT)
        expected = llama.model.generate(
            torch.tensor([ids]),
            max_new_tokens=40,
            do_sample=False,
            eos_token_id=[2, 6],
            repetition_penalty=1.4,
            sequence_bias=[[[42], 2.5]],
        )
        assert [token.id for token in tokens(run(session, request))] == expected[0, len(ids) :].tolist()

    @pytest.mark.parametrize("family", FAMILIES)
    @pytest.mark.parametrize("reuse", [False, True], ids=["fresh", "reused"])
    def test_raw_log_probabilities_are_those_of_a_teacher_forced_pass(
        self,
        family: str,
        reuse: bool,
        families: dict[str, Any],
        as_loaded: Any,
        run: Run,
        generating: Generating,
    ) -> None:
        loaded = as_loaded(families[family])
        session = using(loaded)
        if reuse:
            run(session, generating(prompt=PROMPT[:60], temperature=1.0, seed=3))
        request = generating(
            prompt=PROMPT, temperature=1.2, top_p=0.9, seed=1, max_new_tokens=30, score_prompt=True
        )
        events = run(session, request)
        self.assert_scores(loaded, events, 1e-4)

    def test_raw_log_probabilities_in_bf16(self, as_loaded: Any, run: Run, generating: Generating) -> None:
        # Weights that keep logits below 2, where bf16 has steps of 0.008.
        model = build(LlamaForCausalLM, LlamaConfig(**SIZES), spread=0.08)
        loaded = as_loaded(model.to(torch.bfloat16))
        request = generating(prompt=PROMPT, temperature=1.0, seed=1, score_prompt=True)
        self.assert_scores(loaded, run(using(loaded), request), 2e-2)

    @staticmethod
    def assert_scores(loaded: LoadedModel, events: list[Event], tolerance: float) -> None:
        """Prompt and reply: log-probability, entropy, and the likeliest tokens."""
        read = only(PromptScored, events).tokens
        everything = [*read, *tokens(events)]
        logprobs = teacher_forced(loaded.model, [token.id for token in everything])
        assert read[0].raw_logprob is None
        for token, before in zip(everything[1:], logprobs, strict=False):
            assert token.raw_logprob == pytest.approx(float(before[token.id]), abs=tolerance)
            entropy = -float((before.exp() * before).sum())
            assert token.entropy == pytest.approx(entropy, abs=5 * tolerance)
            assert len(token.candidates) == 20
            assert token.id in {candidate.id for candidate in token.candidates}
            for candidate in token.candidates:
                assert candidate.raw_logprob == pytest.approx(float(before[candidate.id]), abs=tolerance)
            lowest = before.topk(20).values[-1]
            assert sum(float(before[each.id]) >= lowest - tolerance for each in token.candidates) >= 19

    def test_the_stages_lead_from_the_raw_to_the_sampled_distribution(
        self, session: Session, run: Run, generating: Generating
    ) -> None:
        for token in tokens(run(session, generating(prompt=PROMPT, temperature=1.5, top_k=8, top_p=0.8))):
            raw, final = token.stages[0], token.stages[-1]
            for place, candidate in enumerate(token.candidates):
                assert raw.probs[place] == pytest.approx(2.718281828459045**candidate.raw_logprob, abs=1e-6)
                assert final.probs[place] == candidate.sampled_prob
            chosen = next(each for each in token.candidates if each.id == token.id)
            assert (chosen.raw_logprob, chosen.sampled_prob) == (token.raw_logprob, token.sampled_prob)
            assert token.sampled_prob > 0


class TestPrefixReuse:
    CHAT = (Message(role="user", content="Hello, how does the river flow to the sea?"),)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_a_follow_up_turn_gives_what_a_fresh_session_gives(
        self, family: str, families: dict[str, Any], as_loaded: Any, run: Run, generating: Generating
    ) -> None:
        loaded = as_loaded(families[family])
        session = using(loaded)
        first = only(Finished, run(session, generating(messages=self.CHAT, seed=5, temperature=1.0)))
        chat = (
            *self.CHAT,
            Message(role="assistant", content=first.text),
            Message(role="user", content="Why?"),
        )
        follow_up = generating(messages=chat, seed=6, temperature=1.0, max_new_tokens=25, score_prompt=True)
        again, fresh = run(session, follow_up), run(using(loaded), follow_up)
        assert [t.id for t in tokens(again)] == [t.id for t in tokens(fresh)]
        for mine, theirs in zip(
            only(PromptScored, again).tokens, only(PromptScored, fresh).tokens, strict=True
        ):
            assert mine.raw_logprob == pytest.approx(theirs.raw_logprob, abs=1e-4)
            assert mine.text == theirs.text

    def test_the_common_prefix_is_not_read_again(
        self, session: Session, run: Run, generating: Generating, llama: LoadedModel
    ) -> None:
        run(session, generating(prompt=PROMPT))
        shared = len(llama.tokenizer.encode(PROMPT[:60]))
        changed = only(Started, run(session, generating(prompt=PROMPT[:60] + "~~~ something else")))
        assert shared - 2 <= changed.reused_tokens <= shared
        same = only(Started, run(session, generating(prompt=PROMPT[:60] + "~~~ something else")))
        assert same.reused_tokens == same.prompt_tokens - 1

    def test_the_reply_itself_is_reused_when_it_is_continued(
        self, session: Session, run: Run, generating: Generating
    ) -> None:
        whole = tokens(run(session, generating(prompt=PROMPT, max_new_tokens=20)))
        kept = tuple(token.id for token in whole[:10])
        events = run(session, generating(prompt=PROMPT, reply_ids=kept, max_new_tokens=10))
        assert only(Started, events).reused_tokens == only(Started, events).prompt_tokens - 1
        assert [t.id for t in tokens(events)] == [t.id for t in whole[10:]]
        assert [t.index for t in tokens(events)] == list(range(10, 20))

    def test_branching_from_a_candidate_reuses_everything_before_it(
        self, session: Session, run: Run, generating: Generating, llama: LoadedModel
    ) -> None:
        whole = tokens(run(session, generating(prompt=PROMPT)))
        other = next(c.id for c in whole[4].candidates if c.id != whole[4].id)
        branch = (*(token.id for token in whole[:4]), other)
        events = run(session, generating(prompt=PROMPT, reply_ids=branch, max_new_tokens=8))
        assert only(Started, events).reused_tokens == only(Started, events).prompt_tokens - 1
        ids = [*llama.tokenizer.encode(PROMPT), *branch]
        expected = llama.model.generate(
            torch.tensor([ids]), max_new_tokens=8, do_sample=False, eos_token_id=[2, 6]
        )
        assert [t.id for t in tokens(events)] == expected[0, len(ids) :].tolist()

    def test_reused_scores_need_no_second_pass(
        self, session: Session, run: Run, generating: Generating
    ) -> None:
        first = generating(prompt=PROMPT, score_prompt=True)
        scored = only(PromptScored, run(session, first))
        events = run(session, generating(prompt=PROMPT, score_prompt=True))
        assert only(Started, events).reused_tokens == only(Started, events).prompt_tokens - 1
        assert only(PromptScored, events).tokens == scored.tokens

    def test_more_candidates_than_were_recorded_are_read_again(
        self, session: Session, run: Run, generating: Generating
    ) -> None:
        run(session, generating(prompt=PROMPT, score_prompt=True, candidates=3))
        events = run(session, generating(prompt=PROMPT, score_prompt=True, candidates=7))
        assert only(Started, events).reused_tokens == 0
        assert all(len(token.candidates) == 7 for token in only(PromptScored, events).tokens[1:])


class TestRuns:
    def test_the_same_seed_gives_the_same_text(
        self, session: Session, run: Run, generating: Generating
    ) -> None:
        def text(seed: int) -> str:
            request = generating(prompt=PROMPT, temperature=1.0, seed=seed, top_p=1.0)
            return str(only(Finished, run(session, request)).text)

        assert text(11) == text(11)
        assert len({text(seed) for seed in range(5)}) == 5

    def test_a_reported_seed_repeats_the_run(
        self, session: Session, run: Run, generating: Generating
    ) -> None:
        first = run(session, generating(prompt=PROMPT, temperature=1.0))
        again = run(session, generating(prompt=PROMPT, temperature=1.0, seed=only(Started, first).seed))
        assert only(Finished, again).text == only(Finished, first).text

    def test_texts_of_tokens_add_up_and_the_run_ends_once(
        self, session: Session, run: Run, generating: Generating
    ) -> None:
        events = run(session, generating(prompt=PROMPT, temperature=1.5, seed=2, max_new_tokens=60))
        assert "".join(token.text for token in tokens(events)) == events[-1].text
        assert [type(event) for event in events if isinstance(event, ENDINGS)] == [Finished]
        finished = only(Finished, events)
        assert finished.new_tokens == len(tokens(events))
        assert finished.memory.kv_cache > 0

    def test_no_new_tokens_is_a_run_that_only_reads(
        self, session: Session, run: Run, generating: Generating
    ) -> None:
        finished = only(Finished, run(session, generating(prompt=PROMPT, max_new_tokens=0)))
        assert (finished.reason, finished.text, finished.new_tokens) == ("length", "", 0)

    def test_an_end_token_ends_the_reply(self, session: Session, run: Run, generating: Generating) -> None:
        events = run(session, generating(prompt=PROMPT, logit_bias=((6, 1000.0),)))
        assert only(Finished, events).reason == "stop"
        assert [(token.id, token.text, token.special) for token in tokens(events)] == [(6, "", True)]

    def test_a_stop_string_ends_it_wherever_the_tokens_are_cut(
        self, session: Session, run: Run, generating: Generating
    ) -> None:
        plain = only(Finished, run(session, generating(prompt=PROMPT, max_new_tokens=30))).text
        stop = plain[7:12]
        events = run(session, generating(prompt=PROMPT, max_new_tokens=30, stop=(stop, "never")))
        assert only(Finished, events).reason == "stop-string"
        assert only(Finished, events).text == plain[: plain.index(stop)]
        assert "".join(token.text for token in tokens(events)) == plain[: plain.index(stop)]

    def test_the_context_can_fill_up_in_mid_reply(
        self, families: dict[str, Any], as_loaded: Any, run: Run, generating: Generating
    ) -> None:
        loaded = as_loaded(families["llama"], context_length=60)
        finished = only(Finished, run(using(loaded), generating(prompt=PROMPT, max_new_tokens=500)))
        assert finished.reason == "context-full"
        assert finished.prompt_tokens + finished.new_tokens == 60
