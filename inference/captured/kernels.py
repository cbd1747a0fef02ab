"""The kernels that make a step fast, put into a model: products of quantized weights, fused layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inference.models.loaded_model import LoadedModel


@dataclass(slots=True)
class Kernels:
    """What runs in kernels of our own: number of linear layers, and one sentence about the others."""

    linears: int = 0
    kept: int = 0
    layers: str = ""
    _undo: list[Callable[[], None]] = field(default_factory=list)

    def uninstall(self) -> None:
        """Give the model its own forward back."""
        while self._undo:
            self._undo.pop()()


def install(loaded: LoadedModel) -> Kernels:
    """Install all that this model and this GPU allow; what they don't stays as it is."""
    from inference.kernels import fused_layers, linears

    products = linears.install(loaded.model, int8=loaded.int8)
    fused = fused_layers.install(loaded.model, int8=loaded.int8)
    # Last in, first out: a fused layer has looked at its linear layers.
    undo: list[Callable[[], None]] = [products.uninstall, fused.uninstall]
    return Kernels(len(products.products), len(products.kept), fused.summary(), undo)
