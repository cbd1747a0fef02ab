"""The Lens tab: what each layer would say, and where each head looks."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal, Slot

from app.controllers.chat import ChatController
from app.controllers.context import ReadContext, context_before, context_of_reply
from app.controllers.positions import Positions
from app.desk import Desk
from app.history import History
from inference.events import (
    AttentionRequest,
    AttentionStarted,
    Cancelled,
    Event,
    ExpertsRequest,
    ExpertsStarted,
    Failed,
    Finished,
    LensRequest,
    LensStarted,
    ModelLoaded,
    SetExpertsRequest,
)
from inference.running import RunHandle, new_run_id
from views.models.experts import ExpertsModel
from views.models.focus import FocusModel, TokenSpan
from views.models.looking import AttentionModel, LensModel, LookModel
from views.models.model_choice import ModelChoiceModel
from views.models.transcript import TranscriptModel

#: The last so many tokens are looked at; more could not be told apart in the window.
POSITIONS = 256
_GRID = 16
_ON_A_SERVER = (
    "Not available: the {} what goes on inside the model, and this one is on a server. Choose a model on "
    "this machine for that."
)


class LookingController(QObject):
    """Runs the lens and reads attention maps of the open conversation, up to its end."""

    told = Signal(str)

    def __init__(
        self,
        *,
        desk: Desk,
        history: History,
        transcript: TranscriptModel,
        chat: ChatController,
        models: ModelChoiceModel,
        lens: LensModel,
        attention: AttentionModel,
        experts: ExpertsModel,
        focus: FocusModel,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._desk = desk
        self._history = history
        self._transcript = transcript
        self._chat = chat
        self._models = models
        self._lens = lens
        self._attention = attention
        self._experts = experts
        experts.acting_changed.connect(self._leave_out)
        self._focus = focus
        self._runs: dict[LookModel, RunHandle] = {}
        self._positions: Positions | None = None
        self._reply_tokens = 0
        focus.current_changed.connect(self._follow_focus)
        transcript.was_reset.connect(self._forget)
        transcript.tail_replaced.connect(self._forget)
        models.loaded_changed.connect(self._on_model)

    @Slot()
    def look(self) -> None:
        """Look at the conversation through the logit lens."""
        context = self._context()
        if context is None:
            return
        request = LensRequest(
            run_id=new_run_id(),
            messages=context.turns,
            prompt=context.prompt,
            reply_ids=context.reply_ids,
            reply_text=context.reply_text,
            first=self._first(),
            token_id=self._lens.followed[0] if self._lens.followed is not None else None,
        )
        self._submit(self._lens, request)

    @Slot(bool)
    def follow(self, on: bool) -> None:
        """Look again, at the ranks of the focused token (or the chosen candidate), or of those that come."""
        self._lens.follow(self._chosen_token() if on else None)
        self.look()

    def _chosen_token(self) -> tuple[int, str] | None:
        span = self._focus.focus
        token = self._transcript.token(span.message_id, span.end - 1) if span is not None else None
        if token is None:
            return None
        row = self._focus.candidate
        chosen = token if row is None else token.candidates[row]
        return chosen.id, chosen.text

    # --- one focus for all panels

    @Slot(object)
    def _follow_focus(self, span: TokenSpan | None) -> None:
        position = self._positions.of(span) if self._positions is not None else None
        self._lens.set_focused(position)
        self._attention.set_focused(position)
        self._experts.set_focused(position)

    @Slot(object)
    def hover(self, position: int | None) -> None:
        """Preview in the conversation the token that is pointed at in the Lens tab."""
        self._focus.set_preview(self._span(position))

    @Slot(int)
    def choose(self, position: int) -> None:
        """Put the focus on the token that was clicked in the Lens tab."""
        span = self._span(position)
        if span is not None:
            self._focus.set_focus(span)

    def _span(self, position: int | None) -> TokenSpan | None:
        return None if position is None or self._positions is None else self._positions.span(position)

    def _note_count(self, count: int) -> None:
        """So many tokens are read: the focus can be placed among them."""
        self._positions = Positions(self._transcript, count, self._reply_tokens)
        self._follow_focus(self._focus.current)

    @Slot(int)
    def read_layer(self, layer: int) -> None:
        """Show thumbnails of all heads of a layer."""
        context = self._context()
        if context is not None:
            self._attention.layer = layer
            self._attention.begin(thumbnails=True)
            self._submit(self._attention, self._attention_request(context, layer, (), _GRID))

    @Slot(int)
    def read_head(self, head: int) -> None:
        """Show the whole matrix of a head of the layer that is shown."""
        context = self._context()
        if context is not None:
            self._attention.head = head
            self._attention.begin(thumbnails=False)
            request = self._attention_request(context, self._attention.layer, (head,), 0)
            self._submit(self._attention, request)

    @Slot()
    def _leave_out(self) -> None:
        """Let the engine leave the same experts out as replies do."""
        if self._models.loaded is not None and self._experts.available:
            request = SetExpertsRequest(run_id=new_run_id(), off=self._experts.off_in_replies)
            self._desk.submit(request, self._on_left_out)

    def _on_left_out(self, events: tuple[Event, ...]) -> None:
        if isinstance(events[-1], Failed):
            self._experts.set_in_replies(False)
            self.told.emit(events[-1].message)

    @Slot()
    def look_at_experts(self) -> None:
        """Tell which experts the conversation's tokens are sent to, without those that are switched off."""
        context = self._context()
        if context is not None:
            request = ExpertsRequest(
                run_id=new_run_id(),
                messages=context.turns,
                prompt=context.prompt,
                reply_ids=context.reply_ids,
                reply_text=context.reply_text,
                first=self._first(),
                off=self._experts.off,
            )
            self._submit(self._experts, request)

    @Slot()
    def cancel(self) -> None:
        """Stop what is running; rows that came stay."""
        for handle in self._runs.values():
            handle.cancel()

    def _attention_request(
        self, context: ReadContext, layer: int, heads: tuple[int, ...], grid: int
    ) -> AttentionRequest:
        return AttentionRequest(
            run_id=new_run_id(),
            layers=(layer,),
            heads=heads,
            messages=context.turns,
            prompt=context.prompt,
            reply_ids=context.reply_ids,
            reply_text=context.reply_text,
            first=self._first(),
            grid=grid,
        )

    def _submit(self, model: LookModel, request: LensRequest | AttentionRequest | ExpertsRequest) -> None:
        self._desk.drop(self._runs.pop(model, None))
        model.set_state("working")
        take = {self._lens: self._take_lens, self._experts: self._take_experts}
        self._runs[model] = self._desk.submit(request, take.get(model, self._take_attention))

    def _take_lens(self, events: tuple[Event, ...]) -> None:
        for event in events:
            self._lens.take(event)
            if isinstance(event, LensStarted):
                self._note_count(event.positions[-1] + 1)
        self._end(self._lens, events[-1], bool(self._lens.rows))

    def _take_attention(self, events: tuple[Event, ...]) -> None:
        for event in events:
            self._attention.take(event)
            if isinstance(event, AttentionStarted):
                self._note_count(len(event.tokens))
        self._end(self._attention, events[-1], bool(self._attention.thumbnails))

    def _take_experts(self, events: tuple[Event, ...]) -> None:
        for event in events:
            self._experts.take(event)
            if isinstance(event, ExpertsStarted):
                self._note_count(event.positions[-1] + 1)
        self._end(self._experts, events[-1], bool(self._experts.rows))

    def _end(self, model: LookModel, last: Event, some: bool) -> None:
        if isinstance(last, Failed):
            model.set_state("failed", f"{last.message} {last.hint}".strip())
        elif isinstance(last, (Finished, Cancelled)):
            model.set_state("result" if some else "empty")
        else:
            return
        self._runs.pop(model, None)

    def _context(self) -> ReadContext | None:
        number = self._chat.conversation
        path = self._history.path(number) if number is not None else ()
        if self._models.loaded is None:
            self.told.emit("Choose a model first.")
            return None
        if not path or self._transcript.streaming_id is not None:
            self.told.emit("Have something said first." if not path else "Wait for the end of the reply.")
            return None
        last = path[-1]
        if last.role != "assistant":
            context = context_before(self._history, path)
        else:
            context = context_of_reply(self._history, last.id, self._transcript.message(last.id))
        self._reply_tokens = len(context.reply_ids)
        return context

    def _first(self) -> int:
        return max(0, self._chat.context_used - POSITIONS)

    @Slot()
    def _forget(self, *_: object) -> None:
        for model in list(self._runs):
            self._desk.drop(self._runs.pop(model))
        self._positions = None
        for model in (self._lens, self._attention, self._experts):
            model.clear()
        loaded = self._models.loaded
        if loaded is not None and loaded.info.remote is not None:
            for model, what in ((self._lens, "logit lens reads"), (self._attention, "attention maps read")):
                model.set_state("failed", _ON_A_SERVER.format(what))

    @Slot(object)
    def _on_model(self, loaded: ModelLoaded | None) -> None:
        self._forget()
        self._experts.set_available(loaded is not None and loaded.info.experts > 0)
        if loaded is not None:
            self._lens.vocabulary = loaded.info.vocabulary
            self._attention.layer_count = loaded.info.layers
            self._attention.layer = loaded.info.layers - 1
            self._attention.changed.emit()
