"""Routing of every mixture: choices, shares and load, and an expert that is switched off."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import MixtralConfig, MixtralForCausalLM

from inference.errors import NotAvailable
from inference.events import (
    ExpertsChanged,
    ExpertsLayer,
    ExpertsRequest,
    ExpertsStarted,
    Failed,
    PromptScored,
    ScoreRequest,
    SetExpertsRequest,
    Started,
    Token,
)
from inference.running import RunHandle, new_run_id
from inference.session import Session

Unless = Callable[[Callable[[], Any]], Any]


def _route(case: Any, off: tuple[tuple[int, int], ...] = ()) -> list[Any]:
    request = ExpertsRequest(run_id=new_run_id(), prompt=case.text, off=off)
    return list(case.run(case.session, request))


@pytest.mark.column("experts")
@pytest.mark.mixtures
def test_routers_tell_whom_they_send_each_token_to(case: Any, unless_lacking: Unless) -> None:
    events = unless_lacking(lambda: _route(case))
    if events is None:
        return
    started = next(event for event in events if isinstance(event, ExpertsStarted))
    layers = [event for event in events if isinstance(event, ExpertsLayer)]
    assert (started.experts, started.chosen) == (4, 2)
    assert [layer.layer for layer in layers] == list(started.layers) != []
    for layer in layers:
        assert len(layer.experts) == len(layer.weights) == len(case.ids)
        assert all(len(set(chosen)) == 2 and set(chosen) <= set(range(4)) for chosen in layer.experts)
        assert all(first >= second > 0 for first, second in layer.weights)
        assert all(0 <= entropy <= math.log(4) + 1e-5 for entropy in layer.entropies)
        counted = [sum(chosen.count(expert) for chosen in layer.experts) for expert in range(4)]
        assert layer.load == pytest.approx([count / (2 * len(case.ids)) for count in counted])


@pytest.mark.column("experts")
@pytest.mark.mixtures
def test_the_model_card_tells_how_many_parameters_act_on_a_token(case: Any) -> None:
    """Half of the experts do, in these: two of four."""
    info = case.session.loaded.info
    assert (info.experts, info.active_experts) == (4, 2)
    routed = sum(
        parameter.numel()
        for name, parameter in case.original.named_parameters()
        if (".experts." in name and ".router." not in name)
        or (name.endswith("_linear.weight") and parameter.dim() == 3)
    )
    assert routed > 0
    assert info.active_parameters == info.parameters - routed // 2


@pytest.mark.column("experts")
@pytest.mark.mixtures
def test_an_expert_that_is_off_is_one_whose_output_is_zero(
    case: Any, unless_lacking: Unless, note: Callable[[str], None]
) -> None:
    """The oracle is transformers' own model with the expert's last matrix, and its bias, at zero."""
    events = unless_lacking(lambda: _route(case))
    if events is None:
        return
    if case.family.name == "JetMoE":  # its experts are not one module that is given shares
        with pytest.raises(NotAvailable, match="can't be switched off"):
            _route(case, ((0, 0),))
        note("works; an expert can't be switched off: shares are applied inside of the router's module")
        return
    layer = next(event for event in events if isinstance(event, ExpertsLayer))
    expert = max(range(4), key=lambda number: layer.load[number])
    changed = next(
        event for event in _route(case, ((layer.layer, expert),)) if isinstance(event, ExpertsChanged)
    )
    before = case.teacher_forced(case.ids)
    weights = _last_matrix(case, layer.layer)
    kept = [weight.clone() for weight in weights]
    for weight in weights:
        _part(case, weight, expert).zero_()
    try:
        after = case.teacher_forced(case.ids)
    finally:
        for weight, whole in zip(weights, kept, strict=True):
            weight.copy_(whole)
    told = torch.tensor(changed.divergences)
    expected = (before.exp() * (before - after)).sum(-1).clamp(min=0)
    torch.testing.assert_close(told, expected, atol=1e-3, rtol=1e-2)
    assert told.max() > 1e-4
    follows = torch.tensor(case.ids[1:])[:, None]
    torch.testing.assert_close(
        torch.tensor(changed.after[:-1]), after[:-1].gather(-1, follows)[:, 0], atol=1e-3, rtol=1e-3
    )
    users = [at for at, chosen in enumerate(layer.experts) if expert in chosen]
    assert told[: users[0]].abs().max() < 1e-6 if users[0] else True
    for off, logprobs in (
        (((layer.layer, expert),), after),
        ((), before),
    ):  # and in all that is read from now on
        assert not any(isinstance(event, Failed) for event in case.run(case.session, _leave_out(off)))
        scored = next(
            event for event in case.run(case.session, _score(case)) if isinstance(event, PromptScored)
        )
        told = torch.tensor([token.raw_logprob for token in scored.tokens[1:]])
        torch.testing.assert_close(told, logprobs[:-1].gather(-1, follows)[:, 0], atol=1e-3, rtol=1e-3)


def _leave_out(off: tuple[tuple[int, int], ...]) -> SetExpertsRequest:
    return SetExpertsRequest(run_id=new_run_id(), off=off)


def _score(case: Any) -> ScoreRequest:
    return ScoreRequest(run_id=new_run_id(), prompt=case.text, candidates=1)


def _last_matrix(case: Any, layer: int) -> list[torch.Tensor]:
    """What a layer's experts end with: all of them in one tensor."""
    from inference.passes.attention_masks import decoder_layers

    named = dict(decoder_layers(case.original)[layer].named_parameters())
    ends = ("experts.down_proj", "experts.down_proj_bias", "experts.mlp.w2")
    found = [value for name, value in named.items() if name.endswith(ends)]
    assert found, list(named)
    return found


