"""Mixtures of experts: how routers send tokens, and what happens without an expert.

Nothing here knows a family. A mixture is a module with a child named "router" or "gate" that makes as many
logits as the model has experts; its choice is what the module named "experts" beside it is given, else what
the router returns, else the largest logits. An expert is switched off where its share is applied: in the
weights that "experts" is given, or in the scores that the router hands on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from inference.errors import InvalidRequest, NotAvailable
from inference.events import (
    Event,
    ExpertsChanged,
    ExpertsLayer,
    ExpertsRequest,
    ExpertsStarted,
    ScoreRequest,
    SetExpertsRequest,
)
from inference.models.architecture import expert_counts
from inference.passes.attention_masks import decoder_layers
from inference.running import RunHandle

if TYPE_CHECKING:
    from inference.session import Session

_ROUTERS = ("router", "gate")


@dataclass(slots=True)
class Mixture:
    """A layer's router and, where it is a module, the experts that it feeds."""

    layer: int
    router: nn.Module
    experts: nn.Module | None


@dataclass(slots=True)
class _Routing:
    """What one layer's router decided: (tokens, experts) logits, (tokens, k) choices and shares."""

    logits: Tensor | None = None
    chosen: Tensor | None = None
    weights: Tensor | None = None
    scores: Tensor | None = field(default=None, repr=False)


def route(session: Session, request: ExpertsRequest, handle: RunHandle) -> Iterator[Event]:
    """Read a text and tell the routing -> ExpertsStarted, ExpertsLayer ..., [ExpertsChanged].

    Raises:
        NotAvailable: The model has no experts, or they can't be switched off.
        InvalidRequest: A layer, expert or position does not exist.
    """
    from inference.prompts import build_prompt

    engine = session.require_engine()
    model: Any = engine.loaded.model
    count, chosen = counts(model)
    mixtures = mixtures_of(model, count)
    asked = ScoreRequest(
        run_id=request.run_id,
        messages=request.messages,
        prompt=request.prompt,
        reply_ids=request.reply_ids,
        reply_text=request.reply_text,
    )
    prompt = build_prompt(engine.loaded, engine.table, asked)
    last = len(prompt.ids) - 1 if request.last is None else request.last
    if not 0 <= request.first <= last < len(prompt.ids):
        raise InvalidRequest(
            f"Positions {request.first} to {last} were asked for; the text has {len(prompt.ids)} tokens."
        )
    _check_off(request.off, mixtures, count)
    positions = range(request.first, last + 1)
    yield ExpertsStarted(
        run_id=request.run_id,
        positions=tuple(positions),
        tokens=tuple(engine.table.text(prompt.ids[position]) for position in positions),
        layers=tuple(mixture.layer for mixture in mixtures),
        experts=count,
        chosen=chosen,
    )
    handle.check()
    ids = prompt.ids[: last + 1]
    left_out = engine.experts_off
    engine.leave_out(())  # compared with the whole model
    try:
        before, routings = read(model, ids, mixtures, chosen)
        handle.check()
        after = read(model, ids, mixtures, chosen, off=request.off)[0] if request.off else before
    finally:
        engine.leave_out(left_out)
    for mixture in mixtures:
        yield _layer(request, mixture.layer, routings[mixture.layer], positions, count)
    if request.off:
        following = [prompt.ids[at + 1] if at + 1 < len(prompt.ids) else None for at in positions]
        texts = engine.table.text
        yield _changed(request, before[positions.start :], after[positions.start :], following, texts)


def set_off(session: Session, request: SetExpertsRequest, handle: RunHandle) -> Iterator[Event]:
    """Leave experts out of everything from now on -> nothing."""
    session.require_engine().leave_out(request.off)
    yield from ()


def switched_off(model: Any, off: Sequence[tuple[int, int]]) -> ExitStack:
    """Leave experts out of every pass of a model until the stack is closed.

    Raises:
        NotAvailable: The model is not a mixture, or its experts can't be switched off.
        InvalidRequest: There is no such expert.
    """
    hooks = ExitStack()
    if not off:
        return hooks
    count, chosen = counts(model)
    mixtures = mixtures_of(model, count)
    _check_off(off, mixtures, count)
    read(model, [0], mixtures, chosen, off=off)  # says whether they can be
    for mixture in mixtures:
        if dropped := [expert for layer, expert in off if layer == mixture.layer]:
            _attach(mixture, _Routing(), dropped, hooks)
    return hooks


