"""Logit lens: what the model would say if it stopped after each layer.

nostalgebraist 2020, "interpreting GPT: the logit lens". The residual stream after each block goes through
the model's final norm and its output head. transformers' ``hidden_states[-1]`` is normed already and the
others are not, so the states are taken from the blocks themselves; the last row must then equal the
model's own logits, and that is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from inference.errors import InvalidRequest, NotAvailable
from inference.events import Event, LensRequest, LensRow, LensStarted, ScoreRequest
from inference.passes.attention_masks import decoder_layers, stack_owner
from inference.running import RunHandle

if TYPE_CHECKING:
    from inference.session import Session

#: Logits (positions x vocabulary) that are held at once: 128 MB in float32.
_AT_ONCE = 1 << 25


def lens(session: Session, request: LensRequest, handle: RunHandle) -> Iterator[Event]:
    """Look at a text through the lens -> LensStarted, LensRow ... (one a layer, from the last asked for
    down).

    Raises:
        InvalidRequest: A layer or position does not exist.
        NotAvailable: The architecture's final norm and head cannot be told.
    """
    from inference.prompts import build_prompt

    engine = session.require_engine()
    prompt = build_prompt(
        engine.loaded,
        engine.table,
        ScoreRequest(
            run_id=request.run_id,
            messages=request.messages,
            prompt=request.prompt,
            reply_ids=request.reply_ids,
            reply_text=request.reply_text,
        ),
    )
    model: Any = engine.loaded.model
    head = OutputHead(model)
    layers = _layers(request, len(decoder_layers(model)))
    positions = _positions(request, len(prompt.ids))
    handle.check()
    yield LensStarted(
        run_id=request.run_id,
        positions=tuple(positions),
        tokens=tuple(engine.table.text(prompt.ids[position]) for position in positions),
        layers=layers,
    )
    states = residual_states(model, prompt.ids, layers, positions)
    followed = _followed(request, prompt.ids, positions)
    for layer in layers:
        handle.check()
        row = look(head, states.pop(layer), followed)
        yield LensRow(
            run_id=request.run_id,
            layer=layer,
            top_ids=row.top_ids,
            top_texts=tuple(engine.table.text(token) for token in row.top_ids),
            top_probs=row.top_probs,
            ranks=row.ranks,
            followed_probs=row.followed_probs,
            entropies=row.entropies,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The lens at one layer, one entry a position; the fields are those of ``LensRow``."""

    top_ids: tuple[int, ...]
    top_probs: tuple[float, ...]
    ranks: tuple[int, ...]
    followed_probs: tuple[float, ...]
    entropies: tuple[float, ...]


class OutputHead:
    """A model's final norm and output head: (..., hidden) residual states -> (..., vocabulary) logits.

    The norm is the module beside the stack of blocks that is called after the last of them. Scales and
    soft caps of logits are read off the configuration (Cohere, Granite, Gemma).

    Raises:
        NotAvailable: What it makes of the last block's output is not what the model says.
    """

    def __init__(self, model: Any) -> None:
        config = model.config.get_text_config(decoder=True)
        self._norm = _norm_after(model)
        self._head: Any = model.get_output_embeddings()
        if self._head is None:
            raise NotAvailable("The logit lens is not available: this model has no output head.")
        self._scale = float(getattr(config, "logit_scale", None) or 1.0)
        self._scale /= float(getattr(config, "logits_scaling", None) or 1.0)
        self._cap: float | None = getattr(config, "final_logit_softcapping", None)
        self._check(model)

    def __call__(self, states: Tensor) -> Tensor:
        """Logits in float32."""
        with torch.no_grad():
            logits: Tensor = self._head(self._norm(states)).float() * self._scale
        return logits if self._cap is None else self._cap * torch.tanh(logits / self._cap)

    def _check(self, model: Any) -> None:
        ids = [1, 0, 1]
        last = len(decoder_layers(model))
        mine = self(residual_states(model, ids, [last], range(len(ids)))[last])
        with torch.no_grad():
            given = torch.tensor([ids], device=model.get_input_embeddings().weight.device)
            own = model(input_ids=given, use_cache=False).logits[0].float()
        if not torch.allclose(mine, own.to(mine.device), atol=0.05 * float(own.std()) + 1e-3, rtol=0.02):
            raise NotAvailable(
                "The logit lens is not available for this architecture: its way from the last layer to its "
                "output is not known here."
            )


