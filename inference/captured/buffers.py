"""The buffers that a decode step of fixed shapes works on, and the cache that writes into them.

A prefill and the plain loop use the cache like any other: views of the valid positions, which grow. A
*step* (:attr:`StepBuffers.stepping` is True for the time of its forward pass) has fixed shapes and fixed
addresses, so that it can be captured in a CUDA graph: keys are written where :attr:`StepBuffers.position`
says, and attention gets whole buffers and a mask.

A fused layer or attention kernel that is installed in a model finds all of this through the cache that the
model hands to its layers::

    cache = kwargs["past_key_values"]
    if isinstance(cache, StepCache) and cache.buffers.stepping and cache.buffers.uniform:
        keys, values = cache.buffers.layer(self.layer_idx)
        position, bias = cache.buffers.position, cache.buffers.key_bias

* ``keys`` and ``values`` are (1, kv_heads, bucket, head_dim) each, contiguous, to be written in place: row
  ``r`` of the step goes to ``position + r``;
* ``position`` is (1,) int64 on the device, the place of the step's first row; it is the same for all layers
  of a step and is moved on after the last one. The query of row ``r`` sees the keys 0 .. position + r;
* ``bias`` is (bucket,) float32, added to the scaled scores of each key column: 0 for keys that nothing
  steers, -1e4 for erased ones.

The model also gets the same in transformers' form: ``attention_mask`` (1, 1, rows, bucket), additive, in the
model's dtype, and ``position_ids`` (1, rows). Where ``uniform`` is False (factors in some layers only), that
mask acts and not ``key_bias``. Where ``scaled`` is set, the scores of each key are multiplied by its factor
in those layers. Where ``"update" in vars(cache)`` without that, keys are changed on their way to attention
in a way that only what ``cache.update`` returns tells. The buffers move (``generation`` counts it) only when
they grow, never in a step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from inference.passes.kv_cache import BufferedLayer

#: The smallest number of positions that is reserved; buckets are this times a power of two.
SMALLEST_BUCKET = 1024


def bucket_for(positions: int, limit: int) -> int:
    """The bucket that holds so many positions, of a model whose context has ``limit`` of them."""
    bucket = SMALLEST_BUCKET
    while bucket < positions:
        bucket *= 2
    return max(positions, min(bucket, limit))


class StepBuffers:
    """Keys, values and positions of one sequence.

    Attributes:
        limit: Positions of the model's context.
        bucket: Positions that are reserved; 0 before the first use.
        generation: Goes up whenever a buffer has moved; what was captured before is void then.
        position: (1,) int64, where the step's first row writes its key.
        key_bias: (bucket,) float32, added to the scores of each key column.
        key_scale: (bucket,) float32, by how much the scores of each key column are scaled beyond 1, in the
            multiplicative mode.
        stepping: Whether the forward pass that runs now is a step.
        uniform: Whether ``key_bias`` acts in all layers.
        scaled: Within :func:`scaled_updates`: the factors (bucket,) of the keys, and the first and last layer
            that they act in (None: all).
    """

    def __init__(self, limit: int, device: torch.device) -> None:
        self.limit = limit
        self.device = device
        self.bucket = 0
        self.generation = 0
        self.position = torch.zeros(1, dtype=torch.long, device=device)
        self.key_bias = torch.zeros(0, device=device)
        self.key_scale = torch.zeros(0, device=device)
        self.stepping = False
        self.uniform = True
        self.scaled: tuple[Tensor, tuple[int, int] | None] | None = None
        self.layers: list[StepLayer] = []
        self._rows: dict[int, Tensor] = {}
        self._places: Tensor | None = None

    def layer(self, index: int) -> tuple[Tensor, Tensor]:
        """Keys and values (1, kv_heads, bucket, head_dim) of a layer: the buffers themselves."""
        buffers = self.layers[index].buffers
        assert buffers is not None, "nothing has been read yet"
        return buffers

    @property
    def places(self) -> Tensor:
        """(rows,) int64: where the running step writes its keys."""
        assert self._places is not None, "only within a step"
        return self._places

    def reserve(self, positions: int) -> None:
        """Have room for so many positions; what is there is copied where the buffers have to move."""
        if positions <= self.bucket:
            return
        bucket = bucket_for(positions, self.limit)
        try:
            for layer in self.layers:
                layer.move(bucket)
        except RuntimeError:  # no memory: half of them have moved
            self.free()
            raise
        more = bucket - self.bucket
        self.key_bias = torch.nn.functional.pad(self.key_bias, (0, more))
        self.key_scale = torch.nn.functional.pad(self.key_scale, (0, more))
        self.bucket = bucket
        self.generation += 1

    @contextmanager
    def step(self, rows: int) -> Iterator[Tensor]:
        """Within the block, a forward pass of ``rows`` tokens is a step; yields their positions (rows,)."""
        if rows not in self._rows:
            self._rows[rows] = torch.arange(rows, device=self.device)
        self._places = self._rows[rows] + self.position
        self.stepping = True
        try:
            yield self._places
        finally:
            self.stepping, self._places = False, None

    def settle(self, length: int) -> None:
        """So many positions are valid now; steps move only ``position``, the lengths follow here."""
        for layer in self.layers:
            layer.settle(length)

    def free(self) -> None:
        """Let go of all buffers and what they hold."""
        for layer in self.layers:
            layer.free()
        self.key_bias = self.key_scale = self.key_bias.new_zeros(0)
        self.bucket = 0
        self.generation += 1

    def bytes(self) -> int:
        """Memory of all buffers."""
        return sum(layer.bytes() for layer in self.layers) + self.key_bias.nbytes + self.key_scale.nbytes


class StepLayer(BufferedLayer):  # type: ignore[no-untyped-call]
    """Keys and values of one layer in buffers of a fixed bucket."""

    def __init__(self, shared: StepBuffers, **kwargs: Any) -> None:
        super().__init__(limit=shared.limit, **kwargs)
        self._shared = shared

    @property
    def buffers(self) -> tuple[Tensor, Tensor] | None:
        """Keys and values (1, kv_heads, bucket, head_dim); None before the first use."""
        return self._buffers

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write new positions; returns views of the valid ones, or in a step the whole buffers."""
        if self._shared.stepping:
            assert self._buffers is not None, "a step needs a prefix"
            keys, values = self._buffers
            keys.index_copy_(2, self._shared.places, key_states)
            values.index_copy_(2, self._shared.places, value_states)
            return keys, values
        self._shared.reserve(self.length + key_states.shape[-2])
        if self._buffers is None:
            self._buffers = tuple(  # type: ignore[assignment]
                new.new_zeros((*new.shape[:2], self._shared.bucket, new.shape[3]))
                for new in (key_states, value_states)
            )
            self._shared.generation += 1
        return super().update(key_states, value_states)

    def move(self, bucket: int) -> None:
        """Into buffers of another size, with what they hold."""
        if self._buffers is None:
            return
        moved = []
        for old in self._buffers:
            # Zeros: what no token has written yet is masked, but a NaN times a weight of 0 would be NaN.
            new = old.new_zeros((*old.shape[:2], bucket, old.shape[3]))
            new[:, :, : old.shape[2]] = old
            moved.append(new)
        self._buffers = (moved[0], moved[1])
        self.settle(self.length)

    def settle(self, length: int) -> None:
        """So many positions are valid."""
        if self._buffers is None:
            return
        keys, values = self._buffers
        self.length = length
        self.keys, self.values = keys[:, :, :length], values[:, :, :length]

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last ``-tokens_to_remove`` positions; the buffer stays."""
        self.settle(max(0, self.length + tokens_to_remove))

    def reset(self) -> None:
        """Forget everything; the buffer stays, so that what was captured on it does."""
        self.settle(0)

    def free(self) -> None:
        """Let go of the buffers."""
        self._buffers = self.keys = self.values = None
        self.is_initialized, self.length = False, 0

    def get_seq_length(self) -> int:
        """Positions in the cache; in a step a tensor, so that no number of this moment is captured."""
        return self._shared.position[0] if self._shared.stepping else self.length  # type: ignore[return-value]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Number of keys that attention gets, and the first one's position."""
        if self._shared.stepping:
            return self._shared.bucket, 0
        return super().get_mask_sizes(query_length)


