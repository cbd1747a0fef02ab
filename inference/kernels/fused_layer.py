"""A decoder layer whose decode step runs as seven kernels instead of some forty.

It takes over only in a step (one to eight rows, no gradients) on the engine's
:class:`~inference.captured.buffers.StepCache` or a filled ``StaticCache``; a prefill, hooks on its parts,
recorded attention weights and everything unusual take transformers' own forward.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, StaticLayer

from inference.captured.buffers import StepCache
from inference.kernels.attention import MOST_ROWS, AttentionRule, DecodeAttention
from inference.kernels.layer_linears import LayerLinears, layer_linears
from inference.kernels.layer_parts import LayerParts, NotFusable
from inference.kernels.linears import Int8
from inference.kernels.norms import Norm, add_and_norm, apply_norm, rms_norm
from inference.kernels.rotary import Tables

_KNOWN_ARGUMENTS = {
    "attention_mask",
    "cache_position",
    "layer_past",
    "past_key_values",
    "position_embeddings",
    "position_ids",
    "use_cache",
}


@dataclass(slots=True)
class Handover:
    """The normed form of a hidden state that the layer before has made with it.

    It is good for that very tensor only: whoever is given another one computes the norm itself.
    """

    hidden: Tensor | None = None
    normed: Tensor | None = None

    def put(self, hidden: Tensor, normed: Tensor) -> None:
        """Leave it for the next layer."""
        self.hidden, self.normed = hidden, normed

    def take(self, hidden: Tensor) -> Tensor | None:
        """The normed form of this tensor, if it is the one; nothing is kept."""
        normed = self.normed if self.hidden is hidden else None
        self.hidden = self.normed = None
        return normed


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a step reads and writes.

    Attributes:
        keys: (key heads, positions, size).
        values: As keys.
        position: One int64 on the device.
        bias: Of the keys: (positions,) or (rows, positions).
        cosine: (rows, rotated), None where nothing is rotated.
        sine: As cosine.
        key_factors: Of the scores of each key, (positions,).
        counter: Moved on by the rows behind the step, where the cache has one for each layer.
    """

    keys: Tensor
    values: Tensor
    position: Tensor
    bias: Tensor | None
    cosine: Tensor | None
    sine: Tensor | None
    key_factors: Tensor | None = None
    counter: Tensor | None = None


