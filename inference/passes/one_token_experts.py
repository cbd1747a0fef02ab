"""Mixtures of experts for one token: only the chosen experts' weights are read, each as one product.

transformers marks the modules that hold all experts' weights of a layer, and says how they lie (gated or not,
transposed, with biases); that is all that is read here, so no family is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function_unary

from inference.passes.packed_linear import Product, product

_MARKS = ("has_gate", "has_bias", "is_transposed", "_apply_gate")


def mixture(module: Any, hidden: Tensor, chosen: Tensor, shares: Tensor) -> Any:
    """What the module says of (tokens, hidden), as one call where calls of torch are recorded."""
    if has_torch_function_unary(hidden):
        return handle_torch_function(mixture, (hidden,), module, hidden, chosen, shares)
    return type(module).forward(module, hidden, chosen, shares)


@contextmanager
def as_one_call(model: nn.Module) -> Iterator[None]:
    """While this is open, the experts of each layer are called by :func:`mixture`."""
    with ExitStack() as stack:
        for module in model.modules():
            if _known(module):
                module.forward = partial(mixture, module)
                stack.callback(module.__dict__.pop, "forward")
        yield


def _known(module: Any) -> bool:
    marked = all(hasattr(module, mark) for mark in _MARKS) and hasattr(module, "down_proj")
    return marked and not getattr(module, "has_post_expert_norm", False) and module.down_proj.dim() == 3


class OneTokenExperts:
    """The experts of one layer.

    Args:
        module: Of transformers, with all experts' weights.
        copy: Whether a packed copy of them may be made.

    Attributes:
        copied: Bytes of the packed copy.
    """

    def __init__(self, module: Any, *, copy: bool) -> None:
        self._gate: Callable[[Tensor], Tensor] = module._apply_gate if module.has_gate else module.act_fn
        widen = "gate_up_proj" if module.has_gate else "up_proj"
        self.copied = 0
        self._experts = [
            (self._product(module, widen, number, copy), self._product(module, "down_proj", number, copy))
            for number in range(len(module.down_proj))
        ]

    def __call__(self, hidden: Tensor, chosen: Tensor, shares: Tensor) -> Tensor:
        """Sum of what the chosen experts say of (1, hidden), by their shares; ``chosen`` is (1, k)."""
        total: Tensor | None = None
        for number, share in zip(chosen[0].tolist(), shares[0].tolist(), strict=True):
            widen, narrow = self._experts[number]
            said = narrow(self._gate(widen(hidden))).mul_(share)
            total = said if total is None else total.add_(said)
        assert total is not None
        return total

    def _product(self, module: Any, name: str, number: int, copy: bool) -> Product:
        weight = getattr(module, name)[number]
        bias = getattr(module, f"{name}_bias")[number] if module.has_bias else None
        made, copied = product([weight.t() if module.is_transposed else weight], [bias], copy=copy)
        self.copied += copied
        return made
