"""Perplexity of a text that grows, without reading it again from the start."""

from __future__ import annotations

import math

from views.models.focus import MessageId
from views.models.tokens import surprisal
from views.models.transcript import TranscriptModel


class RunningPerplexity:
    """Perplexity of a message that grows: only new tokens are looked at."""

    def __init__(self, transcript: TranscriptModel) -> None:
        self._transcript = transcript
        self._message: MessageId | None = None
        self._seen = self._count = 0
        self._sum = 0.0
        transcript.tokens_changed.connect(self._changed)
        transcript.was_reset.connect(self._forget)
        transcript.tail_replaced.connect(self._forget)

    def of(self, message_id: MessageId) -> tuple[float | None, int]:
        """exp(mean surprisal), and over how many tokens; None where nothing was predicted."""
        if message_id != self._message:
            self._forget()
            self._message = message_id
        track = self._transcript.message(message_id).track
        for index in range(self._seen, len(track)):
            value = surprisal(track[index])
            if value is not None:
                self._sum += value
                self._count += 1
        self._seen = len(track)
        if not self._count:
            return None, 0
        mean = self._sum / self._count
        return (math.exp(mean) if mean < 700 else math.inf), self._count

    def _changed(self, message_id: MessageId, first: int) -> None:
        if message_id == self._message and first < self._seen:
            self._forget()

    def _forget(self) -> None:
        self._message = None
        self._seen = self._count = 0
        self._sum = 0.0