def _part(case: Any, weight: torch.Tensor, expert: int) -> torch.Tensor:
    """One expert's part of it; DBRX stacks them along the rows."""
    if weight.dim() == 2 and weight.shape[0] != 4:
        rows = weight.shape[0] // 4
        return weight[expert * rows : (expert + 1) * rows]
    return weight[expert]


@pytest.mark.column("experts")
def test_a_dense_model_says_that_it_is_no_mixture(case: Any, note: Callable[[str], None]) -> None:
    if "expert" in case.family.has:
        return
    with pytest.raises(NotAvailable, match="not a mixture"):
        _route(case)
    note("–")


def test_an_expert_is_switched_off_while_a_reply_is_written(
    as_loaded: Callable[..., Any], generating: Callable[..., Any]
) -> None:
    """From the next token on, and what was read under another mixture is not reused."""
    torch.manual_seed(1)
    sizes = {"vocab_size": 500, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    config = MixtralConfig(
        **sizes, num_attention_heads=4, num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2,
        initializer_range=0.3,
    )  # fmt: skip
    session = Session()
    session.use(as_loaded(MixtralForCausalLM(config).eval().requires_grad_(False)))
    off = tuple((layer, expert) for layer in (0, 1) for expert in (0, 1))

    def write(*, at: int | None = None, **controls: Any) -> tuple[list[Token], Started]:
        request = generating(prompt="The quick brown fox", max_new_tokens=8, **controls)
        handle = RunHandle(request.run_id, request.controls)
        tokens, started = [], []
        for event in session.run(request, handle):
            assert not isinstance(event, Failed), event
            if isinstance(event, Started):
                started.append(event)
            elif isinstance(event, Token):
                tokens.append(event)
                if len(tokens) == at:
                    handle.controls = replace(request.controls, experts_off=off)
        return tokens, started[0]

    whole, _ = write(experts_off=())
    mixed, begun = write(experts_off=(), at=3)
    assert begun.reused_tokens > 0
    assert [t.raw_logprob for t in mixed[:3]] == pytest.approx([t.raw_logprob for t in whole[:3]], abs=1e-4)
    assert mixed[3].raw_logprob != pytest.approx(whole[3].raw_logprob, abs=1e-3)
    without, begun = write(experts_off=off)
    assert begun.reused_tokens == 0
    assert [token.id for token in without] != [token.id for token in whole]
    again, _ = write(experts_off=())
    assert [token.id for token in again] == [token.id for token in whole]
