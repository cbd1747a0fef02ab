"""Replies are begun, branched and gone on with: each is in the history and shown before it is generated."""

from __future__ import annotations

from collections.abc import Callable

from app.controllers.beginnings import Beginning, branch, whole
from app.controllers.generation import Generation, Task
from app.controllers.showing import shown, track_of, turns
from app.history import History, StoredMessage
from inference.events import Candidate, Token
from views.models.transcript import ShownMessage, TranscriptModel


class Replies:
    """Begins replies.

    Args:
        history: Where they are kept.
        transcript: Where they are shown.
        generation: What writes them.
        model_name: Tells the name of the model that writes.
    """

    def __init__(
        self,
        history: History,
        transcript: TranscriptModel,
        generation: Generation,
        model_name: Callable[[], str],
    ) -> None:
        self._history = history
        self._transcript = transcript
        self._generation = generation
        self._model_name = model_name

    def begin(
        self, parent: int, beginning: Beginning | None = None, *, in_place_of: int | None = None
    ) -> None:
        """Answer a message.

        Args:
            parent: The message.
            beginning: What the reply begins with.
            in_place_of: The shown message that it takes the place of; None puts it at the end.
        """
        beginning = beginning or Beginning()
        conversation = self._history.message(parent).conversation
        message = self._history.add_message(
            conversation, parent, "assistant", beginning.text, state="streaming", model=self._model_name()
        )
        if beginning.tokens:
            self._history.save_reply(message.id, beginning.text, beginning.tokens)
        added = shown(self._history, message, running=(message.id,))
        added.track = track_of(beginning.text, beginning.tokens)
        if in_place_of is None:
            self._transcript.append_message(added)
        else:
            self._transcript.replace_from(in_place_of, [added])
        self._generation.start(self._task(message.id, beginning))

    def branch(self, stored: StoredMessage, index: int, candidate: Candidate) -> None:
        """Write a reply anew from token ``index`` of its shown track on, with ``candidate`` in its place."""
        assert stored.parent is not None
        message = self._transcript.message(stored.id)
        beginning = self._beginning_of_branch(message, index, candidate)
        beginning = beginning.for_model(self._model_name(), stored.model)
        self._generation.stop([stored.id])
        self.begin(stored.parent, beginning, in_place_of=stored.id)

    def go_on(self, stored: StoredMessage) -> None:
        """Go on with a reply where it ended; end tokens are not kept."""
        beginning = whole(stored.text, self._history.reply(stored.id).tokens)
        beginning = beginning.for_model(self._model_name(), stored.model)
        self._history.reopen_reply(stored.id)
        self._history.save_reply(stored.id, beginning.text, keep_tokens=len(beginning.tokens))
        self._show_again(stored.id, beginning)
        self._generation.start(self._task(stored.id, beginning))

    def _task(self, message: int, beginning: Beginning) -> Task:
        path = self._history.ancestors(message)[:-1]
        about = self._history.conversation(self._history.message(message).conversation)
        raw = about.kind == "raw"
        return Task(
            message=message,
            conversation=about.id,
            beginning=beginning,
            turns=() if raw else turns(about.system_prompt, path),
            prompt=path[-1].text if raw else None,
        )

    def _beginning_of_branch(self, message: ShownMessage, index: int, candidate: Candidate) -> Beginning:
        tokens = message.track.tokens
        generated = [token for token in tokens if isinstance(token, Token)]
        if len(generated) == len(tokens):
            return branch(message.text, generated, index, candidate)
        return Beginning(text=message.text[: max(0, message.track.start(index))] + candidate.text)

    def _show_again(self, message: int, beginning: Beginning) -> None:
        """Show a reply that is being continued, without the end that is not kept."""
        again = shown(self._history, self._history.message(message), running=(message,))
        again.track = track_of(beginning.text, beginning.tokens)
        if message in self._transcript:
            self._transcript.replace_from(message, [again])