class StepCache(Cache):
    """A cache over :class:`StepBuffers`. Layers with a sliding window keep all keys, too, and masks hide what
    is outside of it: so their buffers have fixed places, and what was read can be taken back.
    """

    def __init__(self, layers: int, limit: int, device: torch.device) -> None:
        self.buffers = StepBuffers(limit, device)
        self.buffers.layers = [StepLayer(self.buffers) for _ in range(layers)]
        super().__init__(layers=list(self.buffers.layers))


@contextmanager
def scaled_updates(cache: StepCache, factors: Tensor, layers: tuple[int, int] | None) -> Iterator[None]:
    """Within the block a step's attention sees each key times its factor; the buffers stay as they are.

    Args:
        cache: Of the step.
        factors: (bucket,).
        layers: First and last layer, both included; None is all.
    """
    plain_update = cache.update

    def update(keys: Tensor, values: Tensor, layer: int, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        keys, values = plain_update(keys, values, layer, *args, **kwargs)
        if layers is None or layers[0] <= layer <= layers[1]:
            keys = keys * factors[None, None, :, None].to(keys)
        return keys, values

    cache.update = update  # type: ignore[assignment, method-assign]
    cache.buffers.scaled = factors, layers
    try:
        yield
    finally:
        cache.buffers.scaled = None
        del cache.update
