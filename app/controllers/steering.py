"""Spans of the conversation become attention controls, which act on the next token."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from app.controllers.chat import ChatController
from app.controllers.context import context_before
from app.desk import Desk
from app.history import History
from inference.events import (
    AttentionControl,
    Event,
    Failed,
    ModelLoaded,
    RelatedTokens,
    RelatedTokensRequest,
    SamplingControls,
)
from inference.running import RunHandle, new_run_id
from views.models.controls import ControlsModel
from views.models.focus import MessageId
from views.models.model_choice import ModelChoiceModel
from views.models.steering import RAW, SYSTEM, SteeredSpan, SteeringModel
from views.models.text_range import TextRange, TextTint
from views.models.text_units import edit_between
from views.models.transcript import TranscriptModel

#: Related words are looked up this long after the last change.
_PAUSE_MS = 300


class SteeringController(QObject):
    """Keeps the attention controls in step with the spans of the shown branch.

    A span belongs to a message, a control to a place in what the model reads: on another branch, or with a
    system prompt added, the controls are made anew. Spans of messages that are not shown wait for them.
    Spans of the raw text move with it while it is edited; an edit that touches one lets it go.
    """

    told = Signal(str)

    def __init__(
        self,
        *,
        desk: Desk,
        history: History,
        transcript: TranscriptModel,
        chat: ChatController,
        controls: ControlsModel,
        models: ModelChoiceModel,
        model: SteeringModel,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._desk = desk
        self._models = models
        self._asking: RunHandle | None = None
        self._asked: tuple[object, ...] = ()
        self._raw_text: str | None = None
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_PAUSE_MS)
        self._pause.timeout.connect(self._ask_related)
        self._history = history
        self._transcript = transcript
        self._chat = chat
        self._controls = controls
        self._model = model
        controls.changed.connect(self._related_soon)
        controls.changed.connect(self._fit_layers)
        models.loaded_changed.connect(self._on_model)
        model.changed.connect(self._apply)
        transcript.was_reset.connect(self._read_back)
        transcript.message_appended.connect(self._apply)
        transcript.tail_replaced.connect(self._apply)

    @Slot(object)
    def take_selection(self, selected: TextRange | None) -> None:
        """Text was selected; what the model reads can be steered, the last reply cannot yet."""
        if selected is not None and self._is_raw_prompt(selected.message_id):
            selected = TextRange(RAW, selected.start, selected.end)
        text = self._text(selected.message_id) if selected is not None else None
        if selected is None or text is None or self._is_last_reply(selected.message_id):
            self._model.set_selected(None)
        else:
            self._model.set_selected(selected, text[selected.start : selected.end])

    @Slot()
    def system_prompt_changed(self) -> None:
        """Spans that are no longer in the system prompt go; the others are counted anew."""
        prompt = self._chat.system_prompt
        kept = tuple(
            span
            for span in self._model.spans
            if span.message_id != SYSTEM or prompt[span.start : span.end] == span.text
        )
        self._model.set_spans(kept)
        self._apply()

    @Slot(object)
    def note_raw_text(self, text: str | None) -> None:
        """The raw text is now this one; None: its editor is not shown."""
        before = self._text(RAW)
        self._raw_text = text
        now = self._text(RAW)
        if before != now and any(span.message_id == RAW for span in self._model.spans):
            if before is not None and now is not None and not now.startswith(before):
                self._move_raw(before, now)
            self._apply()

    def _move_raw(self, before: str, now: str) -> None:
        """Carry the spans of the raw text over to another version of it."""
        edit, kept = edit_between(before, now), []
        for span in self._model.spans:
            place = edit.moved(span.start, span.end) if span.message_id == RAW else (span.start, span.end)
            if place is not None:
                kept.append(replace(span, start=place[0], end=place[1]))
        self._model.set_spans(tuple(kept))

    def tints(self) -> dict[MessageId, list[TextTint]]:
        """How the spans are marked, by message; those of the raw text under the prompt's message, too."""
        found = self._model.tints()
        prompt = self._transcript.messages[0] if self._raw and len(self._transcript) else None
        if prompt is not None and RAW in found:
            found[prompt.id] = [tint for tint in found[RAW] if tint.end <= len(prompt.text)]
        return found

    @Slot()
    def regenerate(self) -> None:
        """Write the last reply anew under the spans as they are."""
        reply = self._transcript.last_reply
        if reply is None or not isinstance(reply.id, int):
            self.told.emit("There is no reply to write anew yet.")
        elif reply.state == "streaming":
            self.told.emit("The reply that is being written feels each change at its next token.")
        else:
            self._chat.regenerate(reply.id)

    def close(self) -> None:
        """Ask for nothing more."""
        self._pause.stop()

    # --- layers

    @Slot(object)
    def _on_model(self, loaded: ModelLoaded | None) -> None:
        self._model.layers_changed.emit(loaded.info.layers if loaded is not None else 0)
        self._fit_layers(self._controls.controls)

    @Slot(object)
    def _fit_layers(self, controls: SamplingControls) -> None:
        """A range that was set with another model and goes beyond this one's layers becomes all of them."""
        loaded, layers = self._models.loaded, controls.steering.layers
        if loaded is not None and layers is not None and layers[1] >= loaded.info.layers:
            steering = replace(controls.steering, layers=None)
            self._controls.set_controls(replace(controls, steering=steering))
            self.told.emit(
                f"Factors act in all layers again: {layers[0]} to {layers[1]} were chosen, and this model "
                f"has {loaded.info.layers}."
            )

    # --- words that follow

    @Slot(object)
    def _related_soon(self, controls: SamplingControls) -> None:
        asked = controls.attention, controls.steering.similarity_threshold
        if asked == self._asked:
            return
        self._asked = asked
        self._desk.drop(self._asking)
        self._asking = None
        if controls.attention and controls.steering.similarity_threshold is not None:
            self._pause.start()
        else:
            self._pause.stop()
            self._model.set_related(())

    @Slot()
    def _ask_related(self) -> None:
        """Which words would follow, before they do."""
        number = self._chat.conversation
        if number is None or self._models.loaded is None:
            return
        path = self._history.path(number)
        if path and path[-1].role == "assistant":
            path = path[:-1]
        context = context_before(self._history, path)
        controls = self._controls.controls
        request = RelatedTokensRequest(
            run_id=new_run_id(),
            messages=context.turns,
            prompt=context.prompt,
            attention=context.attention(controls.attention),
            steering=controls.steering,
        )
        self._asking = self._desk.submit(request, self._take_related)

    def _take_related(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, RelatedTokens):
                self._model.set_related(event.tokens)
            elif isinstance(event, Failed):
                self._model.set_related(())
                self.told.emit(event.message)

    # --- spans to controls

    @Slot()
    def _apply(self, *_: object) -> None:
        found = []
        for span in self._model.spans:
            index = self._index(span.message_id)
            if index is None or span.factor == 1.0 or self._text_of(span) != span.text:
                continue
            number = None if span.message_id == RAW else index
            found.append(AttentionControl(start=span.start, end=span.end, factor=span.factor, message=number))
        controls = self._controls.controls
        self._controls.set_controls(replace(controls, attention=tuple(found)))

    @Slot()
    def _read_back(self) -> None:
        """Another conversation is shown: its spans are those of its controls."""
        self._model.set_selected(None)
        # A raw text that is about to begin a conversation of its own keeps its spans.
        begins = self._raw_text is not None and not len(self._transcript)
        spans = [span for span in self._model.spans if begins and span.message_id == RAW]
        for control in self._controls.controls.attention:
            message_id = self._message_at(control.message)
            text = self._text(message_id) if message_id is not None else None
            if message_id is not None and text and 0 <= control.start < control.end <= len(text):
                spans.append(
                    SteeredSpan(
                        message_id=message_id,
                        start=control.start,
                        end=control.end,
                        text=text[control.start : control.end],
                        factor=control.factor,
                    )
                )
        self._model.set_spans(tuple(spans))
        self._apply()

    @property
    def _raw(self) -> bool:
        number = self._chat.conversation
        return number is not None and self._history.conversation(number).kind == "raw"

    @property
    def _head(self) -> int:
        """Entries of what the model reads before the first message."""
        return 1 if self._chat.system_prompt.strip() and not self._raw else 0

    def _index(self, message_id: MessageId) -> int | None:
        if message_id == SYSTEM:
            return 0 if self._head else None
        if message_id == RAW:
            return None if self._text(RAW) is None else 0
        if message_id not in self._transcript or self._is_last_reply(message_id):
            return None
        return self._transcript.position(message_id) + self._head

    def _message_at(self, index: int | None) -> MessageId | None:
        if index is None:
            return RAW if self._raw else None
        place = index - self._head
        if place < 0:
            return SYSTEM
        return self._transcript.messages[place].id if place < len(self._transcript) else None

    def _text(self, message_id: MessageId) -> str | None:
        if message_id == SYSTEM:
            return self._chat.system_prompt
        if message_id == RAW:
            return self._raw_text if self._raw_text is not None else self._raw_prompt
        return self._transcript.message(message_id).text if message_id in self._transcript else None

    def _text_of(self, span: SteeredSpan) -> str:
        return (self._text(span.message_id) or "")[span.start : span.end]

    @property
    def _raw_prompt(self) -> str | None:
        """The prompt of an open raw conversation."""
        return self._transcript.messages[0].text if self._raw and len(self._transcript) else None

    def _is_raw_prompt(self, message_id: MessageId) -> bool:
        return self._raw and len(self._transcript) > 0 and self._transcript.messages[0].id == message_id

    def _is_last_reply(self, message_id: MessageId) -> bool:
        reply = self._transcript.last_reply
        return reply is not None and reply.id == message_id
