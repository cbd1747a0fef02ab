"""Attention factors for models that make their masks themselves: added to the scores of each softmax.

Bloom and Falcon take ALiBi's slopes from a two-dimensional mask and MPT reads any mask as yes or no, so a
mask can't carry a factor there. Their scores all end in ``softmax`` or ``scaled_dot_product_attention``,
which torch lets a mode see; within a layer of the range the bias is added there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from inference.passes.attention_masks import decoder_layers


class _BiasedScores(TorchFunctionMode):
    """Adds a bias (batch, 1, 1, keys) to the attention scores while ``active``."""

    def __init__(self, bias: Tensor) -> None:
        super().__init__()
        self.active = False
        self._bias = bias

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if not self.active or name not in ("softmax", "scaled_dot_product_attention"):
            return func(*args, **named)
        if name == "softmax":
            scores = args[0]
            return func(scores + self._columns(scores.shape[-1], scores), *args[1:], **named)
        query, key = args[:2]
        mask = named.pop("attn_mask", None)
        if mask is None:
            shape = (query.shape[-2], key.shape[-2])
            visible = torch.ones(shape, dtype=torch.bool, device=query.device)
            if named.pop("is_causal", False):
                visible = visible.tril()
            mask = torch.where(visible, 0.0, torch.finfo(query.dtype).min).to(query.dtype)
        return func(*args, attn_mask=mask + self._columns(key.shape[-2], mask), **named)

    def _columns(self, count: int, like: Tensor) -> Tensor:
        kept = self._bias[..., :count]
        return nn.functional.pad(kept, (0, count - kept.shape[-1])).to(like)


@contextmanager
def biased_scores(model: nn.Module, bias: Tensor, layers: tuple[int, int] | None) -> Iterator[None]:
    """Within the block, attention scores of each key column are raised by its bias.

    Args:
        model: A causal language model; it must be called without a mask.
        bias: (batch, keys), may carry a gradient; keys after the last have bias 0.
        layers: First and last layer, both included; None is all.
    """
    mode = _BiasedScores(bias[:, None, None, :])

    def enter(*_: Any) -> None:
        mode.active = True

    def leave(*_: Any) -> None:
        mode.active = False

    with ExitStack() as stack:
        for index, layer in enumerate(decoder_layers(model)):
            if layers is None or layers[0] <= index <= layers[1]:
                stack.callback(layer.register_forward_pre_hook(enter).remove)
                stack.callback(layer.register_forward_hook(leave).remove)
        stack.enter_context(mode)
        yield
