"""Faithfulness on real questions: is the sentence that a method ranks first the one that holds the answer?

Each question comes with a passage, an answer and the evidence sentence. The model reads the question and
the passage as the document tab writes them, the answer is the target, the passage's sentences are the
segments, and a method ranks them. Reported for each method: how often the evidence comes first ("top1"),
mean average precision ("map"), and the share of the evidence among the first two ("recall2"); beside it
chance, the passage's first and its last sentence. In the AtMan paper's SQuAD table (arXiv:2301.08110)
AtMan has a mean average precision of 73.7 and a mean average recall of 93.4, of its own definitions, with a
model of 6 billion parameters.

--data is JSON lines (also .xz) with "context", "question", "answer" and "evidence", such as those that
packaging/builtin_model/held_out_questions.py writes; questions that cannot be answered, and passages of
fewer than three sentences, are left out.
"""

from __future__ import annotations

import argparse
import json
import lzma
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from inference.command_line import RunFailed, add_model_arguments, load_model, print_json, report, run_events
from inference.documents.prompting import AnswerStyle, Source, build_messages
from inference.events import ExplainRequest, Explanation, Message, TextSpan
from inference.running import new_run_id
from inference.session import Session

if TYPE_CHECKING:
    from inference.steering import TokenSpan

_METHODS = (
    "atman,atman-target-rows,atman-first-order,leave-one-out,"
    "re-embedding,gradient-x-input,integrated-gradients"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A question about a passage: its sentences' places in the user's message, and which hold the answer."""

    messages: tuple[Message, ...]
    answer: str
    sentences: tuple[TokenSpan, ...]
    relevant: frozenset[int]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, the questions, the methods."""
    add_model_arguments(parser)
    parser.add_argument("--data", required=True, metavar="FILE", help="questions, JSON lines, may be .xz")
    parser.add_argument("--questions", type=int, default=100, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="which questions are drawn")
    parser.add_argument("--methods", default=_METHODS, metavar="NAMES")
    parser.add_argument("--factor", type=float, default=0.1, metavar="F")
    parser.add_argument("--mode", choices=["log-additive", "multiplicative"], default="log-additive")


def run(arguments: argparse.Namespace) -> int:
    """Rank the sentences of every passage with every method; prints one line."""
    session = Session()
    cases = list(draw(Path(arguments.data), arguments.questions, arguments.seed))
    rankings: dict[str, list[float]] = {}
    firsts: dict[str, list[bool]] = {}
    recalls: dict[str, list[float]] = {}

    def note(name: str, ranked: Sequence[int], case: Case) -> None:
        rankings.setdefault(name, []).append(average_precision(ranked, case.relevant))
        firsts.setdefault(name, []).append(ranked[0] in case.relevant)
        recalls.setdefault(name, []).append(len(case.relevant & set(ranked[:2])) / len(case.relevant))

    try:
        load_model(session, arguments)
        for number, case in enumerate(cases):
            for name in arguments.methods.split(","):
                note(name, _ranked(session, case, name, arguments), case)
            for name, ranked in _baselines(case, number):
                note(name, ranked, case)
    except RunFailed as failure:
        return report(failure, as_json=arguments.json)
    loaded = session.require_engine().loaded
    print_json(
        {
            "event": "benchmark",
            "benchmark": "evidence",
            "model": loaded.info.name,
            "parameters": loaded.info.parameters,
            "quantization": loaded.quantization,
            "questions": len(cases),
            "sentences": round(sum(len(case.sentences) for case in cases) / max(1, len(cases)), 1),
            "methods": {
                name: {
                    "top1": round(sum(firsts[name]) / len(firsts[name]), 3),
                    "map": round(sum(values) / len(values), 3),
                    "recall2": round(sum(recalls[name]) / len(values), 3),
                }
                for name, values in rankings.items()
            },
        }
    )
    return 0


def draw(path: Path, count: int, seed: int) -> Iterator[Case]:
    """Some answerable questions, in an order that depends on the seed alone."""
    data = path.read_bytes()
    text = (lzma.decompress(data) if path.suffix == ".xz" else data).decode()
    rows = [json.loads(line) for line in text.splitlines()]
    random.Random(seed).shuffle(rows)
    found = 0
    for row in rows:
        case = case_of(row["question"], row["context"], row["answer"], row["evidence"])
        if case is not None:
            yield case
            found += 1
        if found == count:
            return


def case_of(question: str, context: str, answer: str, evidence: str) -> Case | None:
    """A case, or None where there is nothing to rank or no evidence to find."""
    from inference.attribution.sentence_splitting import sentences

    turns = build_messages(question, [Source(text=context)], style=AnswerStyle.SPAN)
    content = turns[-1]["content"]
    at, place = content.find(context), context.find(evidence)
    spans = sentences(context)
    relevant = {
        index
        for index, (start, end) in enumerate(spans)
        if min(end, place + len(evidence)) - max(start, place) > 0
    }
    if not answer or not evidence or at < 0 or place < 0 or len(spans) < 3 or not relevant:
        return None
    return Case(
        messages=tuple(Message(role=turn["role"], content=turn["content"]) for turn in turns),  # type: ignore[arg-type]
        answer=answer,
        sentences=tuple((at + start, at + end) for start, end in spans),
        relevant=frozenset(relevant),
    )


def average_precision(ranked: Sequence[int], relevant: frozenset[int]) -> float:
    """The mean of the precisions at the ranks of the relevant items."""
    hits, total = 0, 0.0
    for rank, item in enumerate(ranked, start=1):
        if item in relevant:
            hits += 1
            total += hits / rank
    return total / len(relevant)


def _ranked(session: Session, case: Case, method: str, arguments: argparse.Namespace) -> list[int]:
    last = len(case.messages) - 1
    request = ExplainRequest(
        run_id=new_run_id(),
        method=method,
        messages=case.messages,
        target=case.answer,
        granularity="given",
        given=tuple(TextSpan(start=start, end=end, message=last) for start, end in case.sentences),
        factor=arguments.factor,
        mode=arguments.mode,
    )
    for event in run_events(session, request):
        if isinstance(event, Explanation):
            scores = [score or 0.0 for score in event.scores[0]]
            return sorted(range(len(scores)), key=lambda index: -scores[index])
    raise AssertionError("a run that finished has an explanation")


def _baselines(case: Case, seed: int) -> Iterator[tuple[str, list[int]]]:
    order = list(range(len(case.sentences)))
    yield "first sentence", order
    yield "last sentence", order[::-1]
    yield "random", random.Random(seed).sample(order, len(order))
