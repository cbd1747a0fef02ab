"""The draft model: which one guesses ahead for the loaded model, or why none does."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from inference.events import DraftLoaded
from views.models.faults import Fault


class DraftModel(QObject):
    """The app writes, the model card shows.

    Signals:
        changed: No argument; read :attr:`loaded`, :attr:`loading` and :attr:`fault`.
    """

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._loaded: DraftLoaded | None = None
        self._loading = ""
        self._fault: Fault | None = None

    @property
    def loaded(self) -> DraftLoaded | None:
        """The draft model that guesses ahead."""
        return self._loaded

    @property
    def loading(self) -> str:
        """Source of the one that is on its way; "" when none is."""
        return self._loading

    @property
    def fault(self) -> Fault | None:
        """Why the last one that was chosen can't be used."""
        return self._fault

    @property
    def source(self) -> str:
        """Source of the one that is chosen; "" for none."""
        return self._loading or (self._loaded.model if self._loaded is not None else "")

    def set_loading(self, source: str) -> None:
        """A draft model is being loaded."""
        self._set(None, source, None)

    def set_loaded(self, loaded: DraftLoaded) -> None:
        """A draft model is ready; one without a name: there is none any more."""
        self._set(loaded if loaded.model else None, "", None)

    def set_fault(self, fault: Fault) -> None:
        """The draft model can't be used."""
        self._set(None, "", fault)

    def clear(self) -> None:
        """There is none."""
        self._set(None, "", None)

    def _set(self, loaded: DraftLoaded | None, loading: str, fault: Fault | None) -> None:
        if (loaded, loading, fault) != (self._loaded, self._loading, self._fault):
            self._loaded, self._loading, self._fault = loaded, loading, fault
            self.changed.emit()
