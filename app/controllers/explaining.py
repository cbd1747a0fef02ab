"""Why did it say that: which methods there are, and the runs that fill the Why tab."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal, Slot

from app.controllers.chat import ChatController
from app.controllers.context import ReadContext, context_before, context_of_reply
from app.controllers.explain_costs import ExplainCosts
from app.controllers.explain_pointing import ExplainPointing
from app.controllers.explain_request import explain_request
from app.controllers.explain_targets import ExplainTargets
from app.controllers.generation import Generation
from app.controllers.placing import Places
from app.desk import Desk
from app.faults import FaultReporter
from app.history import History
from inference.events import (
    Candidate,
    CompareMethodsRequest,
    Event,
    ExplainRequest,
    ExplanationStarted,
    Failed,
    ListMethodsRequest,
    MethodsListed,
)
from inference.running import RunHandle, new_run_id
from views.models.controls import ControlsModel
from views.models.explaining import ExplainTarget, ExplanationModel
from views.models.focus import FocusModel, TokenSpan
from views.models.model_choice import ModelChoiceModel
from views.models.text_range import TextRange
from views.models.transcript import TranscriptModel

_EXAMPLE = (
    "Question: Who built the lighthouse?\n\nSources:\n[1] The harbour of Westhaven has two cranes. "
    "The lighthouse was built by Ada Brown in 1871. A ferry leaves for the island at nine.\n\n"
    "Question: Who built the lighthouse?"
)
#: Failures that the panel itself shows; others are defects and go to the list of faults, too.
_EXPECTED = ("invalid-request", "not-available", "context-full", "empty-prompt", "out-of-memory", "no-model")


class ExplainingController(QObject):
    """Takes what the Why tab and the transcript ask for; one explanation at a time."""

    told = Signal(str)
    #: The Why tab is to be shown.
    wanted = Signal()

    def __init__(
        self,
        *,
        desk: Desk,
        history: History,
        transcript: TranscriptModel,
        chat: ChatController,
        generation: Generation,
        models: ModelChoiceModel,
        focus: FocusModel,
        controls: ControlsModel,
        model: ExplanationModel,
        faults: FaultReporter,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._desk = desk
        self._history = history
        self._transcript = transcript
        self._chat = chat
        self._models = models
        self._controls = controls
        self._model = model
        self._faults = faults
        self._run: RunHandle | None = None
        self._asked: tuple[ReadContext, str] | None = None
        self._costs = ExplainCosts(desk, model, generation, self._cost_request, parent=self)
        self._targets = ExplainTargets(transcript, model, parent=self)
        self._pointing = ExplainPointing(transcript, focus, model, parent=self)
        self._example_wanted = False
        models.loaded_changed.connect(self._on_model)
        transcript.was_reset.connect(self._on_conversation)
        transcript.reply_finished.connect(self._on_reply)
        focus.focus_changed.connect(self._on_focus)

    def close(self) -> None:
        """Ask for nothing more."""
        self._costs.stop()

    # --- the target

    @Slot(object)
    def take_selection(self, selected: TextRange | None) -> None:
        """Text was selected in the conversation; within a reply it is the target."""
        self._targets.take_selection(selected)

    @Slot(object)
    def explain_span(self, span: TokenSpan) -> None:
        """Explain some tokens of a reply now (Ctrl+E)."""
        if self._transcript.message(span.message_id).role != "assistant":
            self.told.emit("Select a part of a reply: what you wrote yourself was not predicted.")
            return
        self._targets.take_tokens(span)
        self.wanted.emit()
        self.explain()

    @Slot(object, int, object)
    def contrast(self, message_id: int, index: int, candidate: Candidate) -> None:
        """Explain why a token came and not this candidate."""
        if not self._targets.take_tokens(TokenSpan(message_id, index, index + 1), candidate):
            self.told.emit("Only a whole token of a reply can be held against another one.")
            return
        self.wanted.emit()
        self.explain()

    @Slot(object)
    def point_from_text(self, span: TokenSpan | None) -> None:
        """The conversation's focus points at the part of the explanation that holds it."""
        self._pointing.point_from_text(span)

    @Slot(object)
    def _on_focus(self, span: TokenSpan | None) -> None:
        if not self._pointing.busy:
            self._targets.take_focus(span)

    @Slot(object)
    def _on_reply(self, message_id: int) -> None:
        self._targets.take_reply(message_id)
        if self._example_wanted:
            self._example_wanted = False
            self.wanted.emit()
            self._take_example()

    @Slot()
    def _on_conversation(self) -> None:
        self.cancel()
        self._pointing.places = None
        self._model.clear()
        self._model.set_target(None)
        self._targets.take_last_reply()

    # --- the model

    @Slot(object)
    def _on_model(self, loaded: object) -> None:
        self.cancel()
        self._pointing.places = None
        self._model.clear()
        self._model.set_methods(())
        self._model.set_cost(None)
        if loaded is not None:
            self._desk.submit(ListMethodsRequest(run_id=new_run_id()), self._take_methods)

    def _take_methods(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, MethodsListed):
                loaded = self._models.loaded
                self._model.set_methods(event.methods, layers=loaded.info.layers if loaded else 0)
                self._choose_method()
                self._costs.ask_soon()
            elif isinstance(event, Failed):
                self._faults.report_failed(event)

    def _choose_method(self) -> None:
        """Choose another method where the chosen one is gone, or where one alone works (a server's)."""
        problems = {status.spec.name: status.problem for status in self._model.methods}
        working = [name for name, problem in problems.items() if not problem]
        if self._model.options.method not in problems:
            self._model.update(method=next(iter(working or problems)))
        elif len(working) == 1:
            self._model.update(method=working[0])

    # --- the run

    @Slot(str)
    def note_panel(self, name: str) -> None:
        """Another panel of the inspector is in front."""
        self._costs.set_visible(name == "why")

    @Slot()
    def explain(self) -> None:
        """Explain the target with the chosen method."""
        asked = self._request(preview=True)
        if asked is not None:
            self._start(*asked)

    @Slot()
    def show_example(self) -> None:
        """Explain the last reply, after writing one if need be."""
        self._targets.take_last_reply()
        if self._model.target is not None:
            self._take_example()
        elif self._transcript.streaming_id is None:
            self._example_wanted = True
            self._chat.send(_EXAMPLE)

    def _take_example(self) -> None:
        """The last reply up to its first source mark, explained."""
        reply = self._transcript.last_reply
        if reply is not None and reply.text:
            self._targets.take_statement()
            self.explain()

    @Slot()
    def compare(self) -> None:
        """Explain the target with every method that works here, and judge them."""
        asked = self._request()
        if asked is not None:
            methods = tuple(status.spec.name for status in self._model.methods if not status.problem)
            self._start(
                CompareMethodsRequest(run_id=new_run_id(), explain=asked[0], methods=methods), asked[1]
            )

    @Slot()
    def cancel(self) -> None:
        """Stop; what was computed stays."""
        if self._run is not None:
            self._run.cancel()

    def _start(self, request: ExplainRequest | CompareMethodsRequest, context: ReadContext) -> None:
        if self._model.busy or self._model.method_problem:
            return
        self._costs.stop()
        target = self._model.target
        assert target is not None
        reply = self._transcript.message(target.message_id).text if target.message_id is not None else ""
        self._asked = context, reply
        explained = request.explain if isinstance(request, CompareMethodsRequest) else request
        self._model.begin(steered=bool(explained.attention))
        self._run = self._desk.submit(request, self._take)

    def _take(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, ExplanationStarted) and self._asked is not None:
                self._pointing.places = Places(event.context, *self._asked)
            if isinstance(event, Failed):
                self._model.fail(event.message, event.hint)
                if event.kind not in _EXPECTED:
                    self._faults.report_failed(event)
                self._run = None
                return
            self._model.take(event)
        if not events or type(events[-1]).event in ("finished", "cancelled"):
            self._run = None
            self._model.end()

    def _cost_request(self) -> ExplainRequest | None:
        asked = self._request(estimate_only=True)
        return asked[0] if asked is not None else None

    def _request(
        self, *, estimate_only: bool = False, preview: bool = False
    ) -> tuple[ExplainRequest, ReadContext] | None:
        target, options = self._model.target, self._model.options
        spec = self._model.spec(options.method)
        if target is None or spec is None or self._models.loaded is None:
            return None
        context = self._context(target)
        if context.empty:
            self._model.set_cost(None, "There is no prompt yet: say something first.")
            return None
        request = explain_request(
            target,
            options,
            spec,
            context,
            self._controls.controls,
            preview=preview,
            estimate_only=estimate_only,
        )
        return request, context

    def _context(self, target: ExplainTarget) -> ReadContext:
        if isinstance(target.message_id, int):
            shown = self._transcript.message(target.message_id)
            return context_of_reply(self._history, target.message_id, shown)
        number = self._chat.conversation
        path = self._history.path(number) if number is not None else ()
        if path and path[-1].role == "assistant":
            path = path[:-1]
        return context_before(self._history, path)
