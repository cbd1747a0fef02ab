"""The last question answered twice: without any factor on the attention, and with those that are set."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import QObject, Signal, Slot

from app.controllers.chat import ChatController
from app.controllers.context import ReadContext, context_before
from app.desk import Desk
from app.history import History
from inference.events import (
    ENDINGS,
    Cancelled,
    Event,
    Failed,
    GenerateRequest,
    PromptScored,
    SamplingControls,
    ScoreRequest,
    SteeringOptions,
    Token,
)
from inference.running import RunHandle, new_run_id
from views.models.controls import ControlsModel
from views.models.model_choice import ModelChoiceModel
from views.models.side_by_side import SideBySideModel


class SideBySideController(QObject):
    """Four runs, one after the other: both replies, then each read under the other's setting."""

    told = Signal(str)
    #: The comparison is to be shown.
    wanted = Signal()

    def __init__(
        self,
        *,
        desk: Desk,
        history: History,
        chat: ChatController,
        controls: ControlsModel,
        models: ModelChoiceModel,
        model: SideBySideModel,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._desk = desk
        self._history = history
        self._chat = chat
        self._controls = controls
        self._models = models
        self._model = model
        self._handle: RunHandle | None = None
        self._context = ReadContext(turns=(), prompt=None, message_ids=(), reply=None)
        self._settings: tuple[SamplingControls, SamplingControls] = (SamplingControls(), SamplingControls())

    @Slot()
    def run(self) -> None:
        """Begin; the same seed is used for both."""
        number = self._chat.conversation
        path = self._history.path(number) if number is not None else ()
        if path and path[-1].role == "assistant":
            path = path[:-1]
        if not path or self._models.loaded is None:
            self.told.emit("Ask something first." if self._models.loaded else "Choose a model first.")
            return
        self.cancel()
        self._context = context_before(self._history, path)
        now = self._controls.controls
        seed = now.seed if now.seed is not None else self._controls.last_seed or 0
        steered = replace(now, seed=seed, attention=self._context.attention(now.attention))
        self._settings = replace(steered, attention=(), steering=SteeringOptions()), steered
        self._model.begin()
        self.wanted.emit()
        self._write(0)

    @Slot()
    def cancel(self) -> None:
        """Stop; what was written stays."""
        if self._handle is not None:
            self._handle.cancel()

    def _write(self, side: int) -> None:
        controls = self._settings[side]
        request = GenerateRequest(
            run_id=new_run_id(),
            messages=self._context.turns,
            prompt=self._context.prompt,
            controls=controls,
            candidates=2,
        )

        def take(events: tuple[Event, ...]) -> None:
            self._model.sides[side].tokens += [event for event in events if isinstance(event, Token)]
            self._model.changed.emit()
            if self._went_on(events):
                self._model.sides[side].done = True
                if side == 0:
                    self._write(1)
                else:
                    self._score(0)

        self._handle = self._desk.submit(request, take, controls)

    def _score(self, side: int) -> None:
        other, tokens = self._settings[1 - side], self._model.sides[side].tokens
        request = ScoreRequest(
            run_id=new_run_id(),
            messages=self._context.turns,
            prompt=self._context.prompt,
            reply_ids=tuple(token.id for token in tokens),
            candidates=0,
            attention=other.attention,
            steering=other.steering,
        )

        def take(events: tuple[Event, ...]) -> None:
            for event in events:
                if isinstance(event, PromptScored) and tokens:
                    self._model.sides[side].elsewhere = [
                        token.raw_logprob for token in event.tokens[-len(tokens) :]
                    ]
            if self._went_on(events):
                if side == 0:
                    self._score(1)
                else:
                    self._model.end()

        self._handle = self._desk.submit(request, take)

    def _went_on(self, events: tuple[Event, ...]) -> bool:
        """Whether the run has ended well; the other ends are the end of the comparison."""
        last = events[-1]
        if not isinstance(last, ENDINGS):
            return False
        self._handle = None
        if isinstance(last, Failed):
            self._model.end(f"{last.message} {last.hint}".strip())
            return False
        if isinstance(last, Cancelled):
            self._model.end("Stopped.")
            return False
        return True
