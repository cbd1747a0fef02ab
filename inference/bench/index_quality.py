"""Retrieval measured on questions whose page is known."""

from __future__ import annotations

import ctypes
import json
import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.documents.indexing import index
from inference.documents.libraries import Libraries, Library
from inference.documents.pages import Box, merge_into_lines, overlap
from inference.documents.placing import source_surroundings
from inference.documents.retrieval import retrieve
from inference.events import IndexRequest, Source
from inference.running import RunHandle, new_run_id

_DEPTH = 10
_MODES: dict[str, dict[str, Any]] = {
    "vectors": {"mode": "vectors"},
    "words": {"mode": "words"},
    "both": {"mode": "both"},
    "both, second look": {"mode": "both", "rerank": True},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question, where its answer stands, and the text around it."""

    file: str
    page: int
    question: str
    answer: str
    evidence: str
    password: str | None


def read_questions(file: Path) -> list[Question]:
    """The questions of a JSON-lines file."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [
        Question(
            file=row["file"],
            page=row["page"],
            question=row["question"],
            answer=row["answer"],
            evidence=row.get("evidence", row["answer"]),
            password=row.get("password"),
        )
        for row in rows
    ]


def open_library(folder: Path, documents: Path, passwords: dict[str, str]) -> Library:
    """The library of all documents of a folder, brought up to date."""
    library = Libraries().open(str(folder))
    run_id = new_run_id()
    request = IndexRequest(
        run_id=run_id,
        library=str(folder),
        add=(str(documents),),
        passwords=tuple((str(documents / name), password) for name, password in passwords.items()),
    )
    for _ in index(library, request, RunHandle(run_id)):
        pass
    return library


def measure(library: Library, documents: Path, questions_file: Path) -> Iterator[dict[str, Any]]:
    """One line for each mode, one for the marks, one for the threshold of "not in the documents"."""
    questions = read_questions(questions_file)
    best: list[tuple[Source, ...]] = []
    for name, options in _MODES.items():
        best = [retrieve(library, one.question, limit=_DEPTH, **options).hits for one in questions]
        yield _recall(name, questions, best)
    yield _marks(library, documents, questions, best)
    yield _threshold(library, questions)


def rank_of_page(question: Question, hits: Sequence[Source]) -> int | None:
    """The rank of the right page, counted from 1; None if it is not among the hits."""
    for number, hit in enumerate(hits, start=1):
        if Path(hit.file).name == question.file and hit.page == question.page:
            return number
    return None


def _recall(name: str, questions: Sequence[Question], results: Sequence[Sequence[Source]]) -> dict[str, Any]:
    ranks = [rank_of_page(one, hits) for one, hits in zip(questions, results, strict=True)]
    line: dict[str, Any] = {"figure": "retrieval", "mode": name, "questions": len(questions)}
    for depth in (1, 5, 10):
        found = sum(rank is not None and rank <= depth for rank in ranks)
        line[f"recall@{depth}"] = round(found / len(ranks), 3)
    line["mrr"] = round(statistics.fmean(1 / rank if rank else 0.0 for rank in ranks), 3)
    return line


def _marks(
    library: Library, documents: Path, questions: Sequence[Question], results: Sequence[Sequence[Source]]
) -> dict[str, Any]:
    """Intersection over union of marks and evidence, where the right page is among the first five.

    A mark can miss because another sentence is marked, or because the right one ends elsewhere than the
    evidence: the share of marks that hold the answer, and how well those cover the evidence, tell them apart.
    """
    marked, known, whole, holds, right = [], [], [], [], []
    for one, hits in zip(questions, results, strict=True):
        rank = rank_of_page(one, hits[:5])
        if rank is None:
            continue
        hit = hits[rank - 1]
        evidence = evidence_boxes(documents / one.file, one.page, one.evidence, one.password)
        if evidence and hit.boxes:
            marked.append(overlap(hit.boxes, evidence))
            known.append(overlap(_answer_boxes(library, hit, one.answer) or hit.boxes, evidence))
            whole.append(overlap(hit.passage_boxes, evidence))
            holds.append(_squeezed(one.answer) in _squeezed(hit.text))
            right.append(_squeezed(one.answer) in _squeezed(hit.marked))
    return {
        "figure": "marks",
        "questions": len(marked),
        "passage holds the answer": _share(holds),
        "what is marked holds the answer": _share(right),
        "of those, iou >= 0.5": _share([value >= 0.5 for value, it in zip(marked, right, strict=True) if it]),
        "iou of the marks, median": _median(marked),
        "iou of the marks >= 0.5": _share([value >= 0.5 for value in marked]),
        "iou of the sentence with the answer, median": _median(known),
        "iou of the sentence with the answer >= 0.5": _share([value >= 0.5 for value in known]),
        "iou of the whole passage >= 0.5": _share([value >= 0.5 for value in whole]),
    }


