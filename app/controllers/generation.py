"""Runs that write replies: started here, steered while they go on, and entered in the list of runs when they
end.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from PySide6.QtCore import QObject, Signal, Slot

from app.controllers.beginnings import Beginning
from app.controllers.context import attention_within
from app.controllers.reply import ReplyWriter
from app.desk import Desk
from app.faults import FaultReporter
from app.history import History
from inference.events import (
    Cancelled,
    Failed,
    Finished,
    GenerateRequest,
    Message,
    ModelLoaded,
    PromptScored,
    SamplingControls,
    Started,
)
from inference.running import new_run_id
from views.models.adapters import AdaptersModel
from views.models.controls import ControlsModel
from views.models.experts import ExpertsModel
from views.models.model_choice import ModelChoiceModel
from views.models.runs import RunRecord, RunsModel
from views.models.settings import SettingsModel
from views.models.transcript import TranscriptModel

_RATE_SECONDS = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A reply to be written: its message, the conversation, and either the turns before it or a raw
    prompt.
    """

    message: int
    conversation: int
    beginning: Beginning
    turns: tuple[Message, ...] = ()
    prompt: str | None = None


class Generation(QObject):
    """All replies that are being written or wait for it."""

    #: Conversation (int) whose reply is being written, or None.
    busy_changed = Signal(object)
    #: The prompt's tokens have probabilities: the task, and :class:`~inference.events.PromptScored`.
    prompt_scored = Signal(object, object)
    #: :class:`~inference.events.Progress` of reading the prompt; None when that is done.
    progressed = Signal(object)
    #: Tokens of the context that are in use, and how many there are.
    context_changed = Signal(int, int)
    #: Tokens per second (float), or None before the first token.
    rate_changed = Signal(object)
    #: So many tokens were generated.
    tokens_came = Signal(int)
    #: A raw text goes on by this.
    raw_wrote = Signal(str)
    #: A reply has ended: the task, and the event.
    ended = Signal(object, object)
    #: Something to say in the status line.
    told = Signal(str)

    def __init__(
        self,
        *,
        desk: Desk,
        history: History,
        transcript: TranscriptModel,
        controls: ControlsModel,
        settings: SettingsModel,
        models: ModelChoiceModel,
        runs: RunsModel,
        faults: FaultReporter,
        adapters: AdaptersModel | None = None,
        experts: ExpertsModel | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._desk = desk
        self._history = history
        self._transcript = transcript
        self._controls = controls
        self._settings = settings
        self._models = models
        self._runs = runs
        self._faults = faults
        self._adapters = adapters or AdaptersModel(self)
        self._writers: dict[int, tuple[Task, ReplyWriter]] = {}
        self._rate_shown_at = 0.0
        #: The conversation whose replies feel the controls that are moved: the one that is open.
        self.steered: int | None = None
        controls.changed.connect(self._on_controls)
        self._experts = experts or ExpertsModel(self)
        self._adapters.scales_changed.connect(self._on_model_changed)
        self._experts.acting_changed.connect(self._on_model_changed)

    @property
    def running(self) -> frozenset[int]:
        """Messages that are being written."""
        return frozenset(self._writers)

    def start(self, task: Task) -> None:
        """Begin to write; the message is in the history and in the transcript already."""
        writer = ReplyWriter(task.message, task.beginning, self._history, self._transcript, parent=self)
        writer.started.connect(self._on_started)
        writer.progressed.connect(self.progressed)
        writer.prompt_scored.connect(self._on_prompt_scored)
        writer.grew.connect(self._on_grew)
        writer.ended.connect(self._on_ended)
        self._writers[task.message] = task, writer
        settings, controls = self._settings.settings, self._of_task(self._controls.controls, task)
        request = GenerateRequest(
            run_id=new_run_id(),
            messages=task.turns,
            prompt=task.prompt,
            reply_ids=task.beginning.ids,
            reply_text=task.beginning.reply_text,
            controls=controls,
            candidates=settings.candidates,
            score_prompt=settings.score_prompt,
            overflow=settings.overflow,
            prompt_lookup=settings.prompt_lookup,
            draft=self._models.draft.loaded is not None,
            token_healing=settings.token_healing and task.prompt is not None and not task.beginning.text,
        )
        writer.handle = self._desk.submit(request, writer.take, controls)
        self.busy_changed.emit(task.conversation)

    def stop(self, messages: Sequence[int] | None = None) -> bool:
        """Stop writing these messages (None: all); returns whether any was being written."""
        stopped = False
        for number, (_, writer) in self._writers.items():
            if writer.handle is not None and (messages is None or number in messages):
                writer.handle.cancel()
                stopped = True
        return stopped

    def save(self) -> None:
        """Bring everything that is being written on disk."""
        for _, writer in self._writers.values():
            writer.save()

    @Slot(object)
    def _on_controls(self, controls: SamplingControls) -> None:
        for task, writer in self._writers.values():
            if writer.handle is not None and task.conversation == self.steered:
                writer.handle.controls = self._of_task(controls, task)

    @Slot()
    def _on_model_changed(self) -> None:
        """The model is one for all conversations, and so are its adapters and experts."""
        for task, writer in self._writers.values():
            if writer.handle is not None:
                controls = (
                    writer.handle.controls if task.conversation != self.steered else self._controls.controls
                )
                writer.handle.controls = self._of_task(controls, task)

    def _of_task(self, controls: SamplingControls, task: Task) -> SamplingControls:
        """The controls of a task, with the adapters that are on, without the experts that are off."""
        on = self._adapters.active if self._adapters.rows else None
        off = self._experts.off_in_replies if self._experts.available else None
        return replace(_of_task(controls, task), adapters=on, experts_off=off)

    def _name_author(self, message: int) -> None:
        """A message that was sent while the model was being loaded learns who answers it."""
        loaded = self._models.loaded
        if loaded is not None and not self._history.message(message).model:
            self._history.set_model(message, loaded.info.name)
            self._transcript.set_author(message, loaded.info.name)

    def _task(self) -> tuple[Task, ReplyWriter]:
        writer = self.sender()
        assert isinstance(writer, ReplyWriter)
        return self._writers[writer.message]

    @Slot(object)
    def _on_started(self, started: Started) -> None:
        self._name_author(self._task()[1].message)
        self._controls.set_last_seed(started.seed)
        self.context_changed.emit(started.prompt_tokens, started.context_length)
        if started.dropped_messages:
            self.told.emit(
                f"The context is full: the oldest messages ({started.dropped_messages}) were left out "
                "of what the model reads."
            )

    @Slot(object)
    def _on_prompt_scored(self, scored: PromptScored) -> None:
        self.prompt_scored.emit(self._task()[0], scored)

    @Slot(int, str)
    def _on_grew(self, count: int, text: str) -> None:
        self.tokens_came.emit(count)
        task, writer = self._task()
        if writer.new_tokens == count:
            self.progressed.emit(None)
        if task.prompt is not None:
            self.raw_wrote.emit(text)
        now = time.monotonic()
        if writer.run is not None and now - self._rate_shown_at >= _RATE_SECONDS:
            self._rate_shown_at = now
            self.rate_changed.emit(writer.rate)
            used = writer.run.prompt_tokens + writer.new_tokens
            self.context_changed.emit(used, writer.run.context_length)

    @Slot(object, object)
    def _on_ended(self, writer: ReplyWriter, event: Finished | Cancelled | Failed) -> None:
        task, _ = self._writers.pop(writer.message)
        self.progressed.emit(None)
        if writer.run is not None:
            # A server counts the prompt's tokens at the end.
            read = 0 if isinstance(event, Failed) else event.prompt_tokens
            used = max(read, writer.run.prompt_tokens) + writer.new_tokens
            self.context_changed.emit(used, writer.run.context_length)
            self.rate_changed.emit(writer.rate)
        if isinstance(event, Failed):
            self._faults.report_failed(event)
        self._runs.add(_record(writer, event, self._models.loaded))
        if isinstance(event, Finished):
            self._models.set_path_reason(event.path_reason)
            if slower := self._models.set_single_tokens(event.single_tokens):
                self._faults.report(
                    kind="slower-steps",
                    message=f"Single tokens are left to transformers from now on: {slower}.",
                    hint="Replies stay right, and come slower. Loading the model again tries the fast way.",
                )
        running = next((t.conversation for t, _ in self._writers.values()), None)
        self.busy_changed.emit(running)
        self.ended.emit(task, event)
        writer.deleteLater()


def _of_task(controls: SamplingControls, task: Task) -> SamplingControls:
    """Without attention controls of what this task does not read (a span in a later message, say)."""
    kept = attention_within(controls.attention, len(task.turns), raw=task.prompt is not None)
    return controls if kept == controls.attention else replace(controls, attention=kept)


def _record(
    writer: ReplyWriter, event: Finished | Cancelled | Failed, loaded: ModelLoaded | None
) -> RunRecord:
    """A line of the list of runs."""
    record = RunRecord(
        run_id=event.run_id,
        model=loaded.info.name if loaded is not None else "",
        quantization=loaded.quantization if loaded is not None else "none",
        device=loaded.device if loaded is not None else "",
        reason="failed",
        prompt_tokens=writer.run.prompt_tokens if writer.run is not None else 0,
        reused_tokens=writer.run.reused_tokens if writer.run is not None else 0,
        new_tokens=writer.new_tokens,
        time_to_first_token=writer.first_token_at,
        tokens_per_second=writer.rate or 0.0,
    )
    if isinstance(event, Failed):
        return record
    if isinstance(event, Cancelled):
        record = replace(record, reason="cancelled")
    else:
        record = replace(
            record,
            reason=event.reason,
            tokens_per_second=event.tokens_per_second,
            process_memory=event.memory.process,
            gpu_allocated=event.memory.gpu_allocated,
            path=event.path,
            path_reason=event.path_reason,
            guesses=event.guesses,
            accepted=event.accepted,
        )
    return replace(record, prefill_seconds=event.seconds.prefill, decode_seconds=event.seconds.decode)
