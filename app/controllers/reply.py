"""One reply that is being written: to the transcript at once, to the disk at least every second."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from app.controllers.beginnings import Beginning, renumbered
from app.controllers.showing import marks_of, stats_of
from app.history import Ending, History
from app.history.records import State
from inference.events import (
    Cancelled,
    ControlsChanged,
    Event,
    Failed,
    Finished,
    Progress,
    PromptScored,
    Started,
    Token,
)
from inference.events.sections import opens_inside
from inference.generation.control_changes import in_words
from inference.running import RunHandle
from views.models.transcript import TranscriptModel

_SAVE_MS = 800


class ReplyWriter(QObject):
    """Takes the events of one generation.

    Args:
        message: Id of the reply, which is in the history and in the transcript.
        beginning: What of it was there before.
        history: Where it is kept.
        transcript: Where it is shown (as long as its conversation is).
    """

    #: The run began: :class:`~inference.events.Started`.
    started = Signal(object)
    #: The prompt is being read: :class:`~inference.events.Progress`.
    progressed = Signal(object)
    #: The prompt's tokens, :class:`~inference.events.PromptScored`.
    prompt_scored = Signal(object)
    #: So many tokens came, and their text.
    grew = Signal(int, str)
    #: The run has ended: this writer, and the event.
    ended = Signal(object, object)

    def __init__(
        self,
        message: int,
        beginning: Beginning,
        history: History,
        transcript: TranscriptModel,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.message = message
        self.handle: RunHandle | None = None
        self.run: Started | None = None
        self.new_tokens = 0
        self.first_token_at: float | None = None
        self._last_at: float | None = None
        self._history = history
        self._transcript = transcript
        self._offset = len(beginning.tokens)
        self._shift: int | None = None
        self._text = beginning.text
        self._marks = list(history.marks(message))
        self._unsaved: list[Token] = []
        self._timer = QTimer(self)
        self._timer.setInterval(_SAVE_MS)
        self._timer.timeout.connect(self._save_behind)
        self._timer.start()

    @property
    def rate(self) -> float | None:
        """Generated tokens per second so far; None before the second token."""
        if self._last_at is None or self.first_token_at is None or self._last_at <= self.first_token_at:
            return None
        return (self.new_tokens - 1) / (self._last_at - self.first_token_at)

    def take(self, events: tuple[Event, ...]) -> None:
        """Take what the engine said in one frame.

        The engine counts tokens from the beginning of the reply as it reads it. Here they are counted from
        the first one that has a record: behind those that are kept, whatever text is before them.
        """
        counted = next((event for event in events if isinstance(event, Token | ControlsChanged)), None)
        if self._shift is None and counted is not None:
            self._shift = self._offset - counted.index
        tokens = [renumbered(event, self._shift or 0) for event in events if isinstance(event, Token)]
        if tokens:
            self._grow(tokens)
        for event in events:
            self._note(event)

    @Slot()
    def save(self) -> None:
        """Bring the reply on disk up to date."""
        if self._unsaved:
            self._history.save_reply(self.message, self._text, self._unsaved, marks=self._marks)
            self._unsaved = []

    @Slot()
    def _save_behind(self) -> None:
        """Every second, without holding up the window; a disk that is slower than that gets what came
        meanwhile the next time.
        """
        behind = self._history.save_reply_behind
        if self._unsaved and behind(self.message, self._text, self._unsaved, self._marks):
            self._unsaved = []

    def _grow(self, tokens: list[Token]) -> None:
        if self.first_token_at is None:
            self.first_token_at = tokens[0].at
        self._last_at = tokens[-1].at
        text = "".join(token.text for token in tokens)
        self._text += text
        self._unsaved += tokens
        self.new_tokens += len(tokens)
        self._transcript.append_tokens(self.message, tokens)
        self.grew.emit(len(tokens), text)

    def _note(self, event: Event) -> None:
        if isinstance(event, Started):
            self.run = event
            if opens_inside(event.prompt_text):
                self._transcript.begin_inside(self.message)
            if event.adapters:
                self._mark(_adapters_of(event, self._offset))
            self.started.emit(event)
        elif isinstance(event, Progress):
            self.progressed.emit(event)
        elif isinstance(event, PromptScored):
            self.prompt_scored.emit(event)
        elif isinstance(event, ControlsChanged):
            self._mark(replace(event, index=event.index + (self._shift or 0)))
        elif isinstance(event, Finished | Cancelled | Failed):
            self._end(event)

    def _mark(self, change: ControlsChanged) -> None:
        """Note in the margin and in the history that other controls act from a token on."""
        self._marks.append(change)
        for mark in marks_of([change]):
            self._transcript.add_mark(self.message, mark.token_index, mark.text)

    def _end(self, event: Finished | Cancelled | Failed) -> None:
        self._timer.stop()
        self._history.save_reply(self.message, self._text, self._unsaved, marks=self._marks)
        self._unsaved = []
        state, ending = self._ending(event)
        self._history.end_reply(self.message, state, ending)
        self._transcript.finish_reply(self.message, ending.reason, stats_of(ending), problem=ending.problem)
        self.ended.emit(self, event)

    def _ending(self, event: Finished | Cancelled | Failed) -> tuple[State, Ending]:
        ending = Ending(
            seed=self.run.seed if self.run is not None else None,
            prompt_tokens=self.run.prompt_tokens if self.run is not None else 0,
            new_tokens=self.new_tokens,
        )
        if isinstance(event, Failed):
            return "failed", replace(ending, reason="failed", problem=event.message)
        read = max(event.prompt_tokens, ending.prompt_tokens)  # a server counts at the end
        ending = replace(ending, prefill_seconds=event.seconds.prefill, prompt_tokens=read)
        if isinstance(event, Cancelled):
            return "stopped", replace(ending, reason="cancelled", tokens_per_second=self.rate or 0.0)
        return "complete", replace(ending, reason=event.reason, tokens_per_second=event.tokens_per_second)


def _adapters_of(started: Started, index: int) -> ControlsChanged:
    """The adapters that a reply began with, as a change from none."""
    words = in_words(started.adapters)
    return ControlsChanged(run_id=started.run_id, index=index, changes=(("adapters", in_words(()), words),))
