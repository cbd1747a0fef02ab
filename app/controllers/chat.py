"""The open conversation: sending, editing, branching, continuing. Everything is in the history before it is
shown.
"""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QObject, Signal, Slot

from app.controllers.generation import Generation
from app.controllers.replies import Replies
from app.controllers.showing import shown, title_from, track_of
from app.history import Conversation, History, StoredMessage
from app.history.records import Kind
from views.models.controls import ControlsModel
from views.models.model_choice import ModelChoiceModel
from views.models.transcript import ShownMessage, TranscriptModel


class ChatController(QObject):
    """Takes the intents of the chat (see ``views.intents.ChatIntents``)."""

    #: Another conversation is open: :class:`~app.history.Conversation`, or None for one that has not begun.
    opened = Signal(object)
    #: A conversation is new, or its title or time changed: its id.
    touched = Signal(int)
    #: A text could not be sent and belongs back into the composer.
    returned = Signal(str)
    told = Signal(str)

    def __init__(
        self,
        *,
        history: History,
        transcript: TranscriptModel,
        generation: Generation,
        controls: ControlsModel,
        models: ModelChoiceModel,
        system_prompt: str = "",
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._history = history
        self._transcript = transcript
        self._generation = generation
        self._controls = controls
        self._models = models
        self._replies = Replies(history, transcript, generation, lambda: self._model_name)
        self._first_system_prompt = system_prompt
        self._system_prompt = system_prompt
        self._open: int | None = None

    @property
    def conversation(self) -> int | None:
        """Id of the open conversation; None while nothing was said in it."""
        return self._open

    @property
    def system_prompt(self) -> str:
        """What the open conversation begins with."""
        return self._system_prompt

    @property
    def context_used(self) -> int:
        """Tokens that the shown branch took of the context when its last reply was written."""
        path = self._history.path(self._open) if self._open is not None else ()
        ending = next((message.ending for message in reversed(path) if message.ending.prompt_tokens), None)
        return ending.prompt_tokens + ending.new_tokens if ending is not None else 0

    @property
    def _model_name(self) -> str:
        return self._models.loaded.info.name if self._models.loaded is not None else ""

    # --- which conversation

    @Slot()
    def new_chat(self) -> None:
        """Begin anew; nothing is stored until something is said."""
        self.keep_controls()
        self._open, self._system_prompt = None, self._first_system_prompt
        self._generation.steered = None
        self._transcript.reset()
        self.opened.emit(None)

    @Slot(object)
    def open(self, conversation: int) -> None:
        """Show a conversation."""
        self.keep_controls()
        self._generation.save()
        about = self._history.conversation(conversation)
        self._open, self._system_prompt = conversation, about.system_prompt
        self._generation.steered = conversation
        self._controls.set_controls(about.controls)
        self._transcript.reset(self._shown_from(None))
        self.opened.emit(about)

    @Slot(str)
    def set_system_prompt(self, text: str) -> None:
        """Change what the open conversation begins with."""
        self._system_prompt = text
        if self._open is not None:
            self._history.set_system_prompt(self._open, text)

    def keep_controls(self) -> None:
        """Remember the controls as those of the open conversation."""
        if self._open is not None:
            self._history.set_controls(self._open, self._controls.controls)

    # --- what is said

    @Slot(str)
    def send(self, text: str) -> None:
        """Send a message and have it answered; without a model the text goes back."""
        if not text.strip() or not self._ready(text):
            return
        conversation = self._begin_conversation(text, "chat")
        path = self._history.path(conversation)
        parent = path[-1].id if path else None
        self._say(conversation, parent, text)

    @Slot(str)
    def send_raw(self, text: str) -> None:
        """Have a raw text continued; in a conversation of its own, where each text is a branch."""
        if not text or not self._ready(text):
            return
        if self._open is not None and self._history.conversation(self._open).kind != "raw":
            self.new_chat()
        conversation = self._begin_conversation(text, "raw")
        first = self._history.path(conversation)
        self._say(conversation, None, text, in_place_of=first[0].id if first else None)

    @Slot()
    def stop(self) -> None:
        """Stop the reply that is being written in the open conversation, or else whichever is."""
        here = [message.id for message in self._transcript.messages if isinstance(message.id, int)]
        if not self._generation.stop(here):
            self._generation.stop()

    @Slot(object)
    def regenerate(self, message: int) -> None:
        """Write another reply beside this one."""
        stored = self._history.message(message)
        if stored.role == "assistant" and self._ready() and stored.parent is not None:
            self._reply(stored.parent, in_place_of=message)

    @Slot(object)
    def continue_reply(self, message: int) -> None:
        """Go on with a reply where it ended, was stopped or was interrupted."""
        if message in self._generation.running or not self._ready():
            return
        stored = self._history.message(message)
        if not self._can_go_on(stored.conversation):
            return
        self._replies.go_on(stored)

    @Slot(object, str)
    def edit(self, message: int, text: str) -> None:
        """Put a text beside a message; a new question is answered, a new answer stands as it is."""
        stored = self._history.message(message)
        if text == stored.text or not text.strip():
            return
        if stored.role == "user":
            if self._ready():
                self._say(stored.conversation, stored.parent, text, in_place_of=message)
            return
        added = self._history.add_message(
            stored.conversation, stored.parent, stored.role, text, model=stored.model
        )
        self._transcript.replace_from(message, self._shown_from(added.id))
        self.touched.emit(stored.conversation)

    @Slot(object, int)
    def step_branch(self, message: int, step: int) -> None:
        """Show the branch so many further on."""
        siblings = self._history.siblings(message)
        place = [sibling.id for sibling in siblings].index(message) + step
        if 0 <= place < len(siblings):
            self._generation.save()
            self._history.choose(siblings[place].id)
            self._transcript.replace_from(message, self._shown_from(siblings[place].id))

    @Slot(object, int, int)
    def branch_from_row(self, message: int, index: int, row: int) -> None:
        """Branch at a candidate by its place in the table: most likely (raw) first."""
        token = self._transcript.token(message, index)
        if token is not None and 0 <= row < len(token.candidates):
            candidate = sorted(token.candidates, key=lambda c: -c.logprob)[row]
            self.branch_from_candidate(message, index, candidate.id)

    @Slot(object, int, int)
    def branch_from_candidate(self, message: int, index: int, candidate_id: int) -> None:
        """Write the reply anew from token ``index`` of the shown track on, beginning with that candidate."""
        token = self._transcript.token(message, index)
        candidate = next((c for c in token.candidates if c.id == candidate_id), None) if token else None
        stored = self._history.message(message)
        if candidate is None or stored.parent is None or stored.role != "assistant" or not self._ready():
            return
        if not self._can_go_on(stored.conversation):
            return
        self._replies.branch(stored, index, candidate)
        self.touched.emit(stored.conversation)

    # --- how

    def _ready(self, text: str = "") -> bool:
        if self._models.loaded is not None or self._models.loading is not None:
            return True
        self.told.emit("Choose a model first.")
        if text:
            self.returned.emit(text)
        return False

    def _can_go_on(self, conversation: int) -> bool:
        """Whether the model can be made to continue a reply; some servers always begin anew in a chat."""
        remote = self._models.loaded.info.remote if self._models.loaded is not None else None
        if remote is None or not remote.continue_problem:
            return True
        if self._history.conversation(conversation).kind == "raw":
            return True
        self.told.emit(f"{remote.continue_problem} In raw mode it can be done.")
        return False

    def _begin_conversation(self, text: str, kind: Kind) -> int:
        if self._open is None:
            about: Conversation = self._history.create(
                title_from(text),
                kind=kind,
                system_prompt=self._system_prompt,
                controls=self._controls.controls,
            )
            self._open = self._generation.steered = about.id
            self.opened.emit(about)
        return self._open

    def _say(
        self, conversation: int, parent: int | None, text: str, *, in_place_of: int | None = None
    ) -> None:
        message = self._history.add_message(conversation, parent, "user", text)
        if in_place_of is None:
            self._transcript.append_message(shown(self._history, message))
        else:
            self._transcript.replace_from(in_place_of, [shown(self._history, message)])
        self._reply(message.id)

    def _reply(self, parent: int, *, in_place_of: int | None = None) -> None:
        self._replies.begin(parent, in_place_of=in_place_of)
        self.touched.emit(self._history.message(parent).conversation)

    def _shown_from(self, first: int | None) -> list[ShownMessage]:
        """The shown branch of the open conversation, from a message on."""
        if self._open is None:
            return []
        path: Sequence[StoredMessage] = self._history.path(self._open)
        if first is not None:
            path = path[[message.id for message in path].index(first) :]
        running = self._generation.running
        messages = [shown(self._history, message, running) for message in path]
        for message in messages:
            if message.state == "streaming" and isinstance(message.id, int):
                message.track = track_of(message.text, self._history.reply(message.id).tokens)
        return messages
