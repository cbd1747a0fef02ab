"""Pages drawn, read and searched with PDFium, in a process of its own."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from pathlib import Path

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from inference.documents.page_messages import Answer, Characters, Find, Found, Picture, Question
from inference.documents.page_text import page_characters, places_on_page
from inference.documents.reader_process import Refused
from inference.documents.readers.document import UnreadableDocument
from inference.documents.readers.pdf import open_pdf_file
from inference.events import PageTextRequest, RenderPageRequest

_OPEN_FILES = 4  # that the process keeps open
_UNIT = 100_000  # PDFium tells places in whole pixels: of a page this wide and high they are exact enough
_MOST_PIXELS = 40_000_000


def answer(files: OpenFiles, question: Question) -> Answer:
    """What a question gives: never an exception for what a file can do."""
    try:
        if isinstance(question, RenderPageRequest):
            return files.draw(question)
        if isinstance(question, PageTextRequest):
            return files.read(question)
        return files.find(question)
    except UnreadableDocument as refusal:
        return Refused(reason=refusal.reason, message=refusal.message)
    except FileNotFoundError:
        return Refused(reason="missing", message="The file is no longer there.")
    except PermissionError:
        return Refused(reason="forbidden", message="You may not read this file.")
    except (pdfium.PdfiumError, MemoryError, OSError) as error:
        return Refused(reason="damaged", message=f"The page can't be drawn ({error}).")


class OpenFiles:
    """PDF files that were asked for lately; one that has changed on disk is opened again."""

    def __init__(self) -> None:
        self._files: dict[tuple[str, str | None, int], pdfium.PdfDocument] = {}

    def draw(self, request: RenderPageRequest) -> Picture:
        """Render a page."""
        pdf = self._open(request.file, request.password)
        with _page(pdf, request.page) as page:
            width, height = page.get_size()
            scale = min(request.width / max(width, 1.0), (_MOST_PIXELS / max(width * height, 1.0)) ** 0.5)
            bitmap = page.render(scale=scale, rev_byteorder=True)
            rows = bitmap.width * bitmap.n_channels
            data = bytes(bitmap.buffer)
            rgb = b"".join(
                data[row * bitmap.stride : row * bitmap.stride + rows] for row in range(bitmap.height)
            )
            if bitmap.n_channels != 3:
                raise UnreadableDocument("damaged", "The page has an unknown colour format.")
            return Picture(
                pages=len(pdf),
                width=bitmap.width,
                height=bitmap.height,
                points=(width, height),
                transform=_transform(page),
                rgb=rgb,
            )

    def read(self, request: PageTextRequest) -> Characters:
        """The characters of a page."""
        with _page(self._open(request.file, request.password), request.page) as page:
            return page_characters(page)

    def find(self, question: Find) -> Found:
        """Where words stand; pages that can't be read hold nothing."""
        pdf = self._open(question.file, question.password)
        found = []
        for number in range(question.first, min(question.last, len(pdf)) + 1):
            with contextlib.suppress(pdfium.PdfiumError), _page(pdf, number) as page:
                if places := places_on_page(page, question.text):
                    found.append((number, places))
        return Found(places=tuple(found), pages=len(pdf))

    def _open(self, file: str, password: str | None) -> pdfium.PdfDocument:
        path = Path(file)
        key = (file, password, path.stat().st_mtime_ns)
        pdf = self._files.pop(key, None)
        if pdf is None:
            pdf = open_pdf_file(path, password)
        self._files[key] = pdf
        while len(self._files) > _OPEN_FILES:
            self._files.pop(next(iter(self._files))).close()
        return pdf


@contextlib.contextmanager
def _page(pdf: pdfium.PdfDocument, number: int) -> Iterator[pdfium.PdfPage]:
    """A page, closed after use."""
    if not 1 <= number <= len(pdf):
        raise UnreadableDocument("page", f"The document has no page {number}.")
    page = pdf[number - 1]
    try:
        yield page
    finally:
        page.close()


def _transform(page: pdfium.PdfPage) -> tuple[float, float, float, float, float, float]:
    """(a, b, c, d, e, f): the point (x, y) of user space stands at (ax + cy + e, bx + dy + f) of the
    picture, whose width and height are 1; crop box and rotation included.
    """

    def place(x: float, y: float) -> tuple[float, float]:
        left, top = ctypes.c_int(), ctypes.c_int()
        pdfium_c.FPDF_PageToDevice(page, 0, 0, _UNIT, _UNIT, 0, x, y, left, top)
        return left.value / _UNIT, top.value / _UNIT

    reach = 1000.0
    (e, f), (ax, bx), (cy, dy) = place(0, 0), place(reach, 0), place(0, reach)
    return (ax - e) / reach, (bx - f) / reach, (cy - e) / reach, (dy - f) / reach, e, f
