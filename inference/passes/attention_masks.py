"""Apply per-token factors to any causal language model of transformers, without touching its code.

Two means are enough for every family with attention:

* a four-dimensional additive mask (batch, 1, query, key): the causal mask plus a bias for each key column.
  Models take it as it is; those with layers of several kinds take one mask for each kind
  (:func:`attention_masks`);
* scaled keys (:func:`scaled_keys`): what ``cache.update`` hands to the attention is multiplied, what the
  cache stores is not, so a factor can change at every token, and prefixes stay reusable.

Both can be restricted to a range of layers (:func:`masks_in_layers`, ``layers=`` of :func:`scaled_keys`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from inference.errors import InvalidRequest, NotAvailable
from inference.models import exceptions

#: What a model takes as ``attention_mask``: one 4-D mask, or one for each kind of layer.
Masks: TypeAlias = "Tensor | dict[str, Tensor | None]"

_RECURRENT = frozenset({"linear_attention", "conv", "mamba", "recurrent", "moe", "mlp"})
_STATEFUL = _RECURRENT | {"hybrid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskLayout:
    """Which keys each kind of layer may see.

    ``windows`` has one entry for each kind of layer: its name in the model's mask dict (None: the model
    takes a single mask) and the number of keys a query sees, itself included (None: all before it).
    ``chunk`` is the length of the blocks that "chunked_attention" is confined to. ``layer_kinds`` has one
    name a layer. ``recurrent`` says that some layers carry a state instead of keys, so that a prefix
    cannot be cut short. ``own_masks`` says that the model makes its masks itself
    (:mod:`inference.passes.score_bias`).
    """

    windows: tuple[tuple[str | None, int | None], ...]
    layer_kinds: tuple[str, ...]
    chunk: int | None = None
    recurrent: bool = False
    own_masks: bool = False


def mask_layout(config: Any) -> MaskLayout:
    """Read the layout off a model's configuration.

    Raises:
        NotAvailable: The architecture has no attention.
    """
    config = config.get_text_config(decoder=True) if hasattr(config, "get_text_config") else config
    family = str(config.model_type)
    if family in exceptions.WITHOUT_ATTENTION:
        raise NotAvailable(
            f"Attention control is not available for {family}: the architecture has no attention to control."
        )
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        name = "full_attention" if window is None else "sliding_attention"
        kinds = [name] * int(config.num_hidden_layers)
    attending = sorted(set(kinds) - _RECURRENT)
    if not attending:
        raise NotAvailable(
            f"Attention control is not available for {family}: the architecture has no attention to control."
        )
    mixed = len(set(kinds)) > 1
    return MaskLayout(
        windows=tuple(
            (kind if mixed else None, window if kind == "sliding_attention" else None) for kind in attending
        ),
        layer_kinds=tuple(kinds),
        chunk=getattr(config, "attention_chunk_size", None) if "chunked_attention" in attending else None,
        recurrent=bool(set(kinds) & _STATEFUL),
        own_masks=exceptions.masks_of_its_own(config),
    )


def attention_masks(
    layout: MaskLayout,
    bias: Tensor,
    *,
    query_start: int,
    query_count: int,
    cache: Any = None,
    dtype: torch.dtype,
) -> Masks:
    """The causal mask of each kind of layer, with a bias added to key columns.

    Args:
        layout: Of the model.
        bias: (batch, keys) or (batch, queries, keys), float; keys after the last column have bias 0.
        query_start: Position of the first query, which is the number of tokens already in the cache.
        query_count: Number of queries.
        cache: The cache that the forward pass is given; a window cache keeps only its last keys and a
            static one hands out its whole buffer. None: keys are the positions 0 to the last query.
        dtype: Of the model's activations; SDPA wants the mask in it.

    Returns:
        (batch, 1, query, key) in one tensor, or one for each kind of layer.
    """
    masks: dict[str | None, Tensor | None] = {}
    for kind, window in layout.windows:
        layer = 0 if kind is None else layout.layer_kinds.index(kind)
        count, start = query_start + query_count, 0
        if cache is not None and len(cache.layers) > layer:
            count, start = (int(size) for size in cache.get_mask_sizes(query_count, layer))
        queries = torch.arange(query_start, query_start + query_count, device=bias.device)[:, None]
        keys = torch.arange(start, start + count, device=bias.device)[None, :]
        visible = visible_keys(layout, kind, window, queries=queries, keys=keys)
        masks[kind] = _masked(visible, _columns(bias, start, count), dtype)
    if None in masks:
        single = masks[None]
        assert single is not None
        return single
    return {kind: masks.get(kind) for kind in dict.fromkeys(layout.layer_kinds)}


def visible_keys(
    layout: MaskLayout, kind: str | None, window: int | None, *, queries: Tensor, keys: Tensor
) -> Tensor:
    """(queries, keys) booleans: what the layers of a kind may see.

    Args:
        layout: Of the model.
        kind: One of the layout's windows.
        window: Its number of keys.
        queries: (queries, 1) positions.
        keys: (1, keys) positions.
    """
    visible = keys <= queries
    if window is not None:
        visible &= keys > queries - window
    if layout.chunk is not None and kind in (None, "chunked_attention"):
        visible &= keys // layout.chunk == queries // layout.chunk
    return visible


def checked_layers(layers: tuple[int, int] | None, layout: MaskLayout) -> tuple[int, int] | None:
    """A range of layers that the model has, or None where it is all of them.

    Raises:
        InvalidRequest: The model has no such layers.
    """
    count = len(layout.layer_kinds)
    if layers is None or layers == (0, count - 1):
        return None
    if not 0 <= layers[0] <= layers[1] < count:
        raise InvalidRequest(
            f"Layers {layers[0]} to {layers[1]} were asked for.",
            hint=f"This model has layers 0 to {count - 1}.",
        )
    return layers


def _columns(values: Tensor, start: int, count: int, *, neutral: float = 0.0) -> Tensor:
    """Columns start .. start + count of values that are neutral beyond their end."""
    kept = values[..., start : start + count]
    return nn.functional.pad(kept, (0, count - kept.shape[-1]), value=neutral)


def _masked(visible: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
    """(query, key) booleans and a (batch, [query,] key) bias -> additive (batch, 1, query, key)."""
    rows = bias[:, None, None, :] if bias.dim() == 2 else bias[:, None, :, :]
    return torch.where(visible, rows.to(dtype), torch.finfo(dtype).min)


@contextmanager
def scaled_keys(cache: Any, factors: Tensor, layers: tuple[int, int] | None = None) -> Iterator[None]:
    """Within the block, attention sees each cached key times its factor; the cache itself stays as it was.

    This is the multiplicative mode: scores are linear in the key, so the score column is scaled, for all
    heads of a group at once, and the token's own contribution to the softmax with it.

    Args:
        cache: Any cache of transformers; the forward pass must be given it.
        factors: (batch or 1, keys) by position; positions after the end have factor 1.
        layers: First and last layer, both included; None is all.
    """
    plain_update = cache.update

    def update(keys: Tensor, values: Tensor, layer: int, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        before = int(cache.get_seq_length(layer)) if layer < len(cache.layers) else 0
        new = keys.shape[-2]
        keys, values = plain_update(keys, values, layer, *args, **kwargs)
        if layers is not None and not layers[0] <= layer <= layers[1]:
            return keys, values
        # A window cache hands out its last keys, a static one its whole buffer.
        start = max(0, before + new - keys.shape[-2])
        columns = _columns(factors, start, keys.shape[-2], neutral=1.0)
        return keys * columns[:, None, :, None].to(keys), values

    cache.update = update
    try:
        yield
    finally:
        del cache.update


@contextmanager
def masks_in_layers(
    model: nn.Module, steered: Masks, neutral: Masks, layers: tuple[int, int]
) -> Iterator[None]:
    """Within the block, layers outside a range get the neutral mask although the model is given the
    steered one.

    Args:
        model: A causal language model.
        steered: The masks that the forward pass is given.
        neutral: The same without bias.
        layers: First and last steered layer, both included.

    Raises:
        NotAvailable: (During the forward pass.) The model hands its layers another mask than the one it
            was given.
    """
    replacements = dict(zip(map(id, _tensors(steered)), _tensors(neutral), strict=True))

    def swap(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        given = [id(value) for value in (*args, *kwargs.values())]
        if not any(each in replacements for each in given):
            raise NotAvailable("This architecture's layers cannot be steered one by one; choose all layers.")
        args = tuple(replacements.get(id(value), value) for value in args)
        return args, {name: replacements.get(id(value), value) for name, value in kwargs.items()}

    with ExitStack() as stack:
        for index, layer in enumerate(decoder_layers(model)):
            if not layers[0] <= index <= layers[1]:
                hook = layer.register_forward_pre_hook(swap, with_kwargs=True)
                stack.callback(hook.remove)
        yield


def _tensors(masks: Masks) -> Sequence[Tensor]:
    each = masks.values() if isinstance(masks, Mapping) else [masks]
    return [mask for mask in each if mask is not None]


def decoder_layers(model: nn.Module) -> nn.ModuleList:
    """The stack of a model's decoder layers.

    Raises:
        NotAvailable: No stack with the configured number of layers was found.
    """
    config: Any = model.config
    count = int(config.get_text_config(decoder=True).num_hidden_layers)
    for module in itertools.chain([model], model.modules()):
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise NotAvailable("The layers of this architecture could not be told apart.")


def stack_owner(model: nn.Module) -> nn.Module:
    """The module that holds the decoder layers: ids in, normed hidden states out.

    Raises:
        NotAvailable: See :func:`decoder_layers`.
    """
    stack = decoder_layers(model)
    return next(module for module in model.modules() if stack in module.children())
