"""Stored messages as the transcript shows them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from app.history import Ending, History, StoredMessage
from inference.events import ControlsChanged, Message, Token
from views.models.tokens import TokenTrack
from views.models.transcript import Mark, ReplyState, ReplyStats, ShownMessage


def shown(history: History, message: StoredMessage, running: Collection[int] = ()) -> ShownMessage:
    """A message without its tokens (they are loaded when they are looked at).

    Args:
        history: Where the message and its alternatives are.
        message: What to show.
        running: Messages that are being written now; any other unfinished one was interrupted.
    """
    branches = [sibling.id for sibling in history.siblings(message.id)]
    return ShownMessage(
        id=message.id,
        role=message.role,
        text=message.text,
        marks=marks_of(history.marks(message.id)) if message.role == "assistant" else [],
        branch_index=branches.index(message.id),
        branch_count=len(branches),
        state=_state(message, running),
        reason=message.ending.reason,
        problem=message.ending.problem,
        author=message.model,
        stats=stats_of(message.ending),
    )


def _state(message: StoredMessage, running: Collection[int]) -> ReplyState:
    if message.state == "streaming" and message.id not in running:
        return "interrupted"
    return message.state


def stats_of(ending: Ending) -> ReplyStats | None:
    """The figures under a reply; None where nothing was generated."""
    if not ending.new_tokens:
        return None
    return ReplyStats(
        new_tokens=ending.new_tokens,
        tokens_per_second=ending.tokens_per_second,
        seconds_to_first=ending.prefill_seconds,
    )


def marks_of(changes: Iterable[ControlsChanged]) -> list[Mark]:
    """Changes of controls as notes in the margin."""
    return [
        Mark(change.index, f"{name.replace('_', ' ')} {old} → {new}")
        for change in changes
        for name, old, new in change.changes
    ]


def track_of(text: str, tokens: Sequence[Token]) -> TokenTrack:
    """Tokens that end where ``text`` ends; what is before the first of them has none."""
    return TokenTrack(tokens, origin=len(text) - sum(len(token.text) for token in tokens))


def turns(system_prompt: str, path: Iterable[StoredMessage]) -> tuple[Message, ...]:
    """A branch as the engine reads it."""
    head = (Message(role="system", content=system_prompt),) if system_prompt.strip() else ()
    return head + tuple(Message(role=message.role, content=message.text) for message in path)


def title_from(text: str, longest: int = 60) -> str:
    """A title for a conversation that begins with this text."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 1].rsplit(" ", 1)[0] + "…"
