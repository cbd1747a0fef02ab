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
    #: Fused layers were set aside: layers are called again, one by one.
    aside: bool = False
    _undo: list[Callable[[], None]] = field(default_factory=list)
    _undo_layers: list[Callable[[], None]] = field(default_factory=list)

    def uninstall(self) -> None:
        """Give the model its own forward back."""
        for undo in (self._undo_layers, self._undo):  # a fused layer has looked at its linear layers
            while undo:
                undo.pop()()
        self.aside = False

    def set_layers_aside(self) -> None:
        """Let every layer be called as it is written, for who listens to it."""
        if self._undo_layers:
            self._undo_layers.pop()()
            self.aside = True

    def restore_layers(self, loaded: LoadedModel) -> None:
        """Fuse the layers again that were set aside; they are tried again, too."""
        if self.aside:
            self._fuse(loaded)
            self.aside = False

    def _fuse(self, loaded: LoadedModel) -> None:
        from inference.kernels import fused_layers

        fused = fused_layers.install(loaded.model, int8=loaded.int8)
        self.layers = fused.summary()
        if fused.fused:
            self._undo_layers.append(fused.uninstall)


def install(loaded: LoadedModel) -> Kernels:
    """Install all that this model and this GPU allow; what they don't stays as it is."""
    from inference.kernels import linears

    products = linears.install(loaded.model, int8=loaded.int8)
    installed = Kernels(len(products.products), len(products.kept), _undo=[products.uninstall])
    installed._fuse(loaded)
    return installed
