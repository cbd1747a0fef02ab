"""The KV cache as buffers that the engine owns.

transformers' dynamic cache makes a new tensor for every layer at every token. Here a full-attention layer
writes into a buffer that grows in steps and hands out views of it, so a step moves no old keys, and the
buffer stays where it is. Layers of other kinds (sliding windows, recurrent states) keep transformers' own
classes.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from torch import Tensor
from transformers.cache_utils import (
    Cache,
    DynamicCache,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionCacheLayerMixin,
)

#: Positions by which a buffer grows at least.
_STEP = 256


class BufferedLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values (batch, heads, positions, head size) of one full-attention layer, written in place.

    Args:
        limit: Positions that are never exceeded, so that a long text does not reserve more than its context.
    """

    def __init__(self, *, limit: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]
        self._limit = limit
        self.length = 0
        self._buffers: tuple[Tensor, Tensor] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append the new positions; returns views of all positions."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self.length + key_states.shape[-2]
        if self._buffers is None or end > self._buffers[0].shape[-2]:
            self._buffers = self._grown(key_states, value_states, end)
        keys, values = self._buffers
        keys[:, :, self.length : end] = key_states
        values[:, :, self.length : end] = value_states
        self.length = end
        self.keys, self.values = keys[:, :, :end], values[:, :, :end]
        return self.keys, self.values

    def _grown(self, key_states: Tensor, value_states: Tensor, needed: int) -> tuple[Tensor, Tensor]:
        """Larger buffers with the old content, a quarter larger than needed so that growing stays rare."""
        positions = -(-(needed + needed // 4) // _STEP) * _STEP
        if self._limit is not None:
            positions = max(needed, min(positions, self._limit))
        grown = []
        for held, new in ((self.keys, key_states), (self.values, value_states)):
            buffer = new.new_empty((*new.shape[:2], positions, new.shape[3]))
            if held is not None and self.length:
                buffer[:, :, : self.length] = held
            grown.append(buffer)
        return grown[0], grown[1]

    def get_seq_length(self) -> int:
        """Positions in the cache."""
        return self.length

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last ``-tokens_to_remove`` positions; the buffer stays."""
        super().crop(tokens_to_remove)
        if self.keys is not None:
            self.length = self.keys.shape[-2]

    def reset(self) -> None:
        """Forget everything and free the buffers."""
        super().reset()
        self.length, self._buffers = 0, None

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat along the batch; the views become tensors of their own until the next update."""
        super().batch_repeat_interleave(repeats)
        self._buffers = None

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep some rows of the batch."""
        super().batch_select_indices(indices)
        self._buffers = None

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Put the rows of the batch into another order."""
        super().reorder_cache(beam_idx)
        self._buffers = None

    def bytes(self) -> int:
        """Memory of the buffers."""
        return sum(buffer.untyped_storage().nbytes() for buffer in self._buffers or ())


class RecomputingCache:
    """Stands in for a cache where an architecture has none that transformers can continue: it keeps the
    ids, and every step reads them all again. Correct for every model, and slow.
    """

    def __init__(self) -> None:
        self.ids: Tensor | None = None

    def extended(self, ids: Tensor) -> Tensor:
        """All ids (1, positions) including the new ones."""
        self.ids = ids if self.ids is None else torch.cat([self.ids, ids], dim=-1)
        return self.ids

    def get_seq_length(self) -> int:
        """Positions so far."""
        return 0 if self.ids is None else int(self.ids.shape[-1])

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last ``-tokens_to_remove`` ids."""
        if self.ids is not None and tokens_to_remove:
            self.ids = self.ids[:, : self.get_seq_length() + tokens_to_remove]


#: Either kind of cache.
EngineCache: TypeAlias = Cache | RecomputingCache


def new_cache(config: Any, *, limit: int | None = None) -> Cache:
    """An empty cache with the layer kinds of a model's configuration, for at most ``limit`` positions."""
    cache = DynamicCache(config=config)
    cache.layers = [
        BufferedLayer(limit=limit) if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    if cache.layer_class_to_replicate is DynamicLayer:
        cache.layer_class_to_replicate = BufferedLayer
    return cache


def cache_bytes(cache: EngineCache | None) -> int:
    """Memory that a cache holds."""
    if not isinstance(cache, Cache):
        return 0
    total = 0
    for layer in cache.layers:
        if isinstance(layer, BufferedLayer):
            total += layer.bytes()
            continue
        tensors = [getattr(layer, "keys", None), getattr(layer, "values", None)]
        for states in (getattr(layer, "conv_states", {}), getattr(layer, "recurrent_states", {})):
            tensors += states.values() if isinstance(states, dict) else [states]
        total += sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor is not None)
    return total


def can_crop(cache: EngineCache) -> bool:
    """Whether the cache can be made shorter so that nothing of what is cut off is left in it.

    A sliding-window layer has dropped keys once it is full, and a recurrent state can't be taken back.
    """
    if isinstance(cache, RecomputingCache):
        return True
    for layer in cache.layers:
        if isinstance(layer, DynamicSlidingWindowLayer):
            if layer.get_seq_length() >= layer.sliding_window:
                return False
        elif isinstance(layer, LinearAttentionCacheLayerMixin) or not layer.is_croppable:
            return False
    return True


def crop(cache: EngineCache, length: int) -> None:
    """Cut the cache to ``length`` positions (transformers' ``crop`` takes the negative number to remove)."""
    surplus = cache.get_seq_length() - length
    if surplus > 0:
        cache.crop(-surplus)
