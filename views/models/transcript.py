"""The conversation that is shown: its messages, their tokens, and the reply that is being written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from PySide6.QtCore import QObject, Signal

from inference.events import Role, Token
from views.models.focus import MessageId, TokenSpan
from views.models.tokens import AnyToken, TokenTrack

#: "interrupted" is a reply that the app was writing when it was killed; it can be continued.
ReplyState = Literal["complete", "streaming", "stopped", "interrupted", "failed"]


@dataclass(frozen=True, slots=True)
class Mark:
    """A note in the margin at token ``token_index``: a control that changed there ("temperature 0.7 ->
    1.2").
    """

    token_index: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyStats:
    """Figures under a finished reply; ``seconds_to_first`` is the prefill."""

    new_tokens: int = 0
    tokens_per_second: float = 0.0
    seconds_to_first: float = 0.0


@dataclass(slots=True, kw_only=True)
class ShownMessage:
    """One turn. Read it freely; once it is in a :class:`TranscriptModel`, change it only through that model.

    ``branch_index`` counts from 0. ``author`` is the model's name for replies. ``problem`` is shown under a
    failed or cut reply ("The context is full."). ``begins_inside``: the prompt has opened a section (of
    thinking) in which the reply begins.
    """

    id: MessageId
    role: Role
    text: str = ""
    track: TokenTrack = field(default_factory=TokenTrack)
    marks: list[Mark] = field(default_factory=list)
    branch_index: int = 0
    branch_count: int = 1
    state: ReplyState = "complete"
    reason: str = ""
    problem: str = ""
    author: str = ""
    stats: ReplyStats | None = None
    begins_inside: bool = False


class TranscriptModel(QObject):
    """The messages of the open conversation, oldest first (the system prompt is not among them).

    Controllers call the methods, views subscribe to the signals. Unknown message ids raise KeyError: they
    are a defect of the caller, except in :meth:`append_tokens`, :meth:`add_mark` and :meth:`finish_reply`,
    which ignore replies that are not shown (another conversation was opened meanwhile).
    """

    was_reset = Signal()
    #: A message came at the end: its id.
    message_appended = Signal(object)
    #: Branches, marks, state or figures of a message changed: its id.
    message_changed = Signal(object)
    #: The streaming reply grew: its id, and the offset of the first new character.
    text_appended = Signal(object, int)
    #: The text of a message is another one: its id.
    text_replaced = Signal(object)
    #: Tokens of a message came or were replaced: its id, and the number of the first new token.
    tokens_changed = Signal(object, int)
    #: The message and those behind it are other ones: position of the first.
    tail_replaced = Signal(int)
    #: A reply ended, however it did: its id.
    reply_finished = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._messages: list[ShownMessage] = []
        self._positions: dict[MessageId, int] = {}

    # --- reading

    @property
    def messages(self) -> Sequence[ShownMessage]:
        """All messages, oldest first."""
        return self._messages

    def __len__(self) -> int:
        return len(self._messages)

    def __contains__(self, message_id: object) -> bool:
        return message_id in self._positions

    def message(self, message_id: MessageId) -> ShownMessage:
        """The message with this id."""
        return self._messages[self._positions[message_id]]

    def position(self, message_id: MessageId) -> int:
        """Place of the message in :attr:`messages`."""
        return self._positions[message_id]

    @property
    def last_reply(self) -> ShownMessage | None:
        """The last message, if it is a reply."""
        last = self._messages[-1] if self._messages else None
        return last if last is not None and last.role == "assistant" else None

    @property
    def streaming_id(self) -> MessageId | None:
        """Id of the reply that is being written."""
        for message in reversed(self._messages):
            if message.state == "streaming":
                return message.id
        return None

    def token(self, message_id: MessageId, index: int) -> AnyToken | None:
        """Token number ``index`` of a message; None if the message or the token is not there (any more)."""
        position = self._positions.get(message_id)
        if position is None:
            return None
        track = self._messages[position].track
        return track[index] if 0 <= index < len(track) else None

    def tokens_of(self, span: TokenSpan) -> Sequence[AnyToken]:
        """The tokens of a span; empty if they are not there (any more)."""
        position = self._positions.get(span.message_id)
        return () if position is None else self._messages[position].track.tokens[span.start : span.end]

    def span_at(self, message_id: MessageId, start: int, end: int) -> TokenSpan | None:
        """The tokens that cover the characters ``start`` to ``end`` (exclusive) of a message's text."""
        track = self.message(message_id).track
        first, last = track.at_offset(start), track.at_offset(max(start, end - 1))
        return None if first is None or last is None else TokenSpan(message_id, first, last + 1)

    # --- the conversation

    def reset(self, messages: Iterable[ShownMessage] = ()) -> None:
        """Show another conversation."""
        self._messages = list(messages)
        self._renumber()
        self.was_reset.emit()

    def append_message(self, message: ShownMessage) -> None:
        """Add a message at the end."""
        if message.id in self._positions:
            raise ValueError(f"message id {message.id!r} is shown already")
        self._positions[message.id] = len(self._messages)
        self._messages.append(message)
        self.message_appended.emit(message.id)

    def replace_from(self, message_id: MessageId | None, messages: Iterable[ShownMessage]) -> None:
        """Put ``messages`` in the place of ``message_id`` and all behind it (walking branches, editing,
        undoing).

        The reader's place is kept. ``message_id`` None replaces everything, still without moving to another
        conversation.
        """
        first = 0 if message_id is None else self._positions[message_id]
        self._messages[first:] = list(messages)
        self._renumber()
        self.tail_replaced.emit(first)

    def set_text(self, message_id: MessageId, text: str) -> None:
        """Give a message another text; its tokens go."""
        message = self.message(message_id)
        message.text = text
        message.track = TokenTrack()
        message.marks = []
        self.text_replaced.emit(message_id)
        self.tokens_changed.emit(message_id, 0)

    # --- the reply

    def set_author(self, message_id: MessageId, author: str) -> None:
        """It is known now which model writes a reply."""
        if message_id in self._positions:
            self.message(message_id).author = author
            self.message_changed.emit(message_id)

    def begin_inside(self, message_id: MessageId) -> None:
        """The reply begins in a section that its prompt has opened."""
        if message_id in self._positions:
            self.message(message_id).begins_inside = True
            self.message_changed.emit(message_id)

    def append_tokens(self, message_id: MessageId, tokens: Sequence[Token]) -> None:
        """Let a reply grow by a frame's worth of tokens."""
        if message_id not in self._positions or not tokens:
            return
        message = self.message(message_id)
        first, start = len(message.track), len(message.text)
        message.track.extend(tokens)
        message.text += "".join(token.text for token in tokens)
        self.tokens_changed.emit(message_id, first)
        if len(message.text) > start:
            self.text_appended.emit(message_id, start)

    def finish_reply(
        self,
        message_id: MessageId,
        reason: str,
        stats: ReplyStats | None = None,
        *,
        problem: str = "",
    ) -> None:
        """The reply ended: ``reason`` as in ``Finished``, or "cancelled", or "failed" (``problem`` says
        what).
        """
        if message_id not in self._positions:
            return
        message = self.message(message_id)
        states: dict[str, ReplyState] = {"cancelled": "stopped", "failed": "failed"}
        message.state = states.get(reason, "complete")
        message.reason, message.problem, message.stats = reason, problem, stats
        self.message_changed.emit(message_id)
        self.reply_finished.emit(message_id)

    def add_mark(self, message_id: MessageId, token_index: int, text: str) -> None:
        """Note in the margin that from this token on another control acts."""
        if message_id in self._positions:
            self.message(message_id).marks.append(Mark(token_index, text))
            self.message_changed.emit(message_id)

    def set_track(self, message_id: MessageId, track: TokenTrack) -> None:
        """Give a message its tokens, for example from :func:`views.models.tokens.split_prompt`."""
        self.message(message_id).track = track
        self.tokens_changed.emit(message_id, 0)

    def _renumber(self) -> None:
        self._positions = {message.id: position for position, message in enumerate(self._messages)}
        if len(self._positions) != len(self._messages):
            raise ValueError("message ids are not unique")
