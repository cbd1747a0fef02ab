"""Says once when a GPU is there and cannot be used, so that nobody wonders why a model is slow."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, Slot

from app.reporting import Report
from inference.events import ModelLoaded


class DriverController(QObject):
    """Looks when the first model was loaded on the CPU; torch is there by then.

    Args:
        faults: Told what keeps the GPU from being used.
        find_problem: Gives the sentence; empty if there is nothing to say.
    """

    def __init__(
        self, *, faults: Report, find_problem: Callable[[], str], parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._faults, self._find_problem = faults, find_problem
        self._looked = False

    @Slot(object)
    def note_model(self, loaded: ModelLoaded | None) -> None:
        """A model was loaded, or unloaded."""
        if loaded is None or self._looked or loaded.device != "cpu":
            return
        self._looked = True
        if problem := self._find_problem():
            self._faults(
                kind="gpu-unusable",
                message=f"{problem} Models run on the CPU.",
                hint="Install a newer driver from NVIDIA or your system, then start Model Loupe again.",
            )
