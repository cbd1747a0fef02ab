"""Two versions of a prompt: both are answered, read under one another, and explained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from PySide6.QtCore import QObject, Signal, Slot

from app.controllers.chat import ChatController
from app.controllers.showing import turns
from app.desk import Desk
from inference.events import (
    ENDINGS,
    Cancelled,
    Event,
    ExplainRequest,
    Failed,
    GenerateRequest,
    Message,
    PromptScored,
    SamplingControls,
    ScoreRequest,
    SteeringOptions,
    Token,
)
from inference.running import RunHandle, new_run_id
from views.models.controls import ControlsModel
from views.models.explaining import ExplainTarget, ExplanationModel
from views.models.model_choice import ModelChoiceModel
from views.models.transcript import TranscriptModel
from views.models.two_prompts import TwoPromptsModel

_NAMES = ("A", "B")
#: The first that works with the model explains.
_METHODS = ("atman", "leave-one-out")
_EXAMPLE = (
    "Question: Who built the lighthouse?\n\nSources:\n[1] The lighthouse was built by Ada Brown in 1871.\n\n"
    "Question: Who built the lighthouse?"
)


class TwoPromptsController(QObject):
    """Runs one step after the other; each begins when the one before it has ended well."""

    told = Signal(str)

    def __init__(
        self,
        *,
        desk: Desk,
        chat: ChatController,
        transcript: TranscriptModel,
        controls: ControlsModel,
        models: ModelChoiceModel,
        explanation: ExplanationModel,
        model: TwoPromptsModel,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._desk = desk
        self._chat = chat
        self._transcript = transcript
        self._controls = controls
        self._models = models
        self._explanation = explanation
        self._model = model
        self._handle: RunHandle | None = None
        self._steps: list[Callable[[], None]] = []
        self._prompts: tuple[_Prompt, _Prompt] = (_Prompt(), _Prompt())
        self._settings = SamplingControls()

    @Slot()
    def run(self) -> None:
        """Begin; the same settings and the same seed are used for both, and no factors on the attention."""
        if self._models.loaded is None:
            self.told.emit("Choose a model first.")
            return
        if not self._model.ready:
            return
        now = self._controls.controls
        seed = now.seed if now.seed is not None else self._controls.last_seed or 0
        self._settings = replace(now, seed=seed, attention=(), steering=SteeringOptions())
        first, second = (_Prompt.of(text, self._model.kind, self._chat) for text in self._model.texts)
        self._prompts = first, second
        self._model.begin()
        self._steps = [lambda: self._write(0), lambda: self._write(1)]
        self._steps += [lambda: self._score(0), lambda: self._score(1)]
        if self._model.explain:
            self._steps += [lambda: self._explain(0), lambda: self._explain(1)]
        self._next()

    @Slot()
    def cancel(self) -> None:
        """Stop; what was computed stays."""
        if self._handle is not None:
            self._handle.cancel()

    @Slot()
    def take_question(self) -> None:
        """Put the last question of the open chat into both versions."""
        asked = [message.text for message in self._transcript.messages if message.role == "user"]
        if not asked:
            self.told.emit("Nothing was asked in the open chat yet.")
        for number in range(2) if asked else ():
            self._model.set_text(number, asked[-1])

    @Slot()
    def show_example(self) -> None:
        """Two versions that differ in one fact."""
        self._model.set_text(0, _EXAMPLE)
        self._model.set_text(1, _EXAMPLE.replace("Ada Brown", "the harbour guild"))
        self.run()

    # --- the steps

    def _write(self, number: int) -> None:
        self._model.set_stage(f"Answering {_NAMES[number]} …")
        prompt, side = self._prompts[number], self._model.sides[number]
        request = GenerateRequest(
            run_id=new_run_id(),
            messages=prompt.messages,
            prompt=prompt.raw,
            controls=self._settings,
            candidates=2,
        )

        def take(events: tuple[Event, ...]) -> None:
            side.tokens += [event for event in events if isinstance(event, Token)]
            side.done = side.done or isinstance(events[-1], ENDINGS)
            self._model.changed.emit()
            self._went_on(events)

        self._handle = self._desk.submit(request, take, self._settings)

    def _score(self, number: int) -> None:
        side, other = self._model.sides[number], self._prompts[1 - number]
        self._model.set_stage(f"Reading {_NAMES[number]}'s reply under {_NAMES[1 - number]} …")
        if not side.tokens:
            self._next()
            return
        request = ScoreRequest(
            run_id=new_run_id(),
            messages=other.messages,
            prompt=other.raw,
            reply_ids=tuple(token.id for token in side.tokens),
            candidates=0,
        )

        def take(events: tuple[Event, ...]) -> None:
            for event in events:
                if isinstance(event, PromptScored):
                    side.elsewhere = [token.raw_logprob for token in event.tokens[-len(side.tokens) :]]
            self._model.changed.emit()
            self._went_on(events)

        self._handle = self._desk.submit(request, take)

    def _explain(self, number: int) -> None:
        side, prompt = self._model.sides[number], self._prompts[number]
        model = self._model.explanations[number]
        known = {status.spec.name for status in self._explanation.methods if not status.problem}
        method = next((name for name in _METHODS if name in known), None)
        text = side.text
        if method is None or not text.strip():
            self._next()
            return
        self._model.set_stage(f"Explaining the reply to {_NAMES[number]} …")
        model.set_methods(self._explanation.methods)
        model.update(method=method)
        model.set_target(ExplainTarget(text=text))
        model.begin()
        request = ExplainRequest(
            run_id=new_run_id(),
            method=method,
            messages=prompt.messages,
            prompt=prompt.raw,
            reply_ids=tuple(token.id for token in side.tokens),
            target_end=len(text),
        )

        def take(events: tuple[Event, ...]) -> None:
            for event in events:
                if isinstance(event, Failed):
                    model.fail(event.message, event.hint)
                else:
                    model.take(event)
            if isinstance(events[-1], ENDINGS) and not isinstance(events[-1], Failed):
                model.end()
            self._went_on(events)

        self._handle = self._desk.submit(request, take)

    def _next(self) -> None:
        if self._steps:
            self._steps.pop(0)()
        else:
            self._model.end()

    def _went_on(self, events: tuple[Event, ...]) -> None:
        """When a step has ended well the next one begins; the other ends are the end of the comparison."""
        last = events[-1]
        if not isinstance(last, ENDINGS):
            return
        self._handle = None
        if isinstance(last, Failed):
            self._model.end(f"{last.message} {last.hint}".strip())
        elif isinstance(last, Cancelled):
            self._model.end("Stopped.")
        else:
            self._next()


class _Prompt:
    """A version as requests take it."""

    def __init__(self, messages: tuple[Message, ...] = (), raw: str | None = None) -> None:
        self.messages, self.raw = messages, raw

    @classmethod
    def of(cls, text: str, kind: str, chat: ChatController) -> _Prompt:
        """A message after the open chat's system prompt, or a raw text."""
        if kind == "raw":
            return cls(raw=text)
        return cls(messages=(*turns(chat.system_prompt, ()), Message(role="user", content=text)))
