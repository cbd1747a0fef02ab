"""Ask a library of documents; --add indexes files or folders first.

Without --json the answer is printed as it comes, then its sources; with it, the events of the run:
{"event": "indexing", ...} and {"event": "document", ...} while indexing, {"event": "sources", ...}, token
events, then {"event": "answer", "text", "sources": [{"file", "page", "text", "score", "boxes", ...}],
"seconds": {...}}. Boxes are [left, bottom, right, top] in PDF points in the page's user space.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from inference.command_line import (
    RunFailed,
    add_model_arguments,
    at_least,
    load_model,
    print_event,
    report,
    report_error,
    run_events,
)
from inference.documents.libraries import LEDGER_FILE
from inference.errors import UnreadableFile
from inference.events import (
    Answer,
    AskRequest,
    DocumentIndexed,
    Event,
    Hits,
    IndexProgress,
    IndexRequest,
    SamplingControls,
    SearchRequest,
    Source,
    Token,
)
from inference.running import new_run_id
from inference.session import Session

_HITS = 5  # shown by --search-only


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The library, what to add to it, and the question."""
    parser.add_argument(
        "--library", required=True, metavar="DIR", help="folder of the library; made if it is new"
    )
    parser.add_argument(
        "--add", action="append", default=[], metavar="FILE", help="file or folder; may be repeated"
    )
    parser.add_argument(
        "--remove", action="append", default=[], metavar="FILE", help="file or folder; may be repeated"
    )
    parser.add_argument("--password", action="append", default=[], metavar="FILE=PASSWORD", type=_password)
    parser.add_argument(
        "--question", metavar="TEXT", help="what to ask; without it the library is only indexed"
    )
    parser.add_argument("--search-only", action="store_true", help="show passages, ask no model")
    parser.add_argument("--embedder", default="builtin", metavar="DIR", help="a sentence-transformers folder")
    parser.add_argument(
        "--limit",
        type=at_least(1),
        default=None,
        metavar="N",
        help="most sources (default: as many as suit the model; 5 with --search-only)",
    )
    parser.add_argument(
        "--token-budget", type=at_least(1), default=None, metavar="N", help="for all sources together"
    )
    parser.add_argument("--max-new-tokens", type=at_least(0), default=200, metavar="N")
    parser.add_argument("--temperature", type=float, default=0.0, metavar="F")
    parser.add_argument("--seed", type=int, default=None, metavar="N")
    parser.add_argument(
        "--whole-sentences",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="answer with whole sentences, or with the bare words of the answer",
    )
    parser.add_argument(
        "--answer-anyway", action="store_true", help="ask the model even if nothing close was found"
    )
    add_model_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Index, search, answer; returns the exit status."""
    if not arguments.add and not (Path(arguments.library) / LEDGER_FILE).is_file():
        missing = UnreadableFile(
            f"There is no library in {arguments.library}.",
            hint="Check the folder's name, or make a library with --add FILE.",
        )
        return report_error(missing, as_json=arguments.json)
    session = Session()
    try:
        if arguments.add or arguments.remove or arguments.question is None:
            _index(session, arguments)
        if arguments.question is None:
            return 0
        if arguments.search_only:
            return _search(session, arguments)
        load_model(session, arguments)
        request = _ask_request(arguments)
        for event in run_events(session, request, request.controls):
            _show(event, as_json=arguments.json)
    except RunFailed as failure:
        return report(failure, as_json=arguments.json)
    return 0


def _index(session: Session, arguments: argparse.Namespace) -> None:
    request = IndexRequest(
        run_id=new_run_id(),
        library=arguments.library,
        add=tuple(arguments.add),
        remove=tuple(arguments.remove),
        passwords=tuple(arguments.password),
        embedder=arguments.embedder,
    )
    for event in run_events(session, request):
        if arguments.json:
            print_event(event, as_json=True)
        elif isinstance(event, DocumentIndexed):
            entry = event.entry
            print(f"{entry.file}: {entry.message or f'{entry.pages} pages'}", file=sys.stderr)
        elif isinstance(event, IndexProgress) and event.seconds_left is not None and sys.stderr.isatty():
            print(f"\r{event.pages_done} pages, {event.seconds_left:.0f} s left ", end="", file=sys.stderr)


def _search(session: Session, arguments: argparse.Namespace) -> int:
    request = SearchRequest(
        run_id=new_run_id(),
        library=arguments.library,
        query=arguments.question,
        limit=arguments.limit or _HITS,
        rerank=True,
    )
    for event in run_events(session, request):
        if arguments.json:
            print_event(event, as_json=True)
        elif isinstance(event, Hits):
            for hit in event.hits:
                print(f"{_place(hit)}\n  {hit.text}\n")
    return 0


def _ask_request(arguments: argparse.Namespace) -> AskRequest:
    return AskRequest(
        run_id=new_run_id(),
        library=arguments.library,
        question=arguments.question,
        limit=arguments.limit,
        token_budget=arguments.token_budget,
        controls=SamplingControls(
            temperature=arguments.temperature,
            max_new_tokens=arguments.max_new_tokens,
            seed=arguments.seed,
        ),
        answer_anyway=arguments.answer_anyway,
        whole_sentences=arguments.whole_sentences,
    )


def _show(event: Event, *, as_json: bool) -> None:
    if as_json:
        print_event(event, as_json=True)
    elif isinstance(event, Token):
        sys.stdout.write(event.text)
        sys.stdout.flush()
    elif isinstance(event, Answer):
        print("" if event.sources else event.text)
        for line in _notes(event):
            print(line)


def _notes(answer: Answer) -> Iterator[str]:
    """What is to be known of an answer: its sources, what was mended, and what no source bears out."""
    for source in answer.sources:
        yield f"[{source.number}]{'*' if source.cited else ' '} {_place(source)}"
        if source.cited or source.number == answer.nearest:
            yield f"     “{' '.join((source.marked or source.text).split())}”"
    for mark in answer.citations:
        if mark.written:
            yield f"The model wrote [{mark.written}] where [{mark.number}] says it."
    for sentence in answer.sentences:
        if not sentence.supported:
            yield f"No source supports: {answer.text[sentence.start : sentence.end].strip()}"


def _place(source: Source) -> str:
    label = f" ({source.label})" if source.label and source.label != str(source.page) else ""
    return f"{source.file}, {source.unit} {source.page}{label}"


def _password(text: str) -> tuple[str, str]:
    file, found, password = text.rpartition("=")
    if not found or not file:
        raise argparse.ArgumentTypeError(f"{text!r} is not FILE=PASSWORD")
    return file, password
