"""Where the parts of an explanation stand in the conversation."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from app.controllers.context import ReadContext
from views.models.text_range import TextRange


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Characters of the context's exact text that are those of a message, from ``origin`` on."""

    start: int
    end: int
    message: int
    origin: int


class Places:
    """Maps the exact text that the model read to the messages, and back.

    Args:
        text: The exact text.
        context: What was read.
        reply_text: The text of the reply; what of it stands in ``text`` is its beginning.
    """

    def __init__(self, text: str, context: ReadContext, reply_text: str) -> None:
        self._stretches: list[_Stretch] = []
        at = 0
        for message, content in zip(context.message_ids, context.texts, strict=True):
            kept = content if text.find(content, at) >= 0 else content.strip()
            place = text.find(kept, at) if kept else -1
            if place < 0:
                continue
            at = place + len(kept)
            if message is not None:
                self._stretches.append(_Stretch(place, at, message, content.index(kept)))
        if context.reply is not None and reply_text:
            self._add_reply(text, at, context.reply, reply_text)

    def _add_reply(self, text: str, at: int, reply: int, reply_text: str) -> None:
        """The reply is what the text ends with, as far as it goes."""
        for length in range(min(len(reply_text), len(text) - at), 0, -1):
            if text.endswith(reply_text[:length]):
                self._stretches.append(_Stretch(len(text) - length, len(text), reply, 0))
                return

    def in_message(self, start: int, end: int) -> TextRange | None:
        """The characters of a message that a stretch of the text is; None for marks of the template."""
        place = bisect_right([stretch.start for stretch in self._stretches], max(start, end - 1)) - 1
        if place < 0:
            return None
        stretch = self._stretches[place]
        first, last = max(start, stretch.start), min(end, stretch.end)
        if first >= last:
            return None
        shift = stretch.origin - stretch.start
        return TextRange(stretch.message, first + shift, last + shift)

    def in_text(self, message: object, offset: int) -> int | None:
        """Where a character of a message is in the text."""
        for stretch in self._stretches:
            place = offset - stretch.origin + stretch.start
            if stretch.message == message and stretch.start <= place < stretch.end:
                return place
        return None