def _answer_boxes(library: Library, hit: Source, answer: str) -> tuple[Box, ...]:
    """The boxes that are marked once the model has quoted the answer."""
    letters = [(offset, letter) for offset, letter in enumerate(hit.text) if not letter.isspace()]
    at = "".join(letter for _, letter in letters).find(_squeezed(answer))
    around = source_surroundings(library, [hit]).get(hit.number)
    if at < 0 or around is None:
        return ()
    last = letters[at + len(_squeezed(answer)) - 1][0] + 1
    return around.statement(hit.start + letters[at][0], hit.start + last)[1]


def _threshold(library: Library, questions: Sequence[Question]) -> dict[str, Any]:
    """How often something is found with the question's document in the library, and with it taken out."""
    files = list(library.ledger.files_of_documents().values())
    found: dict[bool, list[bool]] = {True: [], False: []}
    close: dict[bool, list[float]] = {True: [], False: []}
    for one in questions:
        for inside in (True, False):
            searched = () if inside else [file for file in files if Path(file).name != one.file]
            result = retrieve(library, one.question, limit=5, rerank=True, files=searched)
            found[inside].append(result.found)
            close[inside].append(result.closeness)
    return {
        "figure": "not in the documents",
        "found, document in the library": _share(found[True]),
        "found, document taken out": _share(found[False]),
        "closeness in the library, deciles": _deciles(close[True]),
        "closeness taken out, deciles": _deciles(close[False]),
    }


def _deciles(values: Sequence[float]) -> list[float]:
    return [round(value, 2) for value in statistics.quantiles(values, n=10)]


def evidence_boxes(file: Path, page: int, evidence: str, password: str | None) -> tuple[Box, ...]:
    """Where a text stands on a page, by PDFium's own characters; empty if it is not found.

    White space and marks of hyphenation are left out of the comparison. This shares no code with the reader.
    """
    import numpy as np
    import pypdfium2 as pdfium
    import pypdfium2.raw as pdfium_c

    pdf = pdfium.PdfDocument(file, password=password)
    try:
        textpage = pdf[page - 1].get_textpage()
        letters, places = [], []
        edges = [ctypes.c_double() for _ in range(4)]
        for index_on_page in range(pdfium_c.FPDFText_CountChars(textpage)):
            letter = chr(pdfium_c.FPDFText_GetUnicode(textpage, index_on_page))
            if letter.isspace() or letter in "\ufffe\u0002":
                continue
            letters.append(letter)
            places.append(index_on_page)
        wanted = _code_units(_squeezed(evidence))
        at = _code_units("".join(letters)).find(wanted)
        if at < 0 or at % 2:
            return ()
        rows = []
        for place in places[at // 2 : (at + len(wanted)) // 2]:
            left, right, bottom, top = edges
            pdfium_c.FPDFText_GetCharBox(textpage, place, left, right, bottom, top)
            rows.append([left.value, bottom.value, right.value, top.value])
        boxes = np.array(rows, dtype=np.float32)
        vertical = (
            float(np.ptp(boxes[:, 1])) > float(np.ptp(boxes[:, 0]))
            and pdf[page - 1].get_rotation() % 180 == 90
        )
        return merge_into_lines(boxes, vertical=vertical)
    finally:
        pdf.close()


def _squeezed(text: str) -> str:
    return re.sub(r"[\s\ufffe\u0002]+", "", text)


def _code_units(text: str) -> bytes:
    """UTF-16, two bytes a unit: PDFium gives the two halves of a rare letter one by one."""
    return text.encode("utf-16-le", "surrogatepass")


def _share(values: Sequence[bool]) -> float:
    return round(sum(values) / len(values), 3) if values else 0.0


def _median(values: Sequence[float]) -> float:
    return round(statistics.median(values), 3) if values else 0.0
