"""What the model had read when it wrote a reply: from the history, as requests take it."""

from __future__ import annotations

from dataclasses import dataclass

from app.controllers.beginnings import whole
from app.controllers.showing import turns
from app.history import History, StoredMessage
from inference.events import AttentionControl, Message, Token
from views.models.transcript import ShownMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadContext:
    """The turns (or a raw prompt) before a reply, and the reply itself.

    ``message_ids`` names, for each of ``turns``, the message of the transcript that it is (None: the system
    prompt); in a raw conversation the one entry stands for the prompt.
    """

    turns: tuple[Message, ...]
    prompt: str | None
    message_ids: tuple[int | None, ...]
    reply: int | None
    reply_ids: tuple[int, ...] = ()
    reply_text: str = ""

    @property
    def texts(self) -> tuple[str, ...]:
        """The text of each entry of ``message_ids``."""
        return (self.prompt,) if self.prompt is not None else tuple(turn.content for turn in self.turns)

    def attention(self, controls: tuple[AttentionControl, ...]) -> tuple[AttentionControl, ...]:
        """Those of the controls that are about what was read here."""
        return attention_within(controls, len(self.turns), raw=self.prompt is not None)

    @property
    def empty(self) -> bool:
        """Whether nothing was said yet."""
        return not self.turns and self.prompt is None


def attention_within(
    controls: tuple[AttentionControl, ...], turns: int, *, raw: bool
) -> tuple[AttentionControl, ...]:
    """The controls that are about the first ``turns`` messages, or about a raw prompt."""
    return tuple(
        control
        for control in controls
        if (control.message is None) == raw and (control.message is None or control.message < turns)
    )


def context_of_reply(history: History, message: int, shown: ShownMessage) -> ReadContext:
    """What was read before and in a reply; exact tokens where they are known."""
    path = history.ancestors(message)
    tokens = [token for token in shown.track.tokens if isinstance(token, Token)]
    beginning = whole(shown.text, tokens if len(tokens) == len(shown.track) else ())
    before = context_before(history, path[:-1])
    return ReadContext(
        turns=before.turns,
        prompt=before.prompt,
        message_ids=before.message_ids,
        reply=message,
        reply_ids=beginning.ids,
        reply_text=beginning.reply_text,
    )


def context_before(history: History, path: tuple[StoredMessage, ...]) -> ReadContext:
    """What the model reads of a branch that ends with a message of the user."""
    if not path:
        return ReadContext(turns=(), prompt=None, message_ids=(), reply=None)
    about = history.conversation(path[-1].conversation)
    ids = tuple(message.id for message in path)
    if about.kind == "raw":
        return ReadContext(turns=(), prompt=path[-1].text, message_ids=ids[-1:], reply=None)
    head = (None,) if about.system_prompt.strip() else ()
    return ReadContext(
        turns=turns(about.system_prompt, path), prompt=None, message_ids=(*head, *ids), reply=None
    )
