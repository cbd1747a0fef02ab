"""PDF files, read with PDFium. Run it in a process of its own: PDFium is not thread-safe and meets hostile
input.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from inference.documents.pages import Page
from inference.documents.readers.document import (
    NOTHING_RECOGNISED,
    RECOGNISED,
    Document,
    UnreadableDocument,
    can_recognise,
)
from inference.documents.readers.pdf_columns import in_reading_order
from inference.documents.readers.pdf_lines import Line, read_lines
from inference.documents.readers.pdf_text import make_page
from inference.documents.readers.recognising import recognise_lines
from inference.documents.readers.running_lines import without_running_lines

_REASONS = {
    pdfium_c.FPDF_ERR_FILE: ("damaged", "The file could not be opened."),
    pdfium_c.FPDF_ERR_FORMAT: ("damaged", "The file is damaged or is not a PDF."),
    pdfium_c.FPDF_ERR_SECURITY: ("unsupported", "The file is protected in a way that is not supported."),
}


def open_pdf(path: Path, password: str | None) -> Document:
    """Open a PDF file.

    Raises:
        UnreadableDocument: It is damaged, or protected by a password that is missing or wrong.
    """
    pdf = open_pdf_file(path, password)
    return Document(pages=_pages(pdf), page_count=len(pdf), title=_title(pdf))


def open_pdf_file(path: Path, password: str | None) -> pdfium.PdfDocument:
    """PDFium's own document, with at least one page.

    Raises:
        UnreadableDocument: It is damaged, or protected by a password that is missing or wrong.
    """
    try:
        pdf = pdfium.PdfDocument(path, password=password)
        count = len(pdf)
    except pdfium.PdfiumError as error:
        raise _reason(error, password) from error
    if count == 0:
        raise UnreadableDocument("damaged", "The PDF has no pages.")
    return pdf


def _reason(error: pdfium.PdfiumError, password: str | None) -> UnreadableDocument:
    code = getattr(error, "err_code", None)
    if code == pdfium_c.FPDF_ERR_PASSWORD or "password" in str(error).lower():
        said = "The password is wrong." if password else "The file is protected by a password."
        return UnreadableDocument("password", said)
    return UnreadableDocument(*_REASONS.get(code or 0, ("damaged", "The file is damaged or is not a PDF.")))


def _title(pdf: pdfium.PdfDocument) -> str:
    try:
        return str(pdf.get_metadata_value("Title") or "").strip("\x00 ")
    except (pdfium.PdfiumError, UnicodeError):
        return ""


def _pages(pdf: pdfium.PdfDocument) -> Iterator[Page]:
    facts: list[tuple[str, bool, bool, str]] = []

    def lines_of_pages() -> Iterator[list[Line]]:
        for index in range(len(pdf)):
            lines, vertical, images, problem = _read_page(pdf, index)
            facts.append((_label(pdf, index), vertical, images, problem))
            yield lines

    try:
        for number, lines in enumerate(without_running_lines(lines_of_pages()), start=1):
            label, vertical, images, problem = facts[number - 1]
            if problem:
                yield Page(number=number, text="", label=label, problem=problem)
                continue
            look = images and can_recognise()
            lines = in_reading_order(_recognised(pdf, number - 1) if look else lines)
            page = make_page(lines, number=number, label=label, vertical=vertical, has_images=images)
            if look:
                page = replace(page, problem=RECOGNISED if lines else NOTHING_RECOGNISED)
            yield page
    finally:
        pdf.close()


def _read_page(pdf: pdfium.PdfDocument, index: int) -> tuple[list[Line], bool, bool, str]:
    """Lines, whether the text runs along the y axis, whether there are images, and what went wrong."""
    try:
        page = pdf[index]
    except pdfium.PdfiumError:
        return [], False, False, "the page is damaged"
    try:
        lines, vertical = read_lines(page)
        return lines, vertical, not lines and _has_images(page), ""
    except pdfium.PdfiumError:
        return [], False, False, "the page's text can't be read"
    finally:
        page.close()


def _recognised(pdf: pdfium.PdfDocument, index: int) -> list[Line]:
    """The lines in the picture of a page; none where it can't be drawn."""
    page = pdf[index]
    try:
        return recognise_lines(page)
    except pdfium.PdfiumError:
        return []
    finally:
        page.close()


def _has_images(page: pdfium.PdfPage) -> bool:
    return any(True for _ in page.get_objects(filter=[pdfium_c.FPDF_PAGEOBJ_IMAGE], max_depth=3))


def _label(pdf: pdfium.PdfDocument, index: int) -> str:
    try:
        return str(pdf.get_page_label(index) or "")
    except (pdfium.PdfiumError, UnicodeError):
        return ""