def counts(model: Any) -> tuple[int, int]:
    """How many experts a layer has, and how many a token is sent to.

    Raises:
        NotAvailable: The model is not a mixture.
    """
    count, chosen = expert_counts(model.config.get_text_config(decoder=True).to_dict())
    if count < 2 or chosen < 1:
        raise NotAvailable("This model is not a mixture of experts: each token goes through all of it.")
    return count, chosen


def mixtures_of(model: Any, count: int) -> list[Mixture]:
    """The mixture of each layer that has one: of several in a layer, the last (the feed-forward part).

    Raises:
        NotAvailable: None was found.
    """
    found: dict[int, Mixture] = {}
    for number, layer in enumerate(decoder_layers(model)):
        for module in layer.modules():
            children = dict(module.named_children())
            router = next((children[name] for name in _ROUTERS if name in children), None)
            if router is not None and _width(router) == count:
                found[number] = Mixture(number, router, children.get("experts"))
    if not found:
        raise NotAvailable("The routers of this architecture could not be found.")
    return list(found.values())


def read(
    model: Any,
    ids: Sequence[int],
    mixtures: Sequence[Mixture],
    chosen: int,
    *,
    off: Sequence[tuple[int, int]] = (),
) -> tuple[Tensor, dict[int, _Routing]]:
    """Read a text in one pass.

    Returns:
        (tokens, vocabulary) log-probabilities of the next token, and each layer's routing.

    Raises:
        NotAvailable: An expert can't be switched off in this architecture.
    """
    routings = {mixture.layer: _Routing() for mixture in mixtures}
    device = model.get_input_embeddings().weight.device
    with ExitStack() as hooks, torch.inference_mode():
        for mixture in mixtures:
            dropped = [expert for layer, expert in off if layer == mixture.layer]
            _attach(mixture, routings[mixture.layer], dropped, hooks)
        logits = model(input_ids=torch.tensor([list(ids)], device=device), use_cache=False).logits[0]
    for routing in routings.values():
        _complete(routing, chosen)
    return logits.float().log_softmax(-1), routings


def _width(router: nn.Module) -> int:
    """How many logits a router makes; 0 where it has no such matrix."""
    sizes = [parameter.shape[0] for parameter in router.parameters() if parameter.dim() == 2]
    return int(sizes[0]) if len(sizes) == 1 else 0


