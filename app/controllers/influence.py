"""What carried an answer: its prompt explained sentence by sentence, summed up by source."""

from __future__ import annotations

import re

from PySide6.QtCore import QObject, Slot

from app.controllers.asking import AskingController
from app.desk import Desk
from app.faults import FaultReporter
from inference.events import (
    ENDINGS,
    Event,
    ExplainRequest,
    Explanation,
    ExplanationPart,
    ExplanationStarted,
    Failed,
    Source,
)
from inference.running import RunHandle, new_run_id
from views.models.answers import AnswersModel, Influence, SentenceInfluence, Turn
from views.models.model_choice import ModelChoiceModel

#: A source with less than this share of the strongest one's influence has next to none.
_WEAK = 0.05
#: Nor has one that makes the whole answer less than 5 % more likely, even where it is the only one.
_LEAST = 0.05


class InfluenceController(QObject):
    """Explains the newest answer.

    Args:
        engine: Where the model is; an explanation waits for an answer that is being written.
        asking: Shows the sources again when they are explained.
        answers: Takes the result.
        models: Which model is loaded.
        faults: Told of what went wrong.
    """

    def __init__(
        self,
        *,
        engine: Desk,
        asking: AskingController,
        answers: AnswersModel,
        models: ModelChoiceModel,
        faults: FaultReporter,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._engine, self._asking, self._answers = engine, asking, answers
        self._models = models
        self._faults = faults
        self._run: RunHandle | None = None
        self._context = ""

    @Slot()
    def toggle(self) -> None:
        """Explain the newest answer, or stop explaining it."""
        last = self._answers.last
        if self._run is not None:
            self.stop()
        elif last is not None and self._answers.explainable:
            loaded = self._models.loaded
            on_server = loaded is not None and loaded.info.remote is not None
            request = ExplainRequest(
                run_id=new_run_id(),
                method="server-leave-one-out" if on_server else "atman",
                messages=last.messages,
                reply_text=last.text,
                granularity="sentence",
            )
            self._answers.set_explaining("Explaining")
            self._run = self._engine.submit(request, self._take)

    @Slot()
    def stop(self, *_: object) -> None:
        """Hear no more of it."""
        self._engine.drop(self._run)
        self._run = None
        self._answers.set_explaining("")

    def _take(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, ExplanationStarted):
                self._context = event.context
            elif isinstance(event, ExplanationPart):
                self._answers.set_explaining(f"Explaining, {event.done} of {event.total}")
            elif isinstance(event, Explanation):
                self._show(event)
            elif isinstance(event, Failed):
                self._faults.report_failed(event)
        if isinstance(events[-1], ENDINGS):
            self._run = None
            self._answers.set_explaining("")

    def _show(self, explanation: Explanation) -> None:
        last = self._answers.last
        if last is not None and explanation.complete:
            self._answers.update(influences=influences(explanation, self._context, last))
            self._asking.show_last()


def influences(explanation: Explanation, context: str, turn: Turn) -> tuple[tuple[int, Influence], ...]:
    """What each source of a turn did, by its number.

    Args:
        explanation: Of the whole answer, by sentences of the prompt.
        context: The exact text that its segments are offsets into.
        turn: Its sources are what the model read, in the order in which it stands there.
    """
    scores: dict[int, list[tuple[str, float]]] = {}
    at = 0
    for source in turn.sources:
        start, at = _place(source, context, at)
        scores[source.number] = [
            (" ".join(segment.text.split()), score)
            for segment, score in zip(explanation.segments, explanation.scores[0], strict=True)
            if score is not None and start <= segment.start < at
        ]
    sums = {number: sum(nats for _, nats in own) for number, own in scores.items()}
    largest = max((abs(nats) for own in scores.values() for _, nats in own), default=0.0)
    least = max(_WEAK * max(sums.values(), default=0.0), _LEAST)
    found = [*turn.sources, *turn.left_out]
    return tuple(
        (
            source.number,
            Influence(
                nats=sums[source.number],
                sentences=tuple(
                    SentenceInfluence(text=text, nats=nats, share=nats / largest if largest else 0.0)
                    for text, nats in scores[source.number]
                ),
                rank=1 + sum(other.score > source.score for other in found),
                weak=sums[source.number] <= least,
            ),
        )
        for source in turn.sources
    )


def _place(source: Source, context: str, after: int) -> tuple[int, int]:
    """Where a source stands in the prompt: its line breaks are closed up there."""
    text = re.sub(r"\s*\n\s*", "\n", source.text.strip())
    start = context.find(text, after)
    return (start, start + len(text)) if start >= 0 else (after, after)
