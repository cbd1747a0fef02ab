"""The tokens of messages that were not just generated: from the history, or read anew by the model when
wanted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from app.controllers.generation import Generation, Task
from app.controllers.showing import track_of, turns
from app.desk import Desk
from app.faults import FaultReporter
from app.history import History
from inference.events import Event, Failed, PromptScored, ScoreRequest, Token
from inference.running import RunHandle, new_run_id
from views.models.model_choice import ModelChoiceModel
from views.models.settings import SettingsModel
from views.models.tokens import split_prompt
from views.models.transcript import ShownMessage, TranscriptModel


class TracksController(QObject):
    """Gives the messages of the transcript their tokens.

    Stored records are read in small pieces between other work, the newest message first, so that opening a
    long conversation does not hold up the window.
    """

    #: Something to say in the status line.
    told = Signal(str)

    def __init__(
        self,
        *,
        desk: Desk,
        history: History,
        transcript: TranscriptModel,
        generation: Generation,
        models: ModelChoiceModel,
        settings: SettingsModel,
        faults: FaultReporter,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._desk = desk
        self._history = history
        self._transcript = transcript
        self._generation = generation
        self._models = models
        self._settings = settings
        self._faults = faults
        self._waiting: deque[int] = deque()
        self._pieces: Iterator[tuple[Token, ...]] | None = None
        self._tokens: list[Token] = []
        self._scoring: RunHandle | None = None
        self._scored_path: tuple[int, ...] = ()
        self._idle = QTimer(self)
        self._idle.setInterval(0)
        self._idle.timeout.connect(self._load_piece)
        transcript.was_reset.connect(self._on_shown)
        transcript.tail_replaced.connect(self._on_shown)
        generation.prompt_scored.connect(self._on_prompt_scored)

    def close(self) -> None:
        """Load no more."""
        self._idle.stop()

    # --- from the history

    @Slot()
    def _on_shown(self) -> None:
        self._desk.drop(self._scoring)
        self._pieces, self._tokens, self._scoring = None, [], None
        self._waiting = deque(
            message.id
            for message in reversed(self._transcript.messages)
            if isinstance(message.id, int)
            and _lacks_tokens(message)
            and self._history.has_records(message.id)
        )
        if self._waiting:
            self._idle.start()
        else:
            self._idle.stop()

    @Slot()
    def _load_piece(self) -> None:
        if self._pieces is None:
            self._pieces, self._tokens = self._history.records(self._waiting[0]), []
        piece = next(self._pieces, None)
        if piece is not None:
            self._tokens.extend(piece)
            return
        number, self._pieces = self._waiting.popleft(), None
        if number in self._transcript and _lacks_tokens(message := self._transcript.message(number)):
            self._transcript.set_track(number, track_of(message.text, self._tokens))
        if not self._waiting:
            self._idle.stop()

    # --- from the model

    @Slot(object)
    def wanted(self, message: int) -> None:
        """Have the branch up to a message read by the model, if its tokens are not known."""
        if (
            message not in self._transcript
            or not _lacks_tokens(self._transcript.message(message))
            or message in self._waiting
            or self._models.loaded is None
            or self._generation.running
        ):
            return
        stored = self._history.ancestors(message)
        path = tuple(item.id for item in stored)
        if self._scoring is not None and self._scored_path[: len(path)] == path:
            return
        self._desk.drop(self._scoring)
        about = self._history.conversation(stored[-1].conversation)
        reply = stored[-1].text if stored[-1].role == "assistant" else ""
        before = stored[:-1] if reply else stored
        raw = about.kind == "raw"
        remote = self._models.loaded.info.remote
        if problem := remote and (remote.score_raw_problem if raw else remote.score_chat_problem):
            self.told.emit(problem)
            return
        request = ScoreRequest(
            run_id=new_run_id(),
            messages=() if raw else turns(about.system_prompt, before),
            prompt=before[-1].text if raw else None,
            reply_text=reply,
            candidates=self._settings.settings.candidates,
        )
        self._scored_path = path
        self._scoring = self._desk.submit(request, self._on_score_events)

    def _on_score_events(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, PromptScored):
                self._deal(event, self._scored_path)
            elif isinstance(event, Failed):
                self._explain(event)
        self._scoring = None if events and not isinstance(events[-1], PromptScored) else self._scoring

    def _explain(self, failed: Failed) -> None:
        """Who only looks at a conversation that is too long has done nothing that could fail."""
        if failed.kind == "context-full":
            self.told.emit("The conversation is longer than the context: its tokens can't be read at once.")
        else:
            self._faults.report_failed(failed)

    @Slot(object, object)
    def _on_prompt_scored(self, task: Task, scored: PromptScored) -> None:
        before = [message.id for message in self._history.ancestors(task.message)[:-1]]
        self._deal(scored, tuple(before), ending=task.beginning.text)

    def _deal(self, scored: PromptScored, path: tuple[int, ...], *, ending: str = "") -> None:
        """Give each message of the path its part of the tokens, unless it has exact ones of its own; those of
        ``ending``, the reply's beginning, are nobody's.
        """
        if not all(number in self._transcript for number in path):
            return
        messages = [self._transcript.message(number) for number in path]
        tracks = split_prompt(scored.tokens, [message.text for message in messages], ending=ending)
        for number, message, track in zip(path, messages, tracks, strict=True):
            if len(track) and not _generated(message):
                self._transcript.set_track(number, track)


def _lacks_tokens(message: ShownMessage) -> bool:
    return len(message.track) == 0 and bool(message.text) and message.state != "streaming"


def _generated(message: ShownMessage) -> bool:
    return any(isinstance(token, Token) for token in message.track.tokens)
