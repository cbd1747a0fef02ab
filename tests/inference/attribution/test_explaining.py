"""Explain runs through the session: what is explained, what is sent, what is refused."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch

from inference.attribution.methods import METHODS
from inference.events import (
    AttentionControl,
    Cancelled,
    CompareMethodsRequest,
    Event,
    ExplainRequest,
    Explanation,
    ExplanationPart,
    ExplanationStarted,
    Failed,
    Finished,
    ListMethodsRequest,
    Message,
    MethodsCompared,
    MethodsListed,
    PromptScored,
    RelatedTokens,
    RelatedTokensRequest,
    ScoreRequest,
    SteeringOptions,
    TextSpan,
    to_json,
)
from inference.running import RunHandle, new_run_id
from inference.session import Session

PROMPT = "The quick brown fox jumps over the lazy dog. The river flows to the sea. A model reads."
Run = Callable[..., list[Event]]


def asking(**changes: Any) -> ExplainRequest:
    fields = {"run_id": new_run_id(), "prompt": PROMPT, "target": " The fox", "granularity": "word"}
    return ExplainRequest(**(fields | changes))


def answer(events: list[Event]) -> Explanation:
    assert isinstance(events[-1], Finished), events[-1]
    assert isinstance(events[-2], Explanation)
    return events[-2]


@pytest.mark.parametrize("name", [name for name in METHODS if name != "re-embedding"])
def test_every_method_answers_with_a_score_for_each_segment(name: str, session: Session, run: Run) -> None:
    events = run(session, asking(method=name))
    started, found = events[0], answer(events)
    assert isinstance(started, ExplanationStarted)
    assert [segment.text for segment in found.segments] == PROMPT.split()
    assert found.segments == started.segments
    for segment in found.segments:
        assert PROMPT[segment.start : segment.end] == segment.text
    assert len(found.scores) == 1
    assert all(score is not None and math.isfinite(score) for score in found.scores[0])
    assert found.complete
    assert found.forward_passes >= 2
    pickle.dumps(events)
    to_json(found)


def test_parts_add_up_to_the_whole(session: Session, run: Run) -> None:
    events = run(session, asking(granularity="token", memory_budget=300_000))
    parts = [event for event in events if isinstance(event, ExplanationPart)]
    assert len(parts) > 2
    assert [part.done for part in parts] == sorted(part.done for part in parts)
    together = {index: part.scores[0][place] for part in parts for place, index in enumerate(part.indices)}
    assert [together[index] for index in range(len(together))] == list(answer(events).scores[0])


def test_rows_of_target_tokens_add_up_to_the_row_of_the_target(session: Session, run: Run) -> None:
    whole = answer(run(session, asking()))
    rows = answer(run(session, asking(target_granularity="token")))
    assert "".join(target.text for target in rows.targets) == " The fox"
    assert len(rows.scores) == len(rows.targets) > 1
    for index, score in enumerate(whole.scores[0]):
        assert sum(row[index] or 0.0 for row in rows.scores) == pytest.approx(score, abs=1e-4)
    assert sum(target.logprob for target in rows.targets) == pytest.approx(whole.targets[0].logprob, abs=1e-4)


def test_the_targets_log_probability_is_the_models_own(session: Session, run: Run) -> None:
    found = answer(run(session, asking()))
    assert session.loaded is not None
    ids = session.loaded.tokenizer(PROMPT + " The fox")["input_ids"]
    with torch.no_grad():
        logprobs = session.loaded.model(torch.tensor([ids])).logits[0].log_softmax(-1)
    count = len(found.targets[0].ids)
    expected = sum(float(logprobs[place - 1, ids[place]]) for place in range(len(ids) - count, len(ids)))
    assert found.targets[0].logprob == pytest.approx(expected, abs=1e-4)


def test_a_selection_in_the_reply_is_widened_to_tokens_and_the_rest_is_context(
    session: Session, run: Run
) -> None:
    messages = (
        Message(role="system", content="Be brief."),
        Message(role="user", content="Where does it flow?"),
    )
    reply = "The river flows to the sea."
    start = reply.index("flows")
    request = asking(prompt=None, target=None, messages=messages, reply_text=reply, target_start=start + 1)
    found = answer(run(session, request))
    assert found.targets[0].text.strip() == "flows to the sea."
    assert [segment.label for segment in found.segments] == ["system"] * 2 + ["user"] * 4 + ["reply"] * 2
    assert [segment.text for segment in found.segments][-2:] == ["The", "river"]


def test_reply_ids_and_reply_text_mean_the_same(session: Session, run: Run) -> None:
    assert session.loaded is not None
    messages = (Message(role="user", content="Where does it flow?"),)
    ids = tuple(session.loaded.tokenizer("The river flows", add_special_tokens=False)["input_ids"])
    same: Any = {"prompt": None, "target": None, "messages": messages, "target_start": 4}
    by_ids = answer(run(session, asking(reply_ids=ids, **same)))
    by_text = answer(run(session, asking(reply_text="The river flows", **same)))
    assert by_ids.segments == by_text.segments
    assert by_ids.targets[0].ids == by_text.targets[0].ids
    assert by_ids.scores[0] == pytest.approx(by_text.scores[0], abs=1e-5)


def test_the_templates_own_tokens_are_protected_and_can_be_shown(session: Session, run: Run) -> None:
    messages = (Message(role="user", content="Where does it flow?"),)
    plain = answer(run(session, asking(prompt=None, messages=messages)))
    assert {segment.label for segment in plain.segments} == {"user"}
    shown = answer(run(session, asking(prompt=None, messages=messages, include_special=True)))
    special = [segment.text for segment in shown.segments if segment.label == "special"]
    assert special == ["<|bos|>", "<|user|>", "<|end|>", "<|assistant|>"]


def test_characters_of_several_tokens_are_one_segment(session: Session, run: Run) -> None:
    found = answer(run(session, asking(prompt="A 🦊 and 你", granularity="token")))
    assert "🦊" in "".join(segment.text for segment in found.segments)
    assert max(len(segment.tokens) for segment in found.segments) > 1
    assert "".join(segment.text for segment in found.segments) == "A 🦊 and 你"


def test_given_segments_may_lie_in_messages_and_in_the_reply(session: Session, run: Run) -> None:
    request = asking(
        prompt=None,
        messages=(Message(role="user", content="  Where does it flow?"),),
        reply_text="To the sea.",
        target=" And on",
        granularity="given",
        given=(TextSpan(start=2, end=7, message=0), TextSpan(start=3, end=10, message=-1)),
    )
    assert [segment.text for segment in answer(run(session, request)).segments] == ["Where", "the sea"]


def test_a_contrast_says_why_this_and_not_that(session: Session, run: Run) -> None:
    same: Any = {"prompt": None, "target": None, "messages": (Message(role="user", content="Where to?"),)}
    contrast, this, that = (
        answer(run(session, asking(reply_ids=(token,), contrast_id=other, **same)))
        for token, other in ((100, 200), (100, None), (200, None))
    )
    difference = this.targets[0].logprob - that.targets[0].logprob
    assert contrast.targets[0].logprob == pytest.approx(difference, abs=1e-4)
    for both, one, other in zip(contrast.scores[0], this.scores[0], that.scores[0], strict=True):
        assert both == pytest.approx((one or 0.0) - (other or 0.0), abs=1e-4)


@pytest.mark.parametrize("mode", ["log-additive", "multiplicative"])
def test_a_text_read_under_controls_is_explained_under_them(mode: Any, session: Session, run: Run) -> None:
    controls: Any = {
        "attention": (AttentionControl(start=4, end=15, factor=0.1),),
        "steering": SteeringOptions(mode=mode),
    }
    found = answer(run(session, asking(**controls)))
    events = run(session, ScoreRequest(run_id=new_run_id(), prompt=PROMPT, reply_text=" The fox", **controls))
    (scored,) = [event for event in events if isinstance(event, PromptScored)]
    logprobs = [token.raw_logprob or 0.0 for token in scored.tokens]
    assert found.targets[0].logprob == pytest.approx(sum(logprobs[-len(found.targets[0].ids) :]), abs=1e-4)
    assert found.targets[0].logprob != pytest.approx(
        answer(run(session, asking())).targets[0].logprob, abs=1e-3
    )


def test_an_estimate_costs_one_pass(session: Session, run: Run) -> None:
    started, finished = run(session, asking(estimate_only=True, granularity="token", memory_budget=300_000))
    assert isinstance(started, ExplanationStarted)
    assert isinstance(finished, Finished)
    assert started.cost.forward_passes >= 2
    assert 0 < started.cost.token_forwards < started.cost.naive_token_forwards
    assert started.cost.seconds > 0
    assert started.cost.memory > 0


def test_the_estimate_is_what_the_run_takes(session: Session, run: Run) -> None:
    for method in ("atman", "atman-target-rows", "leave-one-out"):
        events = run(session, asking(method=method))
        assert isinstance(events[0], ExplanationStarted)
        found = answer(events)
        assert events[0].cost.forward_passes == found.forward_passes
        assert events[0].cost.token_forwards == found.token_forwards


def test_a_preview_comes_first_and_its_correlation_last(session: Session, run: Run) -> None:
    events = run(session, asking(preview=True))
    assert isinstance(events[1], ExplanationPart)
    assert events[1].preview
    assert len(events[1].indices) == len(PROMPT.split())
    correlation = answer(events).preview_correlation
    assert correlation is not None
    assert -1 <= correlation <= 1
    assert answer(run(session, asking())).preview_correlation is None


@pytest.mark.parametrize(("how", "power"), [("absolute", abs), ("square", lambda score: score**2)])
def test_postprocessing(how: str, power: Callable[[float], float], session: Session, run: Run) -> None:
    plain = answer(run(session, asking()))
    found = answer(run(session, asking(postprocessing=how)))
    assert found.scores[0] == pytest.approx([power(score or 0.0) for score in plain.scores[0]], abs=1e-5)


def test_a_cancelled_run_keeps_what_there_is(session: Session) -> None:
    request = asking(granularity="token", memory_budget=300_000)
    handle = RunHandle(request.run_id)
    events = []
    for event in session.run(request, handle):
        events.append(event)
        if isinstance(event, ExplanationPart):
            handle.cancel()
    assert isinstance(events[-1], Cancelled)
    found = events[-2]
    assert isinstance(found, Explanation)
    assert not found.complete
    known = [score for score in found.scores[0] if score is not None]
    assert 0 < len(known) < len(found.segments)


def test_cancelled_before_it_begins(session: Session) -> None:
    request = asking()
    handle = RunHandle(request.run_id)
    handle.cancel()
    assert [type(event) for event in session.run(request, handle)] == [Cancelled]


def test_unloading_in_mid_run_leaves_nothing_behind(session: Session) -> None:
    assert session.loaded is not None
    model = session.loaded.model
    running = session.run(asking(granularity="token", memory_budget=300_000), RunHandle(1))
    assert isinstance(next(running), ExplanationStarted)
    assert isinstance(next(running), ExplanationPart)
    session.close()
    running.close()  # type: ignore[attr-defined]
    assert session.loaded is None
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())
    failed = list(session.run(asking(), RunHandle(2)))
    assert isinstance(failed[-1], Failed)
    assert failed[-1].kind == "no-model"


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"target": ""}, "invalid-request"),
        ({"target": None}, "invalid-request"),
        ({"target": None, "reply_text": "abc", "target_start": 3}, "invalid-request"),
        ({"method": "magic"}, "invalid-request"),
        ({"factor": -1.0}, "invalid-request"),
        ({"factor": math.nan}, "invalid-request"),
        ({"layers": (0, 9)}, "invalid-request"),
        ({"similarity_threshold": 3.0}, "invalid-request"),
        ({"granularity": "given"}, "invalid-request"),
        ({"granularity": "given", "given": (TextSpan(start=5, end=5),)}, "invalid-request"),
        ({"contrast_id": 7}, "invalid-request"),
        ({"settings": (("steps", 3),)}, "invalid-request"),
        ({"method": "integrated-gradients", "settings": (("steps", 0),)}, "invalid-request"),
        ({"method": "re-embedding", "settings": (("embedding", "magic"),)}, "invalid-request"),
        ({"prompt": "", "target": "abc"}, "empty-prompt"),
        ({"prompt": "word " * 600}, "context-full"),
    ],
)
def test_what_cannot_be_explained_is_refused(wrong: Any, kind: str, session: Session, run: Run) -> None:
    events = run(session, asking(**wrong))
    assert isinstance(events[-1], Failed)
    assert events[-1].kind == kind
    assert events[-1].hint


def test_a_prompt_at_the_limit_of_the_context(
    families: Any, as_loaded: Any, run: Run, byte_tokenizer: Any
) -> None:
    count = len(byte_tokenizer(PROMPT)["input_ids"]) + len(byte_tokenizer(" The fox")["input_ids"])
    session = Session()
    session.use(as_loaded(families["llama"], context_length=count))
    answer(run(session, asking()))
    session.use(as_loaded(families["llama"], context_length=count - 1))
    events = run(session, asking())
    assert isinstance(events[-1], Failed)
    assert events[-1].kind == "context-full"


@pytest.mark.parametrize("family", ["sliding", "gpt2"])
def test_other_families(family: str, families: Any, as_loaded: Any, run: Run) -> None:
    session = Session()
    session.use(as_loaded(families[family]))
    for method in ("atman", "leave-one-out", "atman-first-order"):
        assert answer(run(session, asking(method=method))).complete


def test_sentencepiece(families: Any, as_loaded: Any, run: Run, sentencepiece_tokenizer: Any) -> None:
    session = Session()
    session.use(as_loaded(families["llama"], tokenizer=sentencepiece_tokenizer))
    found = answer(run(session, asking(target="fox", target_granularity="token")))
    assert [segment.text for segment in found.segments] == PROMPT.split()
    assert found.targets[-1].end == 3


def test_a_model_without_attention_says_why_and_what_works(families: Any, as_loaded: Any, run: Run) -> None:
    session = Session()
    session.use(as_loaded(families["mamba"]))
    failed = run(session, asking())[-1]
    assert isinstance(failed, Failed)
    assert failed.kind == "not-available"
    assert "no attention" in failed.message
    (listed, _) = run(session, ListMethodsRequest(run_id=new_run_id()))
    assert isinstance(listed, MethodsListed)
    usable = {status.spec.name for status in listed.methods if not status.problem}
    assert usable == {"leave-one-out", "re-embedding", "gradient-x-input", "integrated-gradients"}
    assert answer(run(session, asking(method="leave-one-out"))).complete


def test_all_methods_of_a_llama_are_usable(session: Session, run: Run) -> None:
    (listed, _) = run(session, ListMethodsRequest(run_id=new_run_id()))
    assert isinstance(listed, MethodsListed)
    assert [status.spec.name for status in listed.methods] == list(METHODS)
    assert not any(status.problem for status in listed.methods)


def test_methods_are_compared(session: Session, run: Run) -> None:
    names = ("atman", "leave-one-out", "atman-first-order")
    request = CompareMethodsRequest(run_id=new_run_id(), explain=asking(), methods=names, steps=4)
    events = run(session, request)
    assert [event.method for event in events if isinstance(event, Explanation)] == list(names)
    compared = events[-2]
    assert isinstance(compared, MethodsCompared)
    assert {event.run_id for event in events} == {request.run_id}
    for matrix in (compared.spearman, compared.kendall):
        for row in range(3):
            assert matrix[row][row] == pytest.approx(1.0)
            assert matrix[row][0] == pytest.approx(matrix[0][row])
    assert [curve.method for curve in compared.curves] == [*names, "random"]
    assert all(len(curve.removed) == 5 for curve in compared.curves)
    assert len({curve.logprobs[0] for curve in compared.curves}) == 1


def test_related_tokens_are_shown_before_they_act(session: Session, run: Run) -> None:
    assert session.loaded is not None
    start = PROMPT.index("The river")
    request = RelatedTokensRequest(
        run_id=new_run_id(),
        prompt=PROMPT,
        attention=(AttentionControl(start=start, end=start + 3, factor=0.1),),
        steering=SteeringOptions(similarity_threshold=0.99),
    )
    (found, _) = run(session, request)
    assert isinstance(found, RelatedTokens)
    assert all(token.cosine >= 0.99 for token in found.tokens)
    assert {PROMPT[token.start : token.end] for token in found.tokens} <= {" The", "The"}


# --- edges of passages and targets


@pytest.mark.parametrize("name", [name for name in METHODS if name != "re-embedding"])
@pytest.mark.parametrize("granularity", ["token", "message"])
def test_a_prompt_of_one_token(name: str, granularity: Any, session: Session, run: Run) -> None:
    token = session.require_engine().loaded.tokenizer.encode("a", add_special_tokens=False)
    assert len(token) == 1
    asked = asking(method=name, prompt="a", target="b", granularity=granularity)
    found = answer(run(session, asked))
    assert [segment.text for segment in found.segments] == ["a"]
    assert all(score is not None and math.isfinite(score) for score in found.scores[0])


def test_a_target_that_the_tokenizer_would_merge_with_the_prompt_leaves_the_prompt_as_it_was_read(
    session: Session, run: Run
) -> None:
    tokenizer = session.require_engine().loaded.tokenizer
    apart = [*tokenizer.encode("by tok"), *tokenizer.encode("en", add_special_tokens=False)]
    assert tokenizer.encode("by token") != apart, "the vocabulary has ' token' as one"
    asked = asking(prompt="by tok", target="en", granularity="token", target_granularity="token")
    found = answer(run(session, asked))
    assert "".join(segment.text for segment in found.segments) == "by tok"
    assert "".join(target.text for target in found.targets) == "en"
    assert [token for target in found.targets for token in target.ids] == tokenizer.encode(
        "en", add_special_tokens=False
    )


def test_a_target_of_characters_that_are_several_tokens_each(session: Session, run: Run) -> None:
    found = answer(run(session, asking(target=" 🦊é", target_granularity="token")))
    assert [target.text for target in found.targets] == [" 🦊", "🦊", "é"], "the fox is two tokens"
    assert found.targets[-1].end == len(" 🦊é")
    assert len(found.scores) == len(found.targets)


def test_a_selection_that_ends_inside_of_a_token_takes_all_of_it_and_its_context_ends_before(
    session: Session, run: Run
) -> None:
    reply = "a token here"
    start = reply.index("oken")
    asked = asking(target=None, reply_text=reply, target_start=start, target_end=start + 2)
    found = answer(run(session, asked))
    (target,) = found.targets
    assert "ok" in target.text
    assert reply.replace(target.text, "", 1) != reply
    assert max(segment.end for segment in found.segments) <= len(PROMPT) + reply.index(target.text)


def test_sources_of_a_prompt_are_segments(session: Session, run: Run) -> None:
    prompt = "Sources:\n[1] The fox.\n\n[2] The dog is lazy.\n\nQuestion: Who?"
    found = answer(run(session, asking(prompt=prompt, granularity="source")))
    assert [segment.text for segment in found.segments] == [
        "Sources:",
        "[1] The fox.",
        "[2] The dog is lazy.",
        "Question: Who?",
    ]
    failed = run(session, asking(granularity="source"))[-1]
    assert isinstance(failed, Failed)
    assert failed.kind == "invalid-request"


def test_a_range_of_layers_reaches_the_scores(session: Session, run: Run) -> None:
    every = answer(run(session, asking())).scores
    layers = session.require_engine().loaded.info.layers
    assert answer(run(session, asking(layers=(0, layers - 1)))).scores == every
    assert answer(run(session, asking(layers=(0, 0)))).scores != every
