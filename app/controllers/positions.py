"""Where the tokens of the conversation stand among those that the model reads, counted from the first."""

from __future__ import annotations

from inference.events import ScoredToken
from views.models.focus import TokenSpan
from views.models.transcript import ShownMessage, TranscriptModel


class Positions:
    """Maps tokens of messages to positions in what was read, and back.

    Tokens of a scored prompt know their position; those of the last reply are counted from the end. The
    tokens of an earlier reply are not known to stand where they stood, and have none.

    Args:
        transcript: The conversation.
        count: How many tokens were read, the last reply included.
        reply_tokens: How many of them are the last reply's own; 0 where they are not known.
    """

    def __init__(self, transcript: TranscriptModel, count: int, reply_tokens: int) -> None:
        self._transcript, self._count = transcript, count
        self._reply_start = count - reply_tokens
        self._known = reply_tokens > 0

    def of(self, span: TokenSpan | None) -> int | None:
        """The position of a span's last token."""
        if span is None or span.message_id not in self._transcript:
            return None
        message = self._transcript.message(span.message_id)
        if not 0 < span.end <= len(message.track):
            return None
        position = self._of_token(message, span.end - 1)
        return position if position is not None and 0 <= position < self._count else None

    def span(self, position: int) -> TokenSpan | None:
        """The token at a position; None for the template's own."""
        for message in self._transcript.messages:
            for number in range(len(message.track)):
                if self._of_token(message, number) == position:
                    return TokenSpan(message.id, number, number + 1)
        return None

    def _of_token(self, message: ShownMessage, number: int) -> int | None:
        token = message.track.tokens[number]
        if isinstance(token, ScoredToken):
            return token.index
        last = self._transcript.last_reply
        own = self._known and last is not None and last.id == message.id
        return self._reply_start + number if own else None