def _attach(mixture: Mixture, routing: _Routing, dropped: Sequence[int], hooks: ExitStack) -> None:
    """Note what a layer's router decides, and leave out the experts that are dropped."""
    applied = False
    dense: int | None = None
    left_out = torch.tensor(list(dropped), device=next(mixture.router.parameters()).device)

    def at_router(_: nn.Module, __: Any, output: Any) -> Any:
        nonlocal applied, dense
        parts = list(output) if isinstance(output, (tuple, list)) else [output]
        tensors = [part for part in parts if isinstance(part, Tensor) and part.dim() >= 2]
        width = _width(mixture.router)
        floats = [part for part in tensors if part.is_floating_point() and part.shape[-1] == width]
        wide = [part.reshape(-1, width) for part in floats]
        narrow = [part for part in tensors if part.shape[-1] != width or not part.is_floating_point()]
        if len(wide) > 1 and dense is None:  # looked up once: a step that is captured can't look
            dense = max(range(len(wide)), key=lambda number: int((wide[number] != 0).sum()))
        routing.logits = wide[dense or 0] if wide else None
        sparse = [part for part in wide if part is not routing.logits]
        routing.scores = sparse[0].clone() if sparse else None
        integers = [part for part in narrow if not part.is_floating_point()]
        if integers:
            routing.chosen = integers[0]
            routing.weights = next((p for p in narrow if p.is_floating_point()), None)
        if dropped and sparse and mixture.experts is not None and not integers:
            applied = True
            return tuple(_without_columns(part, sparse[0], left_out) for part in parts)
        return None

    def at_experts(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        nonlocal applied
        given = [value for value in (*args, *named.values()) if isinstance(value, Tensor)]
        chosen = next((value for value in given if not value.is_floating_point() and value.dim() == 2), None)
        if chosen is None:
            return None
        weights = next(v for v in given if v.is_floating_point() and v.shape == chosen.shape)
        routing.chosen, routing.weights = chosen, weights.clone()
        if not dropped:
            return None
        applied = True
        gone = torch.isin(chosen, left_out.to(chosen.device))
        left = weights.masked_fill(gone, 0.0)

        def swap(value: Any) -> Any:
            return left if value is weights else value

        return tuple(map(swap, args)), {name: swap(value) for name, value in named.items()}

    hooks.callback(mixture.router.register_forward_hook(at_router).remove)
    if mixture.experts is not None:
        hooks.callback(mixture.experts.register_forward_pre_hook(at_experts, with_kwargs=True).remove)
    if dropped:
        layer = mixture.layer

        def verify() -> None:
            if not applied and routing.logits is not None:
                raise NotAvailable(f"Experts can't be switched off in layer {layer} of this architecture.")

        hooks.callback(verify)


def _without_columns(part: Any, scores: Tensor, dropped: Tensor) -> Any:
    """A router's output with the dropped experts' columns of its scores at zero."""
    if not isinstance(part, Tensor) or part.data_ptr() != scores.data_ptr():
        return part
    return part.index_fill(-1, dropped, 0.0)


def _complete(routing: _Routing, chosen: int) -> None:
    """Fill in choices and shares where neither router nor experts told them."""
    if routing.logits is None:
        raise NotAvailable("The routers of this architecture do not tell their choices.")
    if routing.chosen is None or routing.chosen.shape[0] != routing.logits.shape[0]:
        top = routing.logits.float().topk(chosen, dim=-1)
        routing.chosen = top.indices
        shares = top.values.softmax(-1)
        routing.weights = shares if routing.scores is None else routing.scores.gather(-1, top.indices)
    elif routing.weights is None:
        routing.weights = routing.logits.float().gather(-1, routing.chosen).softmax(-1)


def _layer(
    request: ExpertsRequest, layer: int, routing: _Routing, positions: range, count: int
) -> ExpertsLayer:
    assert routing.logits is not None
    assert routing.chosen is not None
    assert routing.weights is not None
    rows = slice(positions.start, positions.stop)
    order = routing.weights[rows].float().argsort(-1, descending=True)
    experts = routing.chosen[rows].gather(-1, order)
    weights = routing.weights[rows].float().gather(-1, order)
    probabilities = routing.logits[rows].float().softmax(-1)
    load = torch.bincount(experts.flatten(), minlength=count).float() / experts.numel()
    return ExpertsLayer(
        run_id=request.run_id,
        layer=layer,
        experts=tuple(map(tuple, experts.tolist())),
        weights=tuple(map(tuple, weights.tolist())),
        entropies=tuple(torch.special.entr(probabilities).sum(-1).tolist()),
        load=tuple(load.tolist()),
    )


def _changed(
    request: ExpertsRequest, before: Tensor, after: Tensor, following: Sequence[int | None], text: Any
) -> ExpertsChanged:
    """Compare the (positions, vocabulary) log-probabilities with and without the experts."""
    wanted = torch.tensor([0 if token is None else token for token in following], device=before.device)
    known = torch.tensor([token is not None for token in following], device=before.device)

    def of(logprobs: Tensor) -> tuple[float, ...]:
        values = logprobs.gather(-1, wanted[:, None])[:, 0]
        return tuple(torch.where(known, values, 0.0).tolist())

    divergences = (before.exp() * (before - after)).sum(-1).clamp(min=0)
    return ExpertsChanged(
        run_id=request.run_id,
        off=request.off,
        divergences=tuple(divergences.tolist()),
        before=of(before),
        after=of(after),
        top_before=tuple(text(token) for token in before.argmax(-1).tolist()),
        top_after=tuple(text(token) for token in after.argmax(-1).tolist()),
    )


def _check_off(off: Sequence[tuple[int, int]], mixtures: Sequence[Mixture], count: int) -> None:
    layers = [mixture.layer for mixture in mixtures]
    for layer, expert in off:
        if layer not in layers:
            raise InvalidRequest(f"Layer {layer} has no experts.", hint=f"Those that have are {layers}.")
        if not 0 <= expert < count:
            raise InvalidRequest(f"There is no expert {expert}.", hint=f"They count from 0 to {count - 1}.")
