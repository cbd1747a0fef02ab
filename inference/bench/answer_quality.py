"""Answers of a model on questions whose page is known: sources by search, and the right page given."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from inference.bench.index_quality import Question, read_questions
from inference.command_line import run_events
from inference.documents import answering, retrieval
from inference.documents.checking import check_answer
from inference.documents.libraries import Libraries, Library
from inference.events import Answer, AskRequest, GenerateRequest, LoadRequest, Source, Token
from inference.running import new_run_id
from inference.session import Session


def measure(library: Library, questions_file: Path, model: str) -> Iterator[dict[str, Any]]:
    """Two lines: sources by search, and sources from the right page, to tell finding from reading."""
    questions = read_questions(questions_file)
    session = Session()
    session.libraries = Libraries()
    session.libraries.adopt(library)
    for _ in run_events(session, LoadRequest(run_id=new_run_id(), model=model)):
        pass
    found = [_ask(session, library, one) for one in questions]
    yield _line("sources by search", questions, found)
    given = [_read(session, library, one) for one in questions]
    yield _line("the right page given", questions, given)


def _ask(session: Session, library: Library, question: Question) -> Answer | None:
    request = AskRequest(run_id=new_run_id(), library=str(library.folder), question=question.question)
    answers = [event for event in run_events(session, request, request.controls) if isinstance(event, Answer)]
    return answers[-1] if answers else None


def _read(session: Session, library: Library, question: Question) -> Answer | None:
    """Ask about the passages of the right page alone, best first."""
    files = [
        file for file in library.ledger.files_of_documents().values() if Path(file).name == question.file
    ]
    result = retrieval.retrieve(library, question.question, limit=200, rerank=True, files=files)
    hits = [hit for hit in result.hits if hit.page == question.page]
    if not hits:
        return None
    loaded = session.require_engine().loaded
    sources, _, _ = answering.pack(hits, loaded.tokenizer, limit=5, budget=loaded.context_length // 2)
    request = AskRequest(run_id=new_run_id(), library=str(library.folder), question=question.question)
    text = _generate(session, answering.generate_request(request, question.question, sources))
    return check_answer(library, request.run_id, question.question, text, sources)


def _generate(session: Session, request: GenerateRequest) -> str:
    events = run_events(session, request, request.controls)
    return "".join(event.text for event in events if isinstance(event, Token))


def _line(sources: str, questions: Sequence[Question], answers: Sequence[Answer | None]) -> dict[str, Any]:
    pairs = list(zip(questions, answers, strict=True))
    right = [answer is not None and contains(answer.text, one.answer) for one, answer in pairs]
    cited = [answer is not None and _cites_page(answer.sources, one) for one, answer in pairs]
    refused = [answer is None or not answer.found for _, answer in pairs]
    return {
        "figure": "answers",
        "sources": sources,
        "questions": len(pairs),
        "contain the answer": round(sum(right) / len(pairs), 3),
        "cite the right page": round(sum(cited) / len(pairs), 3),
        "say it is not there": round(sum(refused) / len(pairs), 3),
    }


def contains(text: str, answer: str) -> bool:
    """Whether an answer is in a text, white space, case and quotation marks aside."""
    return _plain(answer) in _plain(text)


def _plain(text: str) -> str:
    return re.sub(r"[\s\"'’“”.]+", "", text.casefold())


def _cites_page(sources: Sequence[Source], question: Question) -> bool:
    cited = [source for source in sources if source.cited]
    return any(Path(one.file).name == question.file and one.page == question.page for one in cited)
