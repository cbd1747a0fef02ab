"""Attention weights of chosen layers, a few queries at a time.

SDPA does not tell its weights, so the model's own eager attention is switched on while they are read. The
text goes through in chunks of queries over a KV cache, so that what is held is (heads, chunk, tokens) of
one layer and not (heads, tokens, tokens) of all; the pass is broken off behind the last layer that was
asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from inference.errors import InvalidRequest, NotAvailable
from inference.events import AttentionMap, AttentionRequest, AttentionStarted, Event, ScoreRequest
from inference.passes.attention_masks import decoder_layers, mask_layout
from inference.running import RunHandle

if TYPE_CHECKING:
    from inference.session import Session

#: Weights (heads x queries x keys) of one layer that are held at once: 128 MB in float32.
_AT_ONCE = 1 << 25


class _Enough(Exception):
    """All layers that were asked for have been read."""


def attention(session: Session, request: AttentionRequest, handle: RunHandle) -> Iterator[Event]:
    """Read attention weights -> AttentionStarted, AttentionMap ... (whole matrices come in several parts).

    Raises:
        InvalidRequest: A layer, head or position does not exist.
        NotAvailable: The architecture has no attention, or keeps its weights to itself.
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
    layers, heads = _checked(model, request)
    last = len(prompt.ids) - 1 if request.last is None else request.last
    if not 0 <= request.first <= last < len(prompt.ids):
        raise InvalidRequest(
            f"Positions {request.first} to {last} were asked for; the text has {len(prompt.ids)} tokens."
        )
    yield AttentionStarted(
        run_id=request.run_id,
        tokens=tuple(engine.table.text(token) for token in prompt.ids),
        layers=layers,
        heads=heads,
    )
    parts = attention_weights(
        model, prompt.ids[: last + 1], layers, heads, first=request.first, check=handle.check
    )
    if request.grid <= 0:
        for layer, start, weights in parts:
            yield from _maps(request, layer, heads, start, weights)
        return
    grids = Thumbnails(request.grid, first=request.first, end=last + 1, heads=len(heads))
    for layer, start, weights in parts:
        grids.add(layer, start, weights)
    for layer in layers:
        yield from _maps(request, layer, heads, 0, grids.of(layer))


