"""A layer of a KV cache that many readings share and none of them changes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer


class PrefixLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """A layer's keys and values of a shared prefix: expanded to the batch when they are used, never added
    to.
    """

    def __init__(self, keys: Tensor | None, values: Tensor | None, start: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.is_initialized = True
        self._prefix_keys = keys[:, :, :start] if keys is not None and start else None
        self._prefix_values = values[:, :, :start] if values is not None and start else None
        self._length = start

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        if self._prefix_keys is None or self._prefix_values is None:
            return key_states, value_states
        rows = len(key_states)
        return (
            torch.cat([self._prefix_keys.expand(rows, -1, -1, -1), key_states], dim=-2),
            torch.cat([self._prefix_values.expand(rows, -1, -1, -1), value_states], dim=-2),
        )

    def get_seq_length(self) -> int:
        return self._length

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._length + query_length, 0
