"""Real and hostile PDFs, beside the checkout: skipped where they are not."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from inference.bench.index_quality import evidence_boxes, read_questions
from inference.documents.pages import Page, overlap
from inference.documents.reader_process import PageRead
from inference.documents.readers.document import UnreadableDocument
from inference.documents.readers.formats import open_document
from inference.documents.reading import DocumentReader

pytestmark = pytest.mark.shared

REASONS = {"password", "damaged", "empty", "no-text", "unsupported", "too-large", "timeout", "memory"}


def outcome(reader: DocumentReader, file: Path) -> str:
    """ "pages", or the reason and message of the refusal."""
    try:
        return "pages" if any(isinstance(step, PageRead) for step in reader.read(file)) else "nothing"
    except UnreadableDocument as refused:
        return f"{refused.reason}: {refused.message}"


def test_every_malformed_file_ends_in_pages_or_a_reason(shared_pdfs: Path) -> None:
    reader = DocumentReader()
    files = sorted((shared_pdfs / "malformed").iterdir())
    outcomes = {file.name: outcome(reader, file) for file in files}
    reader.close()
    for name, ended in outcomes.items():
        assert ended == "pages" or (ended.split(":")[0] in REASONS and ended.endswith(".")), (name, ended)
    assert sum(ended == "pages" for ended in outcomes.values()) > 100
    left = [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]
    assert left == []


def place(page: Page, evidence: str) -> tuple[int, int] | None:
    """Where a text stands in a page's clean text, white space aside."""
    at = [index for index, letter in enumerate(page.text) if not letter.isspace()]
    start = "".join(page.text[index] for index in at).find("".join(evidence.split()))
    return None if start < 0 else (at[start], at[start + len("".join(evidence.split())) - 1] + 1)


@pytest.mark.parametrize(
    "name",
    [
        "difftest-h-paper.pdf",
        "census-disability-2010-extract.pdf",
        "us-budget-summary-table-rotated.pdf",
        "senate-expenditures-rotated.pdf",
        "bitcoin-paper-hebrew.pdf",
    ],
)
def test_the_places_of_a_text_are_those_that_pdfium_gives(shared_pdfs: Path, name: str) -> None:
    file = shared_pdfs / "real" / name
    pages = {page.number: page for page in open_document(file).pages}
    compared = 0
    for question in read_questions(shared_pdfs / "questions.jsonl"):
        span = place(pages[question.page], question.answer) if question.file == name else None
        if span is None:
            continue
        wanted = evidence_boxes(file, question.page, question.answer, None)
        found = pages[question.page].line_boxes(*span)
        if pages[question.page].text.count(question.answer) == 1:
            assert overlap(found, wanted) > 0.95, question
            compared += 1
    assert compared
