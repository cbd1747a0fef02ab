"""Attention control and explanations of every family, against passes of transformers' own model."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from inference.events import AttentionControl, ExplainRequest, Explanation, SteeringOptions
from inference.passes.attention_masks import decoder_layers
from inference.running import new_run_id

Unless = Callable[[Callable[[], Any]], Any]
#: Characters of the text that are steered: " prompt", behind which more tokens follow than a window holds.
START, END = 27, 34
TARGET = " fox"
#: Positions of these are counted along the two-dimensional mask.
ALIBI = ("BLOOM", "MPT", "Falcon RW")
METHODS = (
    "atman",
    "atman-coarse-to-fine",
    "atman-target-rows",
    "atman-first-order",
    "leave-one-out",
    "re-embedding",
    "gradient-x-input",
    "integrated-gradients",
)


def _steered(case: Any, factor: float, mode: str = "log-additive") -> torch.Tensor:
    control = AttentionControl(start=START, end=END, factor=factor)
    options = SteeringOptions(mode=mode)  # type: ignore[arg-type]
    return torch.tensor(case.logprobs(attention=(control,), steering=options))


def _tokens_of(case: Any) -> range:
    """The steered tokens: those with a character of the span."""
    offsets = case.session.loaded.tokenizer(case.text, return_offsets_mapping=True)["offset_mapping"]
    touched = [index for index, (start, end) in enumerate(offsets) if start < END and end > START + 1]
    return range(touched[0], touched[-1] + 1)


@pytest.mark.column("steering")
@pytest.mark.every_family
@pytest.mark.parametrize("mode", ["log-additive", "multiplicative"])
def test_steering_changes_what_comes_after_and_nothing_before(
    case: Any, mode: str, unless_lacking: Unless
) -> None:
    def steer() -> None:
        plain = torch.tensor(case.logprobs())
        first = _tokens_of(case)[0]
        changed = _steered(case, 0.1, mode)
        torch.testing.assert_close(changed[:first], plain[:first], atol=1e-5, rtol=0)
        assert (changed - plain)[first + 1 :].abs().max() > 1e-3
        assert torch.equal(_steered(case, 1.0, mode), plain)
        slight = (_steered(case, 0.999, mode) - plain).abs().max()
        assert 0 < slight < 0.02, "a factor acts by degrees"

    unless_lacking(steer)


@pytest.mark.column("steering")
def test_factor_zero_is_transformers_own_mask_of_these_tokens(case: Any, unless_lacking: Unless) -> None:
    steered = unless_lacking(lambda: _steered(case, 0.0))
    if steered is None:
        return
    if case.family.name in ALIBI:
        logits = _masked_in_the_layers(case)
    elif "position_ids" in inspect.signature(case.original.forward).parameters and not _stateful(case):
        logits = _masked(case)
    else:
        return
    expected = logits.log_softmax(-1)[:-1].gather(-1, torch.tensor(case.ids[1:])[:, None])[:, 0]
    after = _tokens_of(case)[-1] + 1
    torch.testing.assert_close(steered[after:], expected[after:], atol=2e-4, rtol=1e-3)


def _stateful(case: Any) -> bool:
    """Whether a state is kept from reading what a two-dimensional mask hides, too."""
    return "prefix" in case.family.lacks


def _masked(case: Any) -> torch.Tensor:
    """Logits of transformers' own model whose two-dimensional mask hides the tokens."""
    seen = torch.ones(1, len(case.ids), dtype=torch.long)
    seen[:, list(_tokens_of(case))] = 0
    positions = torch.arange(len(case.ids))[None]
    with torch.no_grad():
        output = case.original(
            input_ids=torch.tensor([case.ids]), attention_mask=seen, position_ids=positions, use_cache=False
        )
    return output.logits[0]


def _masked_in_the_layers(case: Any) -> torch.Tensor:
    """The same where that mask also moves positions: the tokens are hidden in the mask that layers get."""

    def hide(_: Any, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        mask = named["attention_mask"].clone()
        mask[..., list(_tokens_of(case))] = True if mask.dtype == torch.bool else -1e9
        return given, named | {"attention_mask": mask}

    hooks = [
        layer.register_forward_pre_hook(hide, with_kwargs=True) for layer in decoder_layers(case.original)
    ]
    ids = torch.tensor([case.ids])
    try:
        with torch.no_grad():
            return case.original(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits[
                0
            ]
    finally:
        for hook in hooks:
            hook.remove()


def _explain(case: Any, method: str) -> Explanation:
    request = ExplainRequest(
        run_id=new_run_id(), method=method, prompt=case.text, target=TARGET, granularity="token", factor=0.1
    )
    return next(event for event in case.run(case.session, request) if isinstance(event, Explanation))


def _target_logprob(case: Any, context: Sequence[int], target: Sequence[int]) -> float:
    ids = [*context, *target]
    rows = case.teacher_forced(ids)[len(context) - 1 : -1]
    return float(rows[range(len(target)), list(target)].sum())


@pytest.mark.parametrize("method", [pytest.param(name, marks=pytest.mark.column(name)) for name in METHODS])
def test_every_method_explains(case: Any, method: str, unless_lacking: Unless) -> None:
    explanation = unless_lacking(lambda: _explain(case, method))
    if explanation is None:
        return
    scores = [score for score in explanation.scores[0] if score is not None]
    assert len(scores) == len(explanation.segments) == len(case.ids)
    assert all(map(math.isfinite, scores))
    assert max(scores) > min(scores)
    if method in ORACLES:
        target = explanation.targets[0].ids
        index = max(range(1, len(scores)), key=lambda place: abs(scores[place]))
        expected = ORACLES[method](case, explanation, index, target)
        assert scores[index] == pytest.approx(expected, abs=3e-3, rel=2e-2)


def _under_control(case: Any, explanation: Explanation, index: int, target: Sequence[int]) -> float:
    """What steering the segment costs the target, measured through the decode loop's forward pass."""
    segment, ids = explanation.segments[index], tuple(target)
    plain = case.logprobs(reply_ids=ids)
    control = AttentionControl(start=segment.start, end=segment.end, factor=0.1)
    steered = case.logprobs(reply_ids=ids, attention=(control,))
    return float(sum(plain[-len(ids) :]) - sum(steered[-len(ids) :]))


def _without(case: Any, explanation: Explanation, index: int, target: Sequence[int]) -> float:
    """What leaving the token out costs the target, in transformers' own model."""
    left = [token for place, token in enumerate(case.ids) if place != index]
    return _target_logprob(case, case.ids, target) - _target_logprob(case, left, target)


def _slope(case: Any, explanation: Explanation, index: int, target: Sequence[int]) -> float:
    """The gradient along the token's embedding, by finite differences of transformers' own model."""
    embeddings = case.original.get_input_embeddings()(torch.tensor([[*case.ids, *target]]))
    values = []
    for step in (2e-3, -2e-3):
        moved = embeddings.clone()
        moved[0, index] *= 1 + step
        with torch.no_grad():
            logits = case.original(inputs_embeds=moved, use_cache=False).logits[0, len(case.ids) - 1 : -1]
        values.append(float(logits.log_softmax(-1)[range(len(target)), list(target)].sum()))
    return (values[0] - values[1]) / 4e-3


ORACLES: dict[str, Callable[[Any, Explanation, int, Sequence[int]], float]] = {
    "atman": _under_control,
    "leave-one-out": _without,
    "gradient-x-input": _slope,
}
