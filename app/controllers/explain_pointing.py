"""The parts of an explanation and the words of the conversation point at each other."""

from __future__ import annotations

from PySide6.QtCore import QObject, Slot

from app.controllers.placing import Places
from views.models.explaining import ExplanationModel
from views.models.focus import FocusModel, TokenSpan
from views.models.transcript import TranscriptModel


class ExplainPointing(QObject):
    """Links what is pointed at in the Why tab with the focus of the conversation.

    Args:
        transcript: The conversation.
        focus: What is in focus in it.
        model: Holds the explanation and what is pointed at in it.
    """

    def __init__(
        self,
        transcript: TranscriptModel,
        focus: FocusModel,
        model: ExplanationModel,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._transcript = transcript
        self._focus = focus
        self._model = model
        #: Where the explained text stands in the conversation; None while nothing is explained.
        self.places: Places | None = None
        self._busy = False
        model.pointed_changed.connect(self._show_pointed)

    @property
    def busy(self) -> bool:
        """Whether a change of the focus comes from here: nobody chose it in the conversation."""
        return self._busy

    def point_from_text(self, span: TokenSpan | None) -> None:
        """The conversation's focus points at the part that holds it."""
        result = self._model.result
        if self._busy or result is None or self.places is None:
            return
        segment = None
        if span is not None and span.message_id in self._transcript:
            track = self._transcript.message(span.message_id).track
            if span.end <= len(track):
                offset = max(0, track.end(span.end - 1) - 1)
                place = self.places.in_text(span.message_id, offset)
                segment = None if place is None else result.segment_at(place)
        self._busy = True
        self._model.hover(segment)
        self._busy = False

    @Slot()
    def _show_pointed(self) -> None:
        """Preview in the conversation what is pointed at in the Why tab; a click puts the focus there."""
        segment, chosen = self._model.segment, self._model.chosen_segment
        self._busy = True
        self._focus.set_preview(self._span_of(segment) if segment != chosen else None)
        if chosen is not None and (span := self._span_of(chosen)) is not None:
            self._focus.set_focus(span)
        self._busy = False

    def _span_of(self, segment: int | None) -> TokenSpan | None:
        result = self._model.result
        if result is None or segment is None or self.places is None or segment >= len(result.segments):
            return None
        part = result.segments[segment]
        place = self.places.in_message(part.start, part.end)
        if place is None or place.message_id not in self._transcript:
            return None
        return self._transcript.span_at(place.message_id, place.start, place.end)
