"""Answers of a model on questions whose page is known: sources by search, and the right page given."""

from __future__ import annotations

import json
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


def measure(
    library: Library,
    questions_file: Path,
    model: str,
    *,
    sample: int = 0,
    kept: Path | None = None,
    limit: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Two lines: sources by search, and sources from the right page, to tell finding from reading.

    Args:
        library: Holds the documents.
        questions_file: The questions.
        model: Answers them.
        sample: So many questions, spread over all of them; 0: all.
        kept: What is found is written here, a line for each question; what stands here is not asked again.
        limit: Most sources that the model reads; None: as many as suit it.
    """
    questions = read_questions(questions_file)
    if 0 < sample < len(questions):
        questions = [questions[number * len(questions) // sample] for number in range(sample)]
    session = Session()
    session.libraries = Libraries()
    session.libraries.adopt(library)
    for _ in run_events(session, LoadRequest(run_id=new_run_id(), model=model)):
        pass
    for name, way in (("sources by search", _ask), ("the right page given", _read)):
        known = _known(kept, name)
        found = []
        for one in questions:
            result = known.get(one.question)
            if result is None:
                result = _judged(one, way(session, library, one, limit))
                _keep(kept, name, one, result)
            found.append(result)
        yield _line(name, found)


def _known(kept: Path | None, sources: str) -> dict[str, dict[str, bool]]:
    """What an earlier run has found, by question."""
    if kept is None or not kept.is_file():
        return {}
    rows = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
    return {row["question"]: row["result"] for row in rows if row["sources"] == sources}


def _keep(kept: Path | None, sources: str, question: Question, result: dict[str, bool]) -> None:
    if kept is not None:
        row = {"sources": sources, "question": question.question, "result": result}
        with kept.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _ask(session: Session, library: Library, question: Question, limit: int | None) -> Answer | None:
    request = AskRequest(
        run_id=new_run_id(), library=str(library.folder), question=question.question, limit=limit
    )
    answers = [event for event in run_events(session, request, request.controls) if isinstance(event, Answer)]
    return answers[-1] if answers else None


def _read(session: Session, library: Library, question: Question, limit: int | None) -> Answer | None:
    """Ask about the passages of the right page alone, best first."""
    files = [
        file for file in library.ledger.files_of_documents().values() if Path(file).name == question.file
    ]
    result = retrieval.retrieve(library, question.question, limit=200, rerank=True, files=files)
    hits = [hit for hit in result.hits if hit.page == question.page]
    if not hits:
        return None
    loaded = session.require_engine().loaded
    sources, _, _ = answering.pack(
        hits,
        loaded.tokenizer,
        limit=limit or answering.sources_to_read(session),
        budget=loaded.context_length // 2,
    )
    request = AskRequest(run_id=new_run_id(), library=str(library.folder), question=question.question)
    text = _generate(session, answering.generate_request(request, question.question, sources))
    return check_answer(library, request.run_id, question.question, text, sources)


def _generate(session: Session, request: GenerateRequest) -> str:
    events = run_events(session, request, request.controls)
    return "".join(event.text for event in events if isinstance(event, Token))


def _judged(question: Question, answer: Answer | None) -> dict[str, bool]:
    return {
        "contain the answer": answer is not None and contains(answer.text, question.answer),
        "cite the right page": answer is not None and _cites_page(answer.sources, question),
        "mark the answer": answer is not None and _marks_answer(answer.sources, question),
        "say it is not there": answer is None or not answer.found,
    }


def _line(sources: str, results: Sequence[dict[str, bool]]) -> dict[str, Any]:
    shares = {name: round(sum(result[name] for result in results) / len(results), 3) for name in results[0]}
    return {"figure": "answers", "sources": sources, "questions": len(results), **shares}


def contains(text: str, answer: str) -> bool:
    """Whether an answer is in a text, white space, case and quotation marks aside."""
    return _plain(answer) in _plain(text)


def _plain(text: str) -> str:
    return re.sub(r"[\s\"'’“”.]+", "", text.casefold())


def _cites_page(sources: Sequence[Source], question: Question) -> bool:
    cited = [source for source in sources if source.cited]
    return any(Path(one.file).name == question.file and one.page == question.page for one in cited)


def _marks_answer(sources: Sequence[Source], question: Question) -> bool:
    """Whether the answer stands in what is marked of a source that is cited, or that is nearest."""
    return any(
        contains(one.marked, question.answer) and one.page == question.page
        for one in sources
        if Path(one.file).name == question.file
    )
