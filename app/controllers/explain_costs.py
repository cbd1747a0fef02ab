"""What an explanation would take, worked out while the Why tab is looked at and before it is asked for."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, QTimer, Slot

from app.controllers.generation import Generation
from app.desk import Desk
from inference.events import Event, ExplainRequest, ExplanationStarted, Failed
from inference.running import RunHandle
from views.models.explaining import ExplanationModel

#: The cost is worked out this long after the last change.
_PAUSE_MS = 350


class ExplainCosts(QObject):
    """Keeps the cost of the explanation model up to date.

    Args:
        desk: Where it is asked for.
        model: Holds what is to be explained, and the cost.
        generation: While a reply is written nothing is asked.
        request: Makes the request that asks for the cost only; None where nothing can be explained.
    """

    def __init__(
        self,
        desk: Desk,
        model: ExplanationModel,
        generation: Generation,
        request: Callable[[], ExplainRequest | None],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._desk = desk
        self._model = model
        self._generation = generation
        self._request = request
        self._asked: RunHandle | None = None
        self._visible = False
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_PAUSE_MS)
        self._pause.timeout.connect(self._ask)
        model.target_changed.connect(self.ask_soon)
        model.options_changed.connect(self.ask_soon)

    def set_visible(self, visible: bool) -> None:
        """Costs are only worked out while somebody looks."""
        self._visible = visible
        self.ask_soon()

    @Slot()
    def ask_soon(self) -> None:
        """Something changed: ask anew when no more changes come, if the cost is not known."""
        self._drop()
        if self._visible and self._model.target is not None and self._model.cost is None:
            self._pause.start()
        else:
            self._pause.stop()

    def stop(self) -> None:
        """Ask for nothing more until something changes."""
        self._pause.stop()
        self._drop()

    def _drop(self) -> None:
        self._desk.drop(self._asked)
        self._asked = None

    @Slot()
    def _ask(self) -> None:
        request = self._request()
        if request is None or self._model.busy or self._generation.running or self._model.method_problem:
            return
        self._asked = self._desk.submit(request, self._take)

    def _take(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, ExplanationStarted):
                self._model.set_cost(event.cost)
            elif isinstance(event, Failed):
                self._model.set_cost(None, f"{event.message} {event.hint}".strip())