def attention_weights(
    model: Any,
    ids: Sequence[int],
    layers: Sequence[int],
    heads: Sequence[int],
    *,
    first: int = 0,
    check: Callable[[], None] = lambda: None,
    chunk: int | None = None,
) -> Iterator[tuple[int, int, Tensor]]:
    """Attention weights of some layers and heads, chunk by chunk.

    Args:
        model: A causal language model.
        ids: The text, up to the last query.
        layers: Blocks, from 0.
        heads: Which heads.
        first: The first query that is wanted.
        check: Raises if the run was cancelled.
        chunk: Queries at once; None: as many as :data:`_AT_ONCE` allows.

    Yields:
        Layer, first query, and (heads, queries, keys) weights in float32; keys go up to the chunk's last
        query.
    """
    config = model.config.get_text_config(decoder=True)
    size = chunk or max(1, _AT_ONCE // (int(config.num_attention_heads) * len(ids)))
    recurrent = mask_layout(model.config).recurrent
    cache = DynamicCache(config=model.config) if recurrent else DynamicCache()
    device = model.get_input_embeddings().weight.device
    with eager_attention(model), ExitStack() as hooks:
        seen: dict[int, Tensor] = {}
        _record(model, layers, seen, hooks)
        for start in range(0, len(ids), size):
            check()
            seen.clear()
            row = torch.tensor([list(ids[start : start + size])], device=device)
            try:
                with torch.no_grad():
                    model.base_model(input_ids=row, past_key_values=cache, use_cache=True)
            except _Enough:
                pass
            skipped = max(0, first - start)
            if skipped >= row.shape[1]:
                continue
            for layer in layers:
                yield layer, start + skipped, seen[layer][0, list(heads), skipped:].float()


@contextmanager
def eager_attention(model: Any) -> Iterator[None]:
    """Within the block the model computes attention the plain way."""
    before = model.config._attn_implementation
    try:
        _implement(model, "eager")
        yield
    finally:
        _implement(model, before)


def _implement(model: Any, name: str) -> None:
    """Choose how attention is computed; older classes (Falcon) know no way to and read it off the config."""
    if model._can_set_attn_implementation():
        model.set_attn_implementation(name)
    else:
        model.config._attn_implementation = name


def _record(model: Any, layers: Sequence[int], seen: dict[int, Tensor], hooks: ExitStack) -> None:
    """Note the weights that the chosen blocks' attention returns, and stop behind the last of them."""

    def note(layer: int) -> Callable[..., None]:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            weights = [each for each in output if isinstance(each, Tensor) and each.dim() == 4]
            if not weights:
                raise NotAvailable(
                    "Attention maps are not available: this architecture does not tell its weights."
                )
            seen[layer] = weights[0]

        return hook

    def stop(*_: Any) -> None:
        raise _Enough

    stack = decoder_layers(model)
    for layer in layers:
        hooks.callback(attention_of(stack[layer]).register_forward_hook(note(layer)).remove)
    hooks.callback(stack[max(layers)].register_forward_hook(stop).remove)


def attention_of(block: nn.Module) -> nn.Module:
    """The attention module of a block.

    Raises:
        NotAvailable: It has none.
    """
    for child in block.children():
        if "Attention" in type(child).__name__:
            inner = [each for each in child.children() if "Attention" in type(each).__name__]
            return inner[0] if inner else child  # DBRX and GPT-Neo wrap theirs
    raise NotAvailable("Attention maps are not available: this layer has no attention.")


class Thumbnails:
    """Each head's matrix as the maxima of grid x grid cells, filled in chunk by chunk."""

    def __init__(self, grid: int, *, first: int, end: int, heads: int) -> None:
        self._grid = grid
        self._first, self._end, self._heads = first, end, heads
        self._cells: dict[int, Tensor] = {}

    def add(self, layer: int, start: int, weights: Tensor) -> None:
        """Take in (heads, queries, keys) weights whose first query is ``start``."""
        weights = weights.cpu()
        cells = self._cells.setdefault(layer, torch.zeros(self._heads, self._grid, self._grid))
        _, queries, keys = weights.shape
        rows = (torch.arange(start, start + queries) - self._first) * self._grid // (self._end - self._first)
        columns = torch.arange(keys) * self._grid // self._end
        narrow = torch.zeros(self._heads, queries, self._grid)
        narrow.scatter_reduce_(2, columns.expand(self._heads, queries, -1), weights, "amax")
        cells.scatter_reduce_(1, rows[None, :, None].expand(self._heads, -1, self._grid), narrow, "amax")

    def of(self, layer: int) -> Tensor:
        """(heads, grid, grid) maxima."""
        return self._cells[layer]


def _maps(
    request: AttentionRequest, layer: int, heads: Sequence[int], first: int, weights: Tensor
) -> Iterator[Event]:
    """One event a head."""
    for head, matrix in zip(heads, weights, strict=True):
        yield AttentionMap(
            run_id=request.run_id,
            layer=layer,
            head=head,
            first=first,
            rows=matrix.shape[0],
            columns=matrix.shape[1],
            weights=matrix.half().cpu().contiguous().numpy().astype("<f2").tobytes(),
        )


def _checked(model: Any, request: AttentionRequest) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Layers and heads that exist."""
    layout = mask_layout(model.config)
    config = model.config.get_text_config(decoder=True)
    count = int(config.num_attention_heads)
    heads = request.heads or tuple(range(count))
    if not request.layers:
        raise InvalidRequest("No layer was chosen.")
    if any(not 0 <= layer < len(layout.layer_kinds) for layer in request.layers):
        raise InvalidRequest(f"This model has layers 0 to {len(layout.layer_kinds) - 1}.")
    if any(not 0 <= head < count for head in heads):
        raise InvalidRequest(f"This model has heads 0 to {count - 1}.")
    return tuple(dict.fromkeys(request.layers)), tuple(dict.fromkeys(heads))
