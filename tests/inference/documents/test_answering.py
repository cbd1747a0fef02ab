"""Asking: sources in a budget, citations that lead to a place, and honesty where nothing supports a
sentence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inference.documents import prompting
from inference.documents.answering import pack
from inference.documents.libraries import Libraries
from inference.documents.rewriting import is_faithful, needs_rewriting
from inference.events import (
    Answer,
    AskRequest,
    Event,
    Failed,
    Finished,
    GenerateRequest,
    IndexRequest,
    Message,
    QuestionRewritten,
    Source,
    SourcesChosen,
    Token,
)
from inference.running import RunHandle, new_run_id
from inference.session import Session

SAMPLE = Path(__file__).resolve().parents[3] / "resources" / "documents" / "sample.pdf"


def count_words(text: str, *, add_special_tokens: bool = True) -> dict[str, list[str]]:
    return {"input_ids": text.split()}


@dataclass
class Scripted:
    """A session whose model says what a test wants; all else is real."""

    session: Session
    library: str
    reply: str = ""
    prompts: list[GenerateRequest] = field(default_factory=list)

    def generate(self, session: Session, request: GenerateRequest, handle: RunHandle) -> Iterator[Event]:
        self.prompts.append(request)
        for number, piece in enumerate(self.reply.split(" ")):
            text = piece if number == 0 else f" {piece}"
            yield Token(
                run_id=request.run_id, index=number, id=0, text=text, data=text.encode(), special=False,
                raw_logprob=0.0, sampled_prob=1.0, entropy=0.0, candidates=(), stages=(), at=0.0,
            )  # fmt: skip
        yield Finished(run_id=request.run_id, reason="stop", text=self.reply)

    def ask(self, question: str, reply: str, **fields: Any) -> list[Event]:
        self.reply = reply
        request = AskRequest(run_id=new_run_id(), library=self.library, question=question, **fields)
        return list(self.session.run(request, RunHandle(request.run_id)))


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Libraries, str]]:
    opened = Libraries()
    folder = str(tmp_path_factory.mktemp("library"))
    session = Session()
    session.libraries = opened
    list(session.run(IndexRequest(run_id=1, library=folder, add=(str(SAMPLE),)), RunHandle(1)))
    yield opened, folder
    opened.close()


@pytest.fixture
def scripted(libraries: tuple[Libraries, str]) -> Scripted:
    session = Session()
    session.libraries, folder = libraries
    info = SimpleNamespace(parameters=10**9)
    loaded = SimpleNamespace(tokenizer=count_words, context_length=2000, info=info)
    session.engine = SimpleNamespace(loaded=loaded)  # type: ignore[assignment]
    made = Scripted(session, folder)
    session.handlers[GenerateRequest] = made.generate
    return made


def only(events: list[Event], kind: type[Event]) -> Any:
    (found,) = [event for event in events if isinstance(event, kind)]
    return found


def test_a_citation_leads_to_the_sentence_on_its_page(scripted: Scripted) -> None:
    events = scripted.ask("How high above the sea is the observatory?", "612 metres [1]")
    assert [type(event) for event in events] == [SourcesChosen, Token, Token, Token, Answer, Finished]
    answer = only(events, Answer)
    assert answer.text == "612 metres [1]"
    assert [(mark.start, mark.end, mark.number) for mark in answer.citations] == [(11, 14, 1)]
    cited = answer.sources[0]
    assert (cited.number, cited.page, cited.cited) == (1, 1, True)
    assert "612 metres" in cited.marked
    assert "Edda Marwick" not in cited.marked
    assert 0 < len(cited.boxes) < len(cited.passage_boxes)
    assert not any(source.cited for source in answer.sources[1:])
    assert answer.found


@pytest.mark.parametrize(
    ("options", "style"),
    [({}, prompting.AnswerStyle.SENTENCE), ({"whole_sentences": False}, prompting.AnswerStyle.SPAN)],
)
def test_the_model_reads_the_shared_format(
    scripted: Scripted, options: dict[str, bool], style: prompting.AnswerStyle
) -> None:
    events = scripted.ask("What does a ticket cost?", "6 crowns [1]", limit=2, **options)
    sources = only(events, SourcesChosen).sources
    written = prompting.build_messages(
        "What does a ticket cost?",
        [prompting.Source(text=one.text, label=f"sample.pdf, page {one.page}") for one in sources],
        style=style,
    )
    (request,) = scripted.prompts
    assert [(message.role, message.content) for message in request.messages] == [
        (message["role"], message["content"]) for message in written
    ]
    assert 1 <= len(sources) <= 2


def test_passages_far_behind_the_best_are_found_and_not_read(scripted: Scripted) -> None:
    chosen = only(scripted.ask("What does a ticket cost?", "6 crowns [1]"), SourcesChosen)
    best = chosen.sources[0].score
    assert all(source.score >= 0.8 * best for source in chosen.sources)
    assert any(source.score < 0.8 * best for source in chosen.left_out)


def test_a_small_model_reads_the_best_passage_only(scripted: Scripted) -> None:
    question = "When is the observatory open and what does a ticket cost?"
    large = only(scripted.ask(question, "6 crowns [1]"), SourcesChosen)
    assert scripted.session.engine is not None
    scripted.session.engine.loaded.info.parameters = 24_000_000
    small = only(scripted.ask(question, "6 crowns [1]"), SourcesChosen)
    assert small.sources == large.sources[:1]
    assert len(small.left_out) > len(large.left_out)
    told = only(scripted.ask(question, "6 crowns [1]", limit=3), SourcesChosen)
    assert len(told.sources) > 1


def test_sentences_without_support_are_marked(scripted: Scripted) -> None:
    reply = (
        "The camera is cooled to minus 95 degrees Celsius [1]. Penguins guard the eastern gate with spears."
    )
    answer = only(scripted.ask("How cold is the camera?", reply), Answer)
    assert [(one.supported, reply[one.start : one.end][:8]) for one in answer.sentences] == [
        (True, "The came"),
        (False, "Penguins"),
    ]
    assert answer.quality is not None
    assert 0.3 < answer.quality.faithfulness <= 0.5
    assert 0 < answer.quality.context_relevance <= 1
    assert 0.3 < answer.quality.answer_relevance <= 1


def test_nothing_good_enough_asks_no_model(scripted: Scripted) -> None:
    events = scripted.ask("Who won the 1998 football world cup?", "unused")
    answer = only(events, Answer)
    assert (answer.found, answer.sources, answer.text) == (False, (), prompting.REFUSAL)
    assert scripted.prompts == []
    assert isinstance(events[-1], Finished)
    assert only(events, SourcesChosen).left_out, "what was found is still shown"
    forced = scripted.ask("Who won the 1998 football world cup?", "France [1]", answer_anyway=True)
    assert only(forced, Answer).sources


def test_a_refusal_of_the_model_counts_as_not_found(scripted: Scripted) -> None:
    answer = only(scripted.ask("Who founded the observatory?", prompting.REFUSAL), Answer)
    assert not answer.found
    assert answer.quality is None
    nearest = answer.sources[answer.nearest - 1]
    assert "founded" in nearest.marked


def test_a_citation_of_the_wrong_source_is_led_to_the_one_that_says_it(scripted: Scripted) -> None:
    question = "When is the observatory open and what does a ticket cost?"
    sources = only(scripted.ask(question, "x", answer_anyway=True), SourcesChosen).sources
    right = next(one.number for one in sources if "6 crowns" in one.text)
    wrong = next(one.number for one in sources if "6 crowns" not in one.text)
    reply = f"A ticket for adults costs 6 crowns [{wrong}]."
    answer = only(scripted.ask(question, reply, answer_anyway=True), Answer)
    (mark,) = answer.citations
    assert (mark.number, mark.written, mark.supported) == (right, wrong, True)
    assert answer.text == reply.replace(f"[{wrong}]", f"[{right}]")
    assert answer.text[mark.start : mark.end] == f"[{right}]"
    assert [source.number for source in answer.sources if source.cited] == [right]


def test_a_citation_that_no_source_bears_out_is_flagged(scripted: Scripted) -> None:
    reply = "Penguins guard the eastern gate with very long iron spears [1]. A ticket costs 6 crowns."
    answer = only(scripted.ask("What does a ticket cost?", reply), Answer)
    (mark,) = answer.citations
    assert (mark.number, mark.written, mark.supported) == (1, 0, False)
    assert not any(source.cited for source in answer.sources)
    assert answer.text == reply


@pytest.mark.parametrize(
    ("question", "right", "wrong"),
    [
        ("What does a ticket cost?", "6 crowns", "612 metres"),
        ("How high above the sea is the observatory?", "612 metres", "40 centimetres"),
    ],
)
def test_a_few_words_from_elsewhere_are_no_faithful_answer(
    scripted: Scripted, question: str, right: str, wrong: str
) -> None:
    figures = {}
    for reply in (right, wrong):
        answer = only(scripted.ask(question, f"{reply} [1]", answer_anyway=True), Answer)
        assert answer.quality is not None
        figures[reply] = answer.quality.faithfulness
    assert (answer.nearest, answer.sources[0].number) == (1, 1)
    assert figures[right] > 0.6
    assert figures[wrong] < 0.6


def test_another_number_is_another_statement(scripted: Scripted) -> None:
    replies = (
        "The camera is cooled to minus 95 degrees Celsius",
        "The camera is cooled to minus 59 degrees Celsius",
    )
    right, wrong = (
        only(scripted.ask("How cold is the camera?", f"{reply} [1]."), Answer) for reply in replies
    )
    assert right.sentences[0].supported
    assert not wrong.sentences[0].supported


def test_citations_of_sources_that_are_not_there_are_none(scripted: Scripted) -> None:
    answer = only(scripted.ask("Who founded the observatory?", "Edda Marwick [9]"), Answer)
    assert answer.citations == ()
    assert not any(source.cited for source in answer.sources)


def test_packing_keeps_the_order_and_the_budget() -> None:
    hits = [Source(file="a.pdf", page=n, text="word " * n, score=1.0) for n in (50, 500, 20, 30)]
    chosen, left_out, tokens = pack(hits, count_words, limit=3, budget=110)  # type: ignore[arg-type]
    assert [one.page for one in chosen] == [50, 20, 30][: len(chosen)]
    assert [one.number for one in chosen] == list(range(1, len(chosen) + 1))
    assert tokens <= 110
    assert {one.page for one in left_out} == {50, 500, 20, 30} - {one.page for one in chosen}
    (single,), _, _ = pack(hits[1:2], count_words, limit=3, budget=10)  # type: ignore[arg-type]
    assert single.page == 500, "one source always goes in"


@pytest.mark.parametrize(
    ("question", "needed"),
    [
        ("How tall is it?", True),
        ("And in winter?", True),
        ("Which telescope found the first supernova?", False),
        ("How many volunteers were there in summer?", False),
        ("Is it cold there?", True),
        ("Who is the present director of the observatory?", False),
    ],
)
def test_follow_ups_are_recognised(question: str, needed: bool) -> None:
    assert needs_rewriting(question) == needed


def test_a_rewritten_question_must_keep_the_words_and_add_some_of_the_conversation() -> None:
    said = "How high is the observatory? 612 metres"
    assert is_faithful("How old is the observatory?", "How old is it?", said)
    assert not is_faithful("How old is it?", "How old is it?", said)
    assert not is_faithful("Penguins of the observatory?", "How old is it?", said)
    assert not is_faithful("", "How old is it?", said)


@pytest.mark.parametrize(
    ("written", "question"),
    [
        ("When was the observatory founded?", "When was the observatory founded?"),
        ("Nonsense about penguins", "Who runs the observatory? When was it founded?"),
    ],
)
def test_a_follow_up_is_searched_as_a_question_that_stands_alone(
    scripted: Scripted, written: str, question: str
) -> None:
    history = (
        Message(role="user", content="Who runs the observatory?"),
        Message(role="assistant", content="A trust [1]"),
    )
    events = scripted.ask("When was it founded?", written, history=history)
    assert only(events, QuestionRewritten).question == question
    assert only(events, SourcesChosen).question == question


def test_without_a_model_the_run_fails_in_words(scripted: Scripted) -> None:
    scripted.session.engine = None
    (failed,) = scripted.ask("Anything?", "unused")
    assert isinstance(failed, Failed)
    assert failed.kind == "no-model"


def test_tokens_are_passed_on_as_they_come(scripted: Scripted, tmp_path: Path) -> None:
    texts = [
        event.text
        for event in scripted.ask("Who founded it?", "Edda Marwick [1]")
        if isinstance(event, Token)
    ]
    assert "".join(texts) == "Edda Marwick [1]"
