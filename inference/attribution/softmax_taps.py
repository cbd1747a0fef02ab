"""Follow a suppression exactly through the softmax of each attention, and linearly from there on.

Suppressing keys multiplies their attention weights ``a_k`` by ``r_k`` and renormalises, so a head's output
moves by ``1/Z * sum_k (r_k - 1) a_k (v_k - o)`` with ``Z = 1 - sum_k (1 - r_k) a_k``. With ``s_k`` the
scores, ``a_k g.(v_k - o)`` is the derivative of the target's log-probability with respect to ``s_k``,
which the backward pass hands out. The plain first-order estimate takes ``-ln r_k`` in place of ``(1 -
r_k)/Z`` and so misses keys that hold nearly all of a head's attention, where the derivative is small
although removing them moves everything. The same correction is known for activation patching as AtP*
(Kramar et al. 2024, arXiv:2403.00745, "QK fix").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from inference.errors import NotAvailable
from inference.inspection.attention_maps import attention_of, eager_attention
from inference.passes.attention_masks import decoder_layers

#: Bytes of float32 that are worked on at once.
_AT_ONCE = 2**28

#: Where all of a query's keys are suppressed Z is 0, and so is the numerator: such a query sees what it
#: saw before.
_SMALLEST = 1e-3


class SoftmaxTaps:
    """Collects what suppressing each segment does, during the backward passes of one reading.

    Args:
        segments: The tokens of each segment.
        factor: What a segment is suppressed by; or
        factors: (segments, keys), where related tokens have factors of their own.
        length: Keys of the context.
        device: Where the model's attention is computed.
    """

    def __init__(
        self,
        segments: Sequence[Sequence[int]],
        factor: float,
        factors: Tensor | None,
        length: int,
        device: torch.device,
    ) -> None:
        self.anchor = torch.zeros((), device=device, requires_grad=True)
        self._length, self._count = length, len(segments)
        self._lost = 1.0 - factor
        self._dense = None if factors is None else (1.0 - factors).T.to(device)
        owned = [(token, number) for number, tokens in enumerate(segments) for token in tokens]
        self._tokens = torch.tensor([token for token, _ in owned], device=device)
        self._owners = torch.tensor([number for _, number in owned], device=device)
        # The tokens are mostly one stretch of text: no copy of it is needed then.
        first = owned[0][0]
        in_a_row = [token for token, _ in owned] == list(range(first, first + len(owned)))
        self._stretch = slice(first, first + len(owned)) if in_a_row else None
        self._weights: dict[int, Tensor] = {}
        self._recomputed = False
        self._total: Tensor | None = None

    def attach(
        self, model: Any, layers: tuple[int, int] | None, stack: ExitStack, *, recomputed: bool = False
    ) -> None:
        """Switch the model to eager attention and tap layers' masks and weights until the stack is left.

        Args:
            model: A causal language model.
            layers: First and last layer, both included; None is all.
            stack: What undoes it.
            recomputed: Layers are computed again in the backward pass: weights are heard then, and kept no
                longer than a layer takes.
        """
        self._recomputed = recomputed
        stack.enter_context(eager_attention(model))
        heads = int(model.config.get_text_config(decoder=True).num_attention_heads)
        for number, layer in enumerate(decoder_layers(model)):
            if layers is not None and not layers[0] <= number <= layers[1]:
                continue
            try:
                module = attention_of(layer)
            except NotAvailable:
                continue  # a layer of another kind
            before = module.register_forward_pre_hook(self._before(number, heads), with_kwargs=True)
            after = module.register_forward_hook(self._after(number))
            stack.callback(before.remove)
            stack.callback(after.remove)

    def take(self) -> Tensor:
        """(segments,) scores collected since the last time.

        Raises:
            NotAvailable: The architecture did not pass its masks or weights along.
        """
        total, self._total = self._total, None
        if total is None:
            raise NotAvailable("This architecture does not tell its attention weights.")
        return total.float().cpu()

    def collect(self, number: int, slopes: Tensor) -> None:
        """Take in the derivatives (1, heads, queries, keys) by the scores of a layer."""
        take = self._weights.pop if self._recomputed else self._weights.get
        weights = take(number, None)
        if weights is None:
            return
        size = max(1, _AT_ONCE // (4 * weights.shape[-1] * weights.shape[-2]))
        for first in range(0, weights.shape[1], size):
            heads = slice(first, first + size)
            moved, mass = (self._by_segment(each[0, heads].float()) for each in (slopes, weights))
            part = (moved / (1.0 - mass).clamp_(min=_SMALLEST)).sum((0, 1)).to(self.anchor.device)
            self._total = part if self._total is None else self._total + part

    def _by_segment(self, values: Tensor) -> Tensor:
        """(heads, queries, keys) -> (heads, queries, segments), each key by what of it is lost."""
        if self._dense is not None:
            return values[..., : self._length] @ self._dense.to(values.device)
        tokens, owners = self._tokens.to(values.device), self._owners.to(values.device)
        owned = values[..., tokens] if self._stretch is None else values[..., self._stretch]
        if len(tokens) == self._count:
            return owned * self._lost
        sums = values.new_zeros(*values.shape[:2], self._count)
        return sums.index_add_(-1, owners, owned) * self._lost

    def _before(self, number: int, heads: int) -> Callable[..., Any]:
        def hook(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            def tapped(value: Any) -> Any:
                is_mask = isinstance(value, Tensor) and value.dim() == 4 and value.is_floating_point()
                if not is_mask or value.shape[1] not in (1, heads):
                    return value
                return _Tap.apply(self.anchor, value, heads, self, number)  # type: ignore[no-untyped-call]

            return tuple(map(tapped, args)), {name: tapped(value) for name, value in named.items()}

        return hook

    def _after(self, number: int) -> Callable[..., None]:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            # A layer that will be computed again is heard when it is, within the backward pass.
            if self._recomputed and torch._C._current_graph_task_id() == -1:
                return
            found = [each for each in output if isinstance(each, Tensor) and each.dim() == 4]
            if found:
                self._weights[number] = found[0].detach()

        return hook


class _Tap(torch.autograd.Function):
    """Passes a mask on, one copy a head, and hears the derivative by the scores that it is added to."""

    @staticmethod
    def forward(
        context: Any, anchor: Tensor, mask: Tensor, heads: int, taps: SoftmaxTaps, number: int
    ) -> Tensor:
        context.taps, context.number = taps, number
        return mask.detach().expand(-1, heads, -1, -1)

    @staticmethod
    def backward(context: Any, slopes: Tensor) -> tuple[Tensor, None, None, None, None]:
        context.taps.collect(context.number, slopes)
        return slopes.new_zeros((), dtype=torch.float32), None, None, None, None
