"""What the Why tab is about: the target follows the conversation and what is selected in it."""

from __future__ import annotations

from PySide6.QtCore import QObject, Slot

from inference.events import Candidate
from views.models.explaining import ExplainTarget, ExplanationModel
from views.models.focus import MessageId, TokenSpan
from views.models.text_range import TextRange
from views.models.transcript import TranscriptModel


class ExplainTargets(QObject):
    """Sets the target of the explanation model to parts of replies.

    Args:
        transcript: The conversation.
        model: Holds the target.
    """

    def __init__(
        self, transcript: TranscriptModel, model: ExplanationModel, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._transcript = transcript
        self._model = model
        transcript.tail_replaced.connect(self._check)

    def take_characters(
        self, message_id: MessageId, start: int, end: int, contrast: Candidate | None = None
    ) -> None:
        """Characters of a message are the target, unless there are none."""
        text = self._transcript.message(message_id).text[start:end]
        if text:
            self._model.set_target(
                ExplainTarget(text=text, message_id=message_id, start=start, end=end, contrast=contrast)
            )

    def take_selection(self, selected: TextRange | None) -> None:
        """Text was selected in the conversation; within a reply it is the target."""
        if selected is not None and selected.message_id in self._transcript:
            message = self._transcript.message(selected.message_id)
            if message.role == "assistant":
                self.take_characters(selected.message_id, selected.start, selected.end)

    def take_focus(self, span: TokenSpan | None) -> None:
        """Tokens are in focus; within a reply they are the target."""
        if span is None or span.message_id not in self._transcript:
            return
        message = self._transcript.message(span.message_id)
        if message.role == "assistant" and span.end <= len(message.track):
            self.take_tokens(span)

    def take_tokens(self, span: TokenSpan, contrast: Candidate | None = None) -> bool:
        """Tokens of a reply are the target.

        Returns:
            False if they are not a reply's, or have no text; the target stays as it is then.
        """
        message = self._transcript.message(span.message_id)
        start, end = message.track.start(span.start), message.track.end(span.end - 1)
        if message.role != "assistant" or end <= start:
            return False
        self.take_characters(message.id, max(0, start), end, contrast)
        return True

    def take_reply(self, message_id: int) -> None:
        """A new reply is the target, unless something else was chosen."""
        target = self._model.target
        text = self._transcript.message(message_id).text
        if target is None or (target.message_id == message_id and target.end < len(text)):
            self.take_characters(message_id, 0, len(text))

    def take_last_reply(self) -> None:
        """The last reply is the target, if it is complete."""
        reply = self._transcript.last_reply
        if reply is not None and reply.text and reply.state != "streaming":
            self.take_characters(reply.id, 0, len(reply.text))

    def take_statement(self) -> None:
        """The last reply is the target, up to its first source mark."""
        reply = self._transcript.last_reply
        if reply is not None:
            mark = reply.text.find(" [", 1)
            self.take_characters(reply.id, 0, mark if mark > 0 else len(reply.text))

    @Slot()
    def _check(self, *_: object) -> None:
        """A target whose text is gone gives way to the last reply."""
        target = self._model.target
        if target is None or target.message_id is None:
            return
        gone = target.message_id not in self._transcript
        if gone or self._transcript.message(target.message_id).text[target.start : target.end] != target.text:
            self._model.set_target(None)
            self.take_last_reply()