@dataclass(slots=True, kw_only=True)
class FusedLayer:
    """A decoder layer with both of its forwards.

    Attributes:
        owner: The module, whose ``forward`` this replaces. A reference that does not keep it alive: a model
            that is dropped must not wait for the garbage collector.
        parts: It, taken apart.
        attend: The attention kernel; layers of one rule share it.
        linears: How its linear layers are called.
        following: The norm that the next layer (or the end of the stack) starts with.
        incoming: From the layer before.
        outgoing: To the next.
        further: What the layer returns beside hidden states in a step: so many times nothing that is used.
        tables: Of the step, for all layers.
        in_turn: Tables have each frequency twice in a row.
    """

    owner: weakref.ref[nn.Module]
    parts: LayerParts
    attend: DecodeAttention
    linears: LayerLinears
    following: Norm | None = None
    incoming: Handover = field(default_factory=Handover)
    outgoing: Handover = field(default_factory=Handover)
    further: int = 0
    tables: Tables = field(default_factory=Tables)
    in_turn: bool = False
    _modules: tuple[nn.Module, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._modules = tuple(module for module in self.layer.modules() if module is not self.layer)

    @property
    def layer(self) -> nn.Module:
        """The module."""
        layer = self.owner()
        assert layer is not None, "the layer is gone"
        return layer

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        """In place of the layer's own forward."""
        try:
            place = self.place(hidden_states, args, kwargs)
        except NotFusable:
            self.incoming.take(hidden_states)
            layer = self.layer
            return type(layer).forward(layer, hidden_states, *args, **kwargs)
        output = self.step(hidden_states, place)
        return (output, *[None] * self.further) if self.further else output

    def place(self, hidden_states: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Place:
        """What a call says of the cache.

        Raises:
            NotFusable: The call is not a step that the fused sequence computes.
        """
        if torch.is_grad_enabled() or self.layer.training or args:
            raise NotFusable("gradients, training or positional arguments")
        if hidden_states.dim() != 3 or hidden_states.shape[0] != 1 or hidden_states.shape[1] > MOST_ROWS:
            raise NotFusable("a prefill or a batch")
        for name, value in kwargs.items():
            if name not in _KNOWN_ARGUMENTS and value is not None and value is not False:
                raise NotFusable(f"an argument {name}")
        if any(_listens(module) for module in self._modules):
            raise NotFusable("hooks on its parts")
        cosine = sine = None
        if self.parts.rotates:
            tables = kwargs.get("position_embeddings")
            if not isinstance(tables, tuple) or tables[0].dim() != 3 or tables[0].shape[0] != 1:
                raise NotFusable("no tables of one sequence's positions")
            if self.in_turn:
                tables = self.tables.order(*tables)
            cosine, sine = tables[0][0], tables[1][0]
        return self._place(hidden_states.shape[1], kwargs, cosine, sine)

    def _place(self, rows: int, kwargs: dict[str, Any], cosine: Tensor | None, sine: Tensor | None) -> Place:
        cache, mask = kwargs.get("past_key_values", kwargs.get("layer_past")), kwargs.get("attention_mask")
        if not isinstance(cache, Cache):
            raise NotFusable("no cache")
        index = self.parts.index
        bias: Tensor | None
        counter = factors = None
        if isinstance(cache, StepCache):
            if not cache.buffers.stepping:
                raise NotFusable("no step")
            keys, values = cache.buffers.layer(index)
            position, bias = cache.buffers.position, cache.buffers.key_bias
            if not cache.buffers.uniform:
                bias = _rows_of(mask, rows, keys.shape[-2])
            factors = _factors(cache, index)
        elif "update" in vars(cache):
            raise NotFusable("a cache whose keys are changed on the way")
        else:
            layer = cache.layers[index] if index < len(cache.layers) else None
            if type(layer) is not StaticLayer or layer.keys is None or layer.values is None:
                raise NotFusable("another kind of cache")
            keys, values, position = layer.keys, layer.values, layer.cumulative_length
            bias, counter = _rows_of(mask, rows, keys.shape[-2]), position
        if keys.shape[0] != 1:
            raise NotFusable("several sequences")
        return Place(
            keys=keys[0],
            values=values[0],
            position=position,
            bias=bias,
            cosine=cosine,
            sine=sine,
            key_factors=factors,
            counter=counter,
        )

    def step(self, hidden_states: Tensor, place: Place) -> Tensor:
        """The layer's output (1, rows, size) for hidden states of that shape."""
        parts = self.parts
        rows, size = hidden_states.shape[1:]
        x = hidden_states.reshape(rows, size)
        normed = self.incoming.take(hidden_states)
        normed = apply_norm(x, parts.before_attention) if normed is None else normed
        q, k, v = self.linears.heads(normed)
        attended = self.attend(
            q,
            k,
            v,
            keys=place.keys,
            values=place.values,
            position=place.position,
            cosine=place.cosine,
            sine=place.sine,
            q_norm=parts.q_norm,
            k_norm=parts.k_norm,
            bias=place.bias,
            key_factors=place.key_factors,
        )
        added = self.linears.out(attended)
        if parts.parallel:
            given = x
            x = x + added
            normed = normed if parts.before_mlp is None else apply_norm(given, parts.before_mlp)
        else:
            assert parts.before_mlp is not None, "only blocks side by side share a norm"
            x, normed = add_and_norm(
                added, x, parts.before_mlp, around=parts.after_attention, multiplier=parts.multiplier
            )
        added = self.linears.mlp(normed)
        if place.counter is not None:
            place.counter.add_(rows)
        return self._end(added, x, rows, size)

    def _end(self, added: Tensor, x: Tensor, rows: int, size: int) -> Tensor:
        """The last sum, with the norm that comes next where it is known."""
        norm = self.following
        if norm is None or _listens(self.layer):
            if self.parts.after_mlp is not None:
                added = rms_norm(added, self.parts.after_mlp)
            if self.parts.multiplier != 1.0:
                added = added * self.parts.multiplier
            return (x + added).reshape(1, rows, size)
        total, normed = add_and_norm(
            added, x, norm, around=self.parts.after_mlp, multiplier=self.parts.multiplier
        )
        hidden = total.reshape(1, rows, size)
        self.outgoing.put(hidden, normed)
        return hidden


def assemble(
    layer: nn.Module,
    parts: LayerParts,
    attentions: dict[AttentionRule, DecodeAttention],
    *,
    products: bool = True,
    int8: Int8 = "weight-only",
    tables: Tables | None = None,
) -> FusedLayer:
    """A layer's fused form; nothing is replaced yet.

    Args:
        layer: The module.
        parts: It, taken apart.
        attentions: Attention kernels that there are already; one is added where it is missing.
        products: Whether linear layers become products of the kernels where they can.
        int8: What an int8 layer computes; see :mod:`inference.kernels.linears`.
        tables: Shared by all layers of a model.
    """
    return FusedLayer(
        owner=weakref.ref(layer),
        parts=parts,
        attend=attentions.setdefault(parts.rule, DecodeAttention(parts.rule)),
        linears=layer_linears(parts, products=products, int8=int8),
        tables=tables or Tables(),
    )


def _factors(cache: StepCache, index: int) -> Tensor | None:
    """What the scores of each key are multiplied by in a layer."""
    if cache.buffers.scaled is None:
        if "update" in vars(cache):
            raise NotFusable("a cache whose keys are changed on the way")
        return None
    factors, layers = cache.buffers.scaled
    return factors if layers is None or layers[0] <= index <= layers[1] else None


def _rows_of(mask: Tensor | None, rows: int, positions: int) -> Tensor:
    """A mask (1, 1, rows, positions) that is the same for all heads, as (rows, positions)."""
    if mask is None or mask.shape != (1, 1, rows, positions):
        raise NotFusable("no mask over the whole cache")
    return mask[0, 0]


def _listens(module: nn.Module) -> bool:
    """Whether a module has hooks that act.

    transformers hangs one on every attention block when outputs are first recorded and leaves it there; it
    does something only while a model's call records.
    """
    if not module._forward_pre_hooks and not module._forward_hooks:
        return False
    hooks = [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]
    if any(getattr(hook, "__module__", "") != "transformers.utils.output_capturing" for hook in hooks):
        return True
    from transformers.utils import output_capturing

    collector = getattr(output_capturing, "_active_collector", None)
    return collector is None or bool(collector.get())
