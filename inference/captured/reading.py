"""The forward pass of a step: fixed shapes, places from the device, attention factors in every form."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from inference.captured.buffers import StepCache, scaled_updates
from inference.events import SteeringMode
from inference.passes.attention_masks import Masks, mask_layout, masks_in_layers, visible_keys
from inference.passes.kv_cache import new_cache
from inference.steering import log_bias

if TYPE_CHECKING:
    from inference.models.loaded_model import LoadedModel

#: How attention factors act: the mode, and the layers (None: all). Each form is another graph.
Form = tuple[SteeringMode, tuple[int, int] | None]
PLAIN_FORM: Form = ("log-additive", None)


class StepReading:
    """Calls a model on tokens at the cache's position.

    Attributes:
        cache: That the step works on; a prefill uses it like any other.
        form: How attention factors act now.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self._model: Any = loaded.model
        self.config: Any = loaded.model.config
        self._dtype = loaded.dtype
        self._layout = mask_layout(loaded.model.config)
        parameters = inspect.signature(self._model.forward).parameters
        self._keeps = "logits_to_keep" in parameters
        self._positions = "position_ids" in parameters
        layers = len(new_cache(self._model.config).layers)
        self.cache = StepCache(layers, loaded.context_length, loaded.device)
        self.buffers = self.cache.buffers
        self.form = PLAIN_FORM
        self._columns: Tensor | None = None
        # Held until the device has long had them: whether memory is free again is not left to the allocator
        # of pinned memory, which a capture that failed may leave in its pool.
        self._on_their_way: deque[tuple[Tensor, Tensor]] = deque(maxlen=4)

    def buffers_moved(self) -> None:
        """They have another size now."""
        self._columns = torch.arange(self.buffers.bucket, device=self.buffers.device)

    def row(self) -> Tensor:
        """(bucket,) what acts on each key: a bias, or by how much its scores are scaled beyond 1."""
        return self.buffers.key_bias if self.form[0] == "log-additive" else self.buffers.key_scale

    def set_factors(self, factors: Sequence[float], form: Form, last: int, *, pinned: bool) -> Tensor:
        """Let attention factors act, without waiting for the device.

        Args:
            factors: By position, 1 for all others.
            form: How they act.
            last: A position.
            pinned: Whether to copy from pinned memory.

        Returns:
            (1,) on the host: what acts on the key of ``last``.
        """
        self.form = form
        values = (
            [log_bias(each) for each in factors] if form[0] == "log-additive" else [f - 1.0 for f in factors]
        )
        row = torch.zeros(self.buffers.bucket)
        row[: len(values)] = torch.tensor(values, dtype=torch.float32)
        own = row[last : last + 1].clone()
        if pinned:
            row, own = row.pin_memory(), own.pin_memory()
            self._on_their_way.append((row, own))
        self.buffers.key_bias.zero_()
        self.row().copy_(row, non_blocking=True)
        return own

    def __call__(self, tokens: Tensor, own_bias: Tensor) -> Tensor:
        """Read tokens at the cache's position; what is captured.

        Args:
            tokens: (1, rows).
            own_bias: (1,), what acts on the key of a token that is read alone.

        Returns:
            (rows, vocabulary) logits.
        """
        buffers, rows = self.buffers, tokens.shape[1]
        with buffers.step(rows) as places:
            if rows == 1:
                self.row().index_copy_(0, buffers.position, own_bias)
            arguments: dict[str, Any] = {"input_ids": tokens}
            if self._keeps:
                arguments["logits_to_keep"] = rows
            if self._positions:
                arguments["position_ids"] = places[None]
            mask = self._mask(places, buffers.key_bias)
            with self._steered(mask, places):
                output = self._model(
                    attention_mask=mask, past_key_values=self.cache, use_cache=True, **arguments
                )
            logits: Tensor = output.logits[0, -rows:]
            return logits

    @contextmanager
    def _steered(self, mask: Masks, places: Tensor) -> Iterator[None]:
        """Within the block the forward pass feels the factors in the present form."""
        mode, layers = self.form
        if mode == "multiplicative":
            with scaled_updates(self.cache, 1.0 + self.buffers.key_scale, layers):
                yield
        elif layers is not None:
            neutral = self._mask(places, torch.zeros_like(self.buffers.key_bias))
            self.buffers.uniform = False
            try:
                with masks_in_layers(self._model, mask, neutral, layers):
                    yield
            finally:
                self.buffers.uniform = True
        else:
            yield

    def _mask(self, places: Tensor, bias: Tensor) -> Masks:
        """(1, 1, rows, bucket): what a layer may see, with the keys' biases; one for each kind of layer."""
        assert self._columns is not None
        queries, keys = places[:, None], self._columns[None]
        bias, hidden = bias.to(self._dtype), torch.finfo(self._dtype).min
        masks = {
            kind: torch.where(
                visible_keys(self._layout, kind, window, queries=queries, keys=keys), bias, hidden
            )[None, None]
            for kind, window in self._layout.windows
        }
        single = masks.get(None)
        return single if single is not None else {str(kind): mask for kind, mask in masks.items()}
