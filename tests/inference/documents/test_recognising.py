"""Text in pictures of pages, with the optional packages."""

from __future__ import annotations

from pathlib import Path

import pypdfium2 as pdfium
import pytest

from inference.documents.ledger import Row
from inference.documents.pages import Box, overlap
from inference.documents.progress import ProgressMeter
from inference.documents.readers.document import NO_TEXT_LAYER, RECOGNISED, can_recognise
from inference.documents.readers.pdf import open_pdf
from inference.documents.scanning import looks_unchanged

LINES = ("The old lighthouse was built in 1857", "and shines over the bay every night.")
WIDTH, HEIGHT = 420, 110


@pytest.fixture
def scan(make_pdf, tmp_path: Path) -> tuple[Path, list[Box]]:  # type: ignore[no-untyped-def]
    """A small page that is a picture of two lines of text, and the text's own places."""
    typed = make_pdf("typed.pdf", [[(30, 70 - 30 * row, 20, line) for row, line in enumerate(LINES)]])
    (page,) = open_pdf(typed, None).pages
    source = pdfium.PdfDocument(typed)
    source[0].set_mediabox(0, 0, WIDTH, HEIGHT)
    scanned = pdfium.PdfDocument.new()
    image = pdfium.PdfImage.new(scanned)
    image.set_bitmap(source[0].render(scale=2, rev_byteorder=True))
    image.set_matrix(pdfium.PdfMatrix().scale(WIDTH, HEIGHT))
    sheet = scanned.new_page(WIDTH, HEIGHT)
    sheet.insert_obj(image)
    sheet.gen_content()
    scanned.save(tmp_path / "scan.pdf")
    for document in (scanned, source):
        document.close()
    return tmp_path / "scan.pdf", list(page.line_boxes(0, len(page.text)))


@pytest.mark.skipif(not can_recognise(), reason="the extra ocr is not installed")
def test_a_scanned_page_is_read_offline_and_its_words_know_their_places(
    scan: tuple[Path, list[Box]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr("socket.socket.connect", refuse)
    file, places = scan
    (page,) = open_pdf(file, None).pages
    assert page.text.split() == " ".join(LINES).split()
    assert page.problem == RECOGNISED
    assert overlap(page.line_boxes(0, len(page.text)), places) > 0.5
    year = page.text.index("1857")
    (box,) = page.line_boxes(year, year + 4)
    (first, *_) = places
    assert box[0] > (first[0] + first[2]) / 2, "the year stands at the end of its line"
    assert box[2] < first[2] + 10


def test_without_the_packages_a_scanned_page_is_named(
    scan: tuple[Path, list[Box]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.documents.readers.pdf.can_recognise", lambda: False)
    (page,) = open_pdf(scan[0], None).pages
    assert (page.text, page.problem) == ("", NO_TEXT_LAYER)


def test_progress_counts_pages_whose_pictures_were_read() -> None:
    meter = ProgressMeter(1)
    meter.opened(5)
    assert meter.read(3).page == 0, "text is read far ahead of what takes the time"
    assert meter.read(3, recognised=True).page == 3
    assert meter.embedded(1, 2).page == 3


@pytest.mark.parametrize("able", [False, True])
def test_scans_are_read_again_once_they_can_be(
    able: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.documents.scanning.can_recognise", lambda: able)
    file = tmp_path / "scan.pdf"
    file.write_bytes(b"%PDF")
    stat = file.stat()
    row = Row(file=str(file), document="d", hash="", size=4, modified=stat.st_mtime_ns, state="indexed")
    partly = Row(
        file=row.file, document="d", hash="", size=4, modified=row.modified, state="indexed",
        problems=(f"pages 2-3: {NO_TEXT_LAYER}",),
    )  # fmt: skip
    assert looks_unchanged(row, stat, has_password=False)
    assert looks_unchanged(partly, stat, has_password=False) is not able
