"""Search while a question is typed, and have it answered."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from app.controllers.libraries import LibrariesController
from app.controllers.models import as_fault
from app.desk import Desk
from app.faults import FaultReporter
from inference.events import (
    ENDINGS,
    Answer,
    AskRequest,
    Cancelled,
    Event,
    Failed,
    Hits,
    Message,
    QuestionRewritten,
    SearchRequest,
    Source,
    SourcesChosen,
    Token,
)
from inference.running import RunHandle, new_run_id
from views.models.answers import AnswersModel, Turn
from views.models.format import format_seconds
from views.models.sources import SourceKind, SourceRow, SourcesModel

_PAUSE_MS = 180  # in typing, before a search
_TURNS = 6  # of the conversation that a follow-up question is read with


class AskingController(QObject):
    """One question at a time; searches do not wait for it.

    Args:
        engine: Where the model answers.
        reader: Where searches run.
        libraries: Whose open library is asked.
        answers, sources: What is shown.
        faults: Told of searches that failed; a failed answer says so in its place.
    """

    #: An answer has come and cites something: its first cited :class:`~inference.events.Source`.
    answered = Signal(object)
    told = Signal(str)

    def __init__(
        self,
        *,
        engine: Desk,
        reader: Desk,
        libraries: LibrariesController,
        answers: AnswersModel,
        sources: SourcesModel,
        faults: FaultReporter,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._engine, self._reader = engine, reader
        self._libraries = libraries
        self._answers, self._sources = answers, sources
        self._faults = faults
        self._searching: RunHandle | None = None
        self._asking: RunHandle | None = None
        self._query = ""
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_PAUSE_MS)
        self._pause.timeout.connect(self._search)
        libraries.opened.connect(self.begin_anew)

    # --- hits while typing

    @Slot(str)
    def type_query(self, query: str) -> None:
        """The question is now this, and may change at once."""
        self._query = query.strip()
        self._pause.start()

    @Slot()
    def _search(self) -> None:
        self._reader.drop(self._searching)
        self._searching = None
        if not self._query:
            self._show_sources(self._answers.last)
            return
        request = SearchRequest(run_id=new_run_id(), library=self._libraries.folder, query=self._query)
        self._searching = self._reader.submit(request, self._on_hits)

    def _on_hits(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, Hits):
                rows = [SourceRow(source=hit, kind="hit") for hit in event.hits]
                self._sources.show_rows(_hits_title(event), rows)
            elif isinstance(event, Failed):
                self._faults.report_failed(event)

    # --- answers

    @Slot(str)
    def ask(self, question: str) -> None:
        """Have a question answered."""
        if not self._answers.running:
            self._submit(question)

    @Slot()
    def answer_anyway(self) -> None:
        """Answer the last question from what was found, although nothing is close enough."""
        last = self._answers.last
        if last is not None and not last.running:
            self._submit(last.question, anyway=True)

    @Slot()
    def stop(self) -> None:
        """Stop the answer that is being written."""
        if self._asking is not None:
            self._asking.cancel()

    @Slot()
    def begin_anew(self) -> None:
        """Forget the thread."""
        self._engine.drop(self._asking)
        self._asking = None
        self._pause.stop()
        self._query = ""
        self._reader.drop(self._searching)
        self._answers.clear()
        self._sources.show_rows("", ())

    def show_turn(self, number: int, source: int) -> Source | None:
        """The source that a citation of a turn means; its list is shown."""
        turns = self._answers.turns
        if not 0 <= number < len(turns):
            return None
        self._show_sources(turns[number])
        row = self._sources.row_of(source)
        return self._sources.rows[row].source if row >= 0 else None

    @Slot()
    def show_last(self) -> None:
        """List the sources of the newest answer again."""
        self._show_sources(self._answers.last)

    def _submit(self, question: str, *, anyway: bool = False) -> None:
        self._pause.stop()
        self._query = ""
        self._reader.drop(self._searching)
        request = AskRequest(
            run_id=new_run_id(),
            library=self._libraries.folder,
            question=question,
            history=self._history(),
            answer_anyway=anyway,
        )
        self._answers.begin(question)
        self._sources.show_rows("", ())
        self._asking = self._engine.submit(request, self._take, request.controls)

    def _history(self) -> tuple[Message, ...]:
        messages: list[Message] = []
        for turn in self._answers.turns[-_TURNS:]:
            if turn.answer is not None and turn.answer.found:
                messages.append(Message(role="user", content=turn.standalone or turn.question))
                messages.append(Message(role="assistant", content=turn.text))
        return tuple(messages)

    def _take(self, events: tuple[Event, ...]) -> None:
        turn = self._answers.last
        if turn is None:
            return
        before = turn
        for event in events:
            turn = _after(turn, event)
        self._answers.put(turn)
        if turn.sources != before.sources or turn.left_out != before.left_out:
            self._show_sources(turn)
        if isinstance(events[-1], ENDINGS):
            self._asking = None
            cited = next((source for source in turn.sources if source.cited), None)
            if cited is not None:
                self.answered.emit(cited)

    def _show_sources(self, turn: Turn | None) -> None:
        if turn is None:
            self._sources.show_rows("", ())
            return
        influences = dict(turn.influences)
        rows: list[SourceRow] = []
        for source in turn.sources:
            influence = influences.get(source.number)
            rows.append(SourceRow(source=source, kind="read", influence=influence))
            if influence is not None:
                rows += [
                    SourceRow(source=source, kind="sentence", sentence=one) for one in influence.sentences
                ]
        kind: SourceKind = "left-out" if turn.sources else "hit"
        rows += [SourceRow(source=source, kind=kind) for source in turn.left_out]
        count = len(turn.sources)
        title = f"{count} passage{'' if count == 1 else 's'} read by the model"
        if turn.left_out:
            title += f", {len(turn.left_out)} more found"
        if influences:
            title += ". Nats: how much likelier each made the answer; rank: its place in the search"
        self._sources.show_rows(title if turn.sources else "The nearest passages", rows)


def _after(turn: Turn, event: Event) -> Turn:
    """The turn after one more event."""
    if isinstance(event, Token):
        return turn.with_token(event)
    if isinstance(event, QuestionRewritten):
        return replace(turn, standalone=event.question, state="searching")
    if isinstance(event, SourcesChosen):
        return replace(
            turn,
            state="searching",
            sources=event.sources,
            left_out=event.left_out,
            tokens=event.tokens,
            token_budget=event.token_budget,
            messages=event.messages,
        )
    if isinstance(event, Answer):
        return replace(turn, answer=event, text=event.text, sources=event.sources or turn.sources)
    if isinstance(event, Cancelled):
        return replace(turn, state="stopped")
    if isinstance(event, Failed):
        return replace(turn, state="failed", fault=as_fault(event))
    return replace(turn, state="done") if isinstance(event, ENDINGS) else turn


def _hits_title(hits: Hits) -> str:
    if not hits.hits:
        return "Nothing found"
    words = f"{len(hits.hits)} passages in {format_seconds(hits.seconds)}"
    return words if hits.found else f"{words}; none is close"
