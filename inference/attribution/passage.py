"""What is explained: the exact text that the model read, token by token, and the target that followed it."""

from __future__ import annotations

from dataclasses import dataclass

from inference.errors import ContextFull, EmptyPrompt, InvalidRequest
from inference.steering import TokenSpan


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A part of the context that a person or the model wrote (a message's content), not the template's own
    text.
    """

    start: int
    end: int
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A context and a target, as tokens and as text.

    Attributes:
        text: The context's exact text, special tokens included as they are written.
        ids: The context's tokens.
        spans: Each context token's characters in ``text``. All tokens of one multi-byte character have its
            span.
        special: Whether a token is a special one (begin of text, end of turn ...).
        target_text: The target's text.
        target_ids: The target's tokens.
        target_spans: Each target token's characters in ``target_text``.
        regions: What may be cut into segments, in order and without overlap; the rest is protected.
    """

    text: str
    ids: tuple[int, ...]
    spans: tuple[TokenSpan, ...]
    special: tuple[bool, ...]
    target_text: str
    target_ids: tuple[int, ...]
    target_spans: tuple[TokenSpan, ...]
    regions: tuple[Region, ...]

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.spans) == len(self.special):
            raise ValueError("ids, spans and special must be of one length")
        if len(self.target_ids) != len(self.target_spans):
            raise ValueError("target_ids and target_spans must be of one length")

    @property
    def length(self) -> int:
        """Tokens of the context (N)."""
        return len(self.ids)

    @property
    def read_ids(self) -> tuple[int, ...]:
        """The N + T - 1 tokens that have to be read to predict every target token."""
        return self.ids + self.target_ids[:-1]

    def check(self, context_length: int) -> None:
        """Refuse what cannot be explained.

        Raises:
            EmptyPrompt: There is no context.
            InvalidRequest: The target is empty.
            ContextFull: Context and target do not fit into the model.
        """
        if not self.ids:
            raise EmptyPrompt("There is no text before the target, so nothing can have carried it.")
        if not self.target_ids:
            raise InvalidRequest("The target is empty.", hint="Select a part of the reply, or type a target.")
        count = self.length + len(self.target_ids)
        if count > context_length:
            raise ContextFull(f"Context and target are {count:,} tokens; the model reads {context_length:,}.")