def residual_states(
    model: Any, ids: Sequence[int], layers: Sequence[int], positions: Sequence[int]
) -> dict[int, Tensor]:
    """The residual stream (positions, hidden) after some blocks, before any final norm.

    Args:
        model: A causal language model.
        ids: The text.
        layers: 0 is the input of the first block, n the output of the n-th.
        positions: Which tokens.
    """
    kept: dict[int, Tensor] = {}
    chosen = torch.tensor(list(positions))
    stack = decoder_layers(model)

    def keep(layer: int, states: Tensor) -> None:
        if states.dim() != 3:
            raise NotAvailable(
                "The logit lens is not available for this architecture: its layers hand on several streams."
            )
        kept[layer] = states[0, chosen.to(states.device)].detach()

    def before(_: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        keep(0, arguments[0] if arguments else named["hidden_states"])

    def after(layer: int) -> Callable[..., None]:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            keep(layer, output[0] if isinstance(output, tuple) else output)

        return hook

    with ExitStack() as hooks, torch.no_grad():
        if 0 in layers:
            hooks.callback(stack[0].register_forward_pre_hook(before, with_kwargs=True).remove)
        for layer in layers:
            if layer > 0:
                hooks.callback(stack[layer - 1].register_forward_hook(after(layer)).remove)
        device = model.get_input_embeddings().weight.device
        model.base_model(input_ids=torch.tensor([list(ids)], device=device), use_cache=False)
    return kept


def look(head: OutputHead, states: Tensor, followed: Sequence[int | None]) -> Row:
    """What states (positions, hidden) would say; ``followed`` tokens are looked up in it (None: none)."""
    parts: list[Row] = []
    size = max(1, _AT_ONCE // head(states[:1]).shape[-1])
    for start in range(0, len(states), size):
        logprobs = head(states[start : start + size]).log_softmax(-1)
        wanted = torch.tensor(
            [-1 if token is None else token for token in followed[start : start + size]],
            device=logprobs.device,
        )
        own = logprobs.gather(-1, wanted.clamp(min=0)[:, None])
        ranks = (logprobs > own).sum(-1) + 1
        top = logprobs.max(-1)
        parts.append(
            Row(
                top_ids=tuple(top.indices.tolist()),
                top_probs=tuple(top.values.exp().tolist()),
                ranks=tuple(torch.where(wanted < 0, 0, ranks).tolist()),
                followed_probs=tuple(torch.where(wanted < 0, 0.0, own[:, 0].exp()).tolist()),
                entropies=tuple(torch.special.entr(logprobs.exp()).sum(-1).tolist()),
            )
        )
    names = ("top_ids", "top_probs", "ranks", "followed_probs", "entropies")
    return Row(**{name: tuple(v for part in parts for v in getattr(part, name)) for name in names})


def _norm_after(model: Any) -> nn.Module:
    """The module beside the blocks that is called after the last of them, found by running one token."""
    stack, parent = decoder_layers(model), stack_owner(model)
    called: list[nn.Module] = []

    def note(module: nn.Module, *_: Any) -> None:
        called.append(module)

    with ExitStack() as hooks, torch.no_grad():
        for module in [stack[-1], *(child for child in parent.children() if child is not stack)]:
            hooks.callback(module.register_forward_hook(note).remove)
        device = model.get_input_embeddings().weight.device
        model.base_model(input_ids=torch.tensor([[1]], device=device), use_cache=False)
    later = called[called.index(stack[-1]) + 1 :]
    if len(later) > 1:
        raise NotAvailable(
            "The logit lens is not available for this architecture: more than a norm follows its last layer."
        )
    return later[0] if later else nn.Identity()


def _layers(request: LensRequest, count: int) -> tuple[int, ...]:
    wanted = request.layers or tuple(range(count + 1))
    if any(not 0 <= layer <= count for layer in wanted):
        raise InvalidRequest(f"This model has layers 0 (its embedding) to {count}.")
    return tuple(dict.fromkeys(wanted))


def _positions(request: LensRequest, count: int) -> range:
    last = count - 1 if request.last is None else request.last
    if not 0 <= request.first <= last < count:
        raise InvalidRequest(
            f"Positions {request.first} to {last} were asked for; the text has {count} tokens."
        )
    return range(request.first, last + 1)


def _followed(request: LensRequest, ids: Sequence[int], positions: range) -> list[int | None]:
    """For each position the token whose rank is wanted."""
    if request.token_id is not None:
        return [request.token_id] * len(positions)
    return [ids[position + 1] if position + 1 < len(ids) else None for position in positions]
