"""Word, PowerPoint and Excel files."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inference.documents.pages import Heading, Page
from inference.documents.readers.document import Document, UnreadableDocument

_MAX_UNPACKED = 512 * 2**20
_MAX_RATIO = 250  # of unpacked to packed size, beyond which a large archive is taken for a bomb
_ROWS_PER_PAGE = 60
_MAX_ROWS = 200_000


def check_archive(path: Path) -> None:
    """Refuse an archive that would unpack to far more than it weighs.

    Raises:
        UnreadableDocument: It is damaged, or too large when unpacked.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise UnreadableDocument("damaged", "The file is damaged: its archive can't be opened.") from error
    unpacked = sum(entry.file_size for entry in entries)
    packed = max(sum(entry.compress_size for entry in entries), 1)
    if unpacked > _MAX_UNPACKED or (unpacked > 64 * 2**20 and unpacked / packed > _MAX_RATIO):
        raise UnreadableDocument(
            "too-large", f"The file unpacks to {unpacked / 2**20:,.0f} MB; that is too much."
        )


def open_docx(path: Path, password: str | None) -> Document:
    """A Word file; its pages are those of the last time it was laid out, where the file says so."""
    import docx

    check_archive(path)
    word = docx.Document(str(path))
    return Document(pages=_word_pages(word), title=word.core_properties.title or "")


def _word_pages(word: Any) -> Iterator[Page]:
    from docx.table import Table

    number, parts, headings, length = 1, list[str](), list[Heading](), 0
    for block in word.iter_inner_content():
        if isinstance(block, Table):
            text, breaks = "\n".join(_table_rows(block)), 0
        else:
            text = " ".join(block.text.split())
            breaks = len(block.rendered_page_breaks) + _hard_breaks(block)
        if breaks and parts:
            yield Page(number=number, text="\n".join(parts), headings=tuple(headings))
            parts, headings, length = [], [], 0
        number += breaks
        if not text:
            continue
        style = "" if isinstance(block, Table) or block.style is None else str(block.style.name)
        if style.startswith(("Heading", "Title")):
            headings.append(Heading(start=length, text=text[:120]))
        parts.append(text)
        length += len(text) + 1
    yield Page(number=number, text="\n".join(parts), headings=tuple(headings))


def _hard_breaks(paragraph: Any) -> int:
    return len(paragraph._p.xpath('.//w:br[@w:type="page"]'))


def _table_rows(table: Any) -> Iterator[str]:
    for row in table.rows:
        cells: list[str] = []
        for cell in row.cells:
            text = " ".join(cell.text.split())
            if text and (not cells or cells[-1] != text):  # merged cells come once for each column
                cells.append(text)
        if cells:
            yield " | ".join(cells)


def open_pptx(path: Path, password: str | None) -> Document:
    """A PowerPoint file: a page for each slide, with its notes."""
    import pptx

    check_archive(path)
    slides = pptx.Presentation(str(path))
    return Document(
        pages=_slide_pages(slides), page_count=len(slides.slides), title=slides.core_properties.title or ""
    )


def _slide_pages(slides: Any) -> Iterator[Page]:
    for number, slide in enumerate(slides.slides, start=1):
        parts: list[str] = []
        title = slide.shapes.title
        for shape in slide.shapes:
            parts.extend(_shape_texts(shape))
        if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
            parts.extend(filter(None, [slide.notes_slide.notes_text_frame.text.strip()]))
        heading = " ".join(title.text_frame.text.split())[:120] if title is not None else ""
        headings = (Heading(start=0, text=heading),) if heading else ()
        yield Page(number=number, text="\n".join(parts), unit="slide", headings=headings)


def _shape_texts(shape: Any) -> Iterator[str]:
    if getattr(shape, "shapes", None) is not None:
        for inner in shape.shapes:
            yield from _shape_texts(inner)
    elif getattr(shape, "has_table", False):
        yield from _table_rows(shape.table)
    elif shape.has_text_frame:
        for paragraph in shape.text_frame.paragraphs:
            text = " ".join("".join(run.text for run in paragraph.runs).split())
            if text:
                yield text


def open_xlsx(path: Path, password: str | None) -> Document:
    """An Excel file: a page for every 60 rows of a sheet, each cell with the name of its column."""
    import openpyxl

    check_archive(path)
    book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    return Document(pages=_sheet_pages(book))


def _sheet_pages(book: Any) -> Iterator[Page]:
    number = 0
    for sheet in book.worksheets:
        names: list[str] = []
        rows: list[str] = []
        first = 1
        for index, cells in enumerate(sheet.iter_rows(values_only=True, max_row=_MAX_ROWS), start=1):
            values = ["" if cell is None else " ".join(str(cell).split()) for cell in cells]
            if not any(values):
                continue
            if not names and sum(bool(value) for value in values) > 1:
                names = values
                rows.append(" | ".join(filter(None, values)))
                continue
            rows.append(_named_row(values, names))
            if len(rows) >= _ROWS_PER_PAGE:
                number += 1
                yield _sheet_page(number, sheet.title, first, index, rows)
                rows, first = [], index + 1
        if rows:
            number += 1
            yield _sheet_page(number, sheet.title, first, index, rows)


def _named_row(values: list[str], names: list[str]) -> str:
    named = []
    for column, value in enumerate(values):
        if value:
            name = names[column] if column < len(names) else ""
            named.append(f"{name}: {value}" if name else value)
    return " | ".join(named)


def _sheet_page(number: int, sheet: str, first: int, last: int, rows: list[str]) -> Page:
    heading = (Heading(start=0, text=sheet[:120]),) if sheet else ()
    return Page(
        number=number,
        text="\n".join(rows),
        unit="sheet",
        label=f"{sheet}, rows {first}-{last}",
        headings=heading,
    )
