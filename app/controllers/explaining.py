"""Why did it say that: the target follows the selection, runs fill the Why tab."""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from app.controllers.chat import ChatController
from app.controllers.context import ReadContext, context_before, context_of_reply
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
    Setting,
)
from inference.running import RunHandle, new_run_id
from views.models.controls import ControlsModel
from views.models.explaining import ExplainTarget, ExplanationModel, parameters_of
from views.models.focus import FocusModel, TokenSpan
from views.models.model_choice import ModelChoiceModel
from views.models.text_range import TextRange
from views.models.transcript import TranscriptModel

#: The cost is worked out this long after the last change.
_PAUSE_MS = 350
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
        self._generation = generation
        self._models = models
        self._focus = focus
        self._controls = controls
        self._model = model
        self._faults = faults
        self._run: RunHandle | None = None
        self._estimate: RunHandle | None = None
        self._asked: tuple[ReadContext, str] | None = None
        self._places: Places | None = None
        self._linking = False
        self._visible = False
        self._example_wanted = False
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_PAUSE_MS)
        self._pause.timeout.connect(self._ask_cost)
        models.loaded_changed.connect(self._on_model)
        transcript.was_reset.connect(self._on_conversation)
        transcript.tail_replaced.connect(self._check_target)
        transcript.reply_finished.connect(self._on_reply)
        focus.focus_changed.connect(self._on_focus)
        model.target_changed.connect(self._cost_soon)
        model.options_changed.connect(self._cost_soon)
        model.pointed_changed.connect(self._show_pointed)

    def close(self) -> None:
        """Ask for nothing more."""
        self._pause.stop()

    # --- the target

    @Slot(object)
    def take_selection(self, selected: TextRange | None) -> None:
        """Text was selected in the conversation; within a reply it is the target."""
        if selected is not None and selected.message_id in self._transcript:
            message = self._transcript.message(selected.message_id)
            if message.role == "assistant":
                self._set_target(selected.message_id, selected.start, selected.end)

    @Slot(object)
    def _on_focus(self, span: TokenSpan | None) -> None:
        if span is None or self._linking or span.message_id not in self._transcript:
            return
        message = self._transcript.message(span.message_id)
        if message.role == "assistant" and span.end <= len(message.track):
            start, end = message.track.start(span.start), message.track.end(span.end - 1)
            if end > start:
                self._set_target(message.id, max(0, start), end)

    @Slot(object)
    def explain_span(self, span: TokenSpan) -> None:
        """Explain some tokens of a reply now (Ctrl+E)."""
        message = self._transcript.message(span.message_id)
        if message.role != "assistant":
            self.told.emit("Select a part of a reply: what you wrote yourself was not predicted.")
            return
        start, end = message.track.start(span.start), message.track.end(span.end - 1)
        self._set_target(message.id, max(0, start), end)
        self.wanted.emit()
        self.explain()

    @Slot(object, int, object)
    def contrast(self, message_id: int, index: int, candidate: Candidate) -> None:
        """Explain why a token came and not this candidate."""
        message = self._transcript.message(message_id)
        start, end = message.track.start(index), message.track.end(index)
        if message.role != "assistant" or end <= start:
            self.told.emit("Only a whole token of a reply can be held against another one.")
            return
        self._set_target(message_id, max(0, start), end, candidate)
        self.wanted.emit()
        self.explain()

    def _set_target(
        self, message_id: int | str, start: int, end: int, contrast: Candidate | None = None
    ) -> None:
        text = self._transcript.message(message_id).text[start:end]
        if text:
            self._model.set_target(
                ExplainTarget(text=text, message_id=message_id, start=start, end=end, contrast=contrast)
            )

    @Slot(object)
    def _on_reply(self, message_id: int) -> None:
        """A new reply is the target, unless something else was chosen."""
        target = self._model.target
        message = self._transcript.message(message_id)
        if target is None or (target.message_id == message_id and target.end < len(message.text)):
            self._set_target(message_id, 0, len(message.text))
        if self._example_wanted:
            self._example_wanted = False
            self.wanted.emit()
            self._take_example()

    @Slot()
    def _check_target(self, *_: object) -> None:
        target = self._model.target
        if target is None or target.message_id is None:
            return
        gone = target.message_id not in self._transcript
        if gone or self._transcript.message(target.message_id).text[target.start : target.end] != target.text:
            self._model.set_target(None)
            self._take_last_reply()

    @Slot()
    def _on_conversation(self) -> None:
        self.cancel()
        self._places = None
        self._model.clear()
        self._model.set_target(None)
        self._take_last_reply()

    def _take_last_reply(self) -> None:
        reply = self._transcript.last_reply
        if reply is not None and reply.text and reply.state != "streaming":
            self._set_target(reply.id, 0, len(reply.text))

    # --- the model

    @Slot(object)
    def _on_model(self, loaded: object) -> None:
        self.cancel()
        self._places = None
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
                self._cost_soon()
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

    # --- the cost

    @Slot(str)
    def note_panel(self, name: str) -> None:
        """Costs are only worked out while somebody looks."""
        self._visible = name == "why"
        self._cost_soon()

    @Slot()
    def _cost_soon(self) -> None:
        self._desk.drop(self._estimate)
        self._estimate = None
        if self._visible and self._model.target is not None and self._model.cost is None:
            self._pause.start()
        else:
            self._pause.stop()

    @Slot()
    def _ask_cost(self) -> None:
        request = self._request(estimate_only=True)
        if request is None or self._model.busy or self._generation.running or self._model.method_problem:
            return
        self._estimate = self._desk.submit(request[0], self._take_cost)

    def _take_cost(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, ExplanationStarted):
                self._model.set_cost(event.cost)
            elif isinstance(event, Failed):
                self._model.set_cost(None, f"{event.message} {event.hint}".strip())

    # --- the run

    @Slot()
    def explain(self) -> None:
        """Explain the target with the chosen method."""
        asked = self._request(preview=True)
        if asked is not None:
            self._start(*asked)

    @Slot()
    def show_example(self) -> None:
        """Explain the last reply, after writing one if need be."""
        self._take_last_reply()
        if self._model.target is not None:
            self._take_example()
        elif self._transcript.streaming_id is None:
            self._example_wanted = True
            self._chat.send(_EXAMPLE)

    def _take_example(self) -> None:
        """The last reply up to its first source mark, explained."""
        reply = self._transcript.last_reply
        if reply is not None and reply.text:
            mark = reply.text.find(" [", 1)
            self._set_target(reply.id, 0, mark if mark > 0 else len(reply.text))
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
        self._pause.stop()
        self._desk.drop(self._estimate)
        self._estimate = None
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
                self._places = Places(event.context, *self._asked)
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
        values: dict[str, Setting] = {
            parameter.name: options.setting(spec.name, parameter) for parameter in parameters_of(spec)
        }
        own = tuple((parameter.name, values[parameter.name]) for parameter in spec.parameters)
        typed = target.message_id is None
        return ExplainRequest(
            run_id=new_run_id(),
            method=spec.name,
            messages=context.turns,
            prompt=context.prompt,
            reply_ids=context.reply_ids,
            reply_text=context.reply_text,
            target=target.text if typed else None,
            target_start=target.start,
            target_end=None if typed else target.end,
            granularity=options.granularity,
            target_granularity="token" if options.per_token else "complete",
            include_special=options.include_special,
            layers=options.layers if spec.uses_factor else None,
            factor=float(values.get("factor", 0.1)),
            mode="multiplicative" if values.get("mode") == "multiplicative" else "log-additive",
            similarity_threshold=float(values["similarity_threshold"]) if values.get("related") else None,
            contrast_id=target.contrast.id if target.contrast is not None else None,
            settings=own,
            attention=context.attention(self._controls.controls.attention),
            steering=self._controls.controls.steering,
            preview=preview,
            estimate_only=estimate_only,
        ), context

    def _context(self, target: ExplainTarget) -> ReadContext:
        if isinstance(target.message_id, int):
            shown = self._transcript.message(target.message_id)
            return context_of_reply(self._history, target.message_id, shown)
        number = self._chat.conversation
        path = self._history.path(number) if number is not None else ()
        if path and path[-1].role == "assistant":
            path = path[:-1]
        return context_before(self._history, path)

    # --- one focus for all panels

    @Slot()
    def _show_pointed(self) -> None:
        """Preview in the conversation what is pointed at in the Why tab; a click puts the focus there."""
        segment, chosen = self._model.segment, self._model.chosen_segment
        self._linking = True
        self._focus.set_preview(self._span_of(segment) if segment != chosen else None)
        if chosen is not None and (span := self._span_of(chosen)) is not None:
            self._focus.set_focus(span)
        self._linking = False

    def _span_of(self, segment: int | None) -> TokenSpan | None:
        result = self._model.result
        if result is None or segment is None or self._places is None or segment >= len(result.segments):
            return None
        part = result.segments[segment]
        place = self._places.in_message(part.start, part.end)
        if place is None or place.message_id not in self._transcript:
            return None
        return self._transcript.span_at(place.message_id, place.start, place.end)

    @Slot(object)
    def point_from_text(self, span: TokenSpan | None) -> None:
        """The conversation's focus points at the part that holds it."""
        result = self._model.result
        if self._linking or result is None or self._places is None:
            return
        segment = None
        if span is not None and span.message_id in self._transcript:
            track = self._transcript.message(span.message_id).track
            if span.end <= len(track):
                offset = max(0, track.end(span.end - 1) - 1)
                place = self._places.in_text(span.message_id, offset)
                segment = None if place is None else result.segment_at(place)
        self._linking = True
        self._model.hover(segment)
        self._linking = False
