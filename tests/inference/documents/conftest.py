"""Small documents made here, and a library with the real embedder (which comes with the app, offline)."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from inference.documents.embedding import Embedder
from inference.documents.indexing import index
from inference.documents.libraries import Libraries, Library
from inference.documents.reading import ReadingLimits
from inference.events import DocumentEntry, DocumentIndexed, Event, IndexRequest
from inference.running import RunHandle, new_run_id

#: A piece of text on a page: x, y of its baseline's beginning in points, font size, text.
Piece = tuple[float, float, float, str]


def write_pdf(
    file: Path, pages: Sequence[Sequence[Piece]], *, sideways: bool = False, image: bool = False
) -> Path:
    """A PDF in Helvetica, written by hand; ``sideways`` lets the text run upwards on a page that
    is shown turned by 90 degrees; ``image`` puts a picture on pages without text.
    """
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    matrix = "0 1 -1 0" if sideways else "1 0 0 1"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} "
        f"/MediaBox [0 0 595 842] /Rotate {90 * sideways} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for number, pieces in enumerate(pages):
        content = "\n".join(
            f"BT /F1 {size:g} Tf {matrix} {x:g} {y:g} Tm ({text}) Tj ET" for x, y, size, text in pieces
        )
        if image and not pieces:
            content = "q 200 0 0 200 100 300 cm BI /W 1 /H 1 /CS /G /BPC 8 /F /AHx ID 80> EI Q"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /Contents {5 + 2 * number} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>"
        )
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    body, offsets = "%PDF-1.4\n", []
    for number, entry in enumerate(objects, start=1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{entry}\nendobj\n"
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    body += f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n<< /Size {size} /Root 1 0 R >>\n"
    file.write_bytes(f"{body}startxref\n{body.index('xref')}\n%%EOF\n".encode("latin-1"))
    return file


@pytest.fixture
def make_pdf(tmp_path: Path) -> Callable[..., Path]:
    """``make_pdf(name, pages, ...)``; see :func:`write_pdf`."""

    def make(name: str, pages: Sequence[Sequence[Piece]], **options: object) -> Path:
        return write_pdf(tmp_path / name, pages, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def prose_pdf(tmp_path: Path) -> Callable[[str, Sequence[str]], Path]:
    """``prose_pdf(name, pages)``: a page of lines for each text, 60 characters a line."""

    def make(name: str, texts: Sequence[str]) -> Path:
        pages = []
        for text in texts:
            lines: list[str] = [""]
            for word in text.split():
                if len(lines[-1]) + len(word) > 60:
                    lines.append("")
                lines[-1] = f"{lines[-1]} {word}".strip()
            pages.append([(72.0, 760.0 - 14 * row, 11.0, line) for row, line in enumerate(lines)])
        return write_pdf(tmp_path / name, pages)

    return make


@pytest.fixture
def make_zip(tmp_path: Path) -> Callable[[str, dict[str, str | bytes]], Path]:
    """``make_zip(name, {inner name: content})``."""

    def make(name: str, entries: dict[str, str | bytes]) -> Path:
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for inner, content in entries.items():
                archive.writestr(inner, content)
        return tmp_path / name

    return make


class CountingEmbedder(Embedder):
    """The built-in embedder, which notes what it embeds."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def embed(self, texts: Sequence[str], *check: Callable[[], None]):  # type: ignore[no-untyped-def]
        self.seen.extend(texts)
        return super().embed(texts, *check)


@pytest.fixture(scope="session")
def loaded_embedder() -> CountingEmbedder:
    """Loaded once for all tests."""
    return CountingEmbedder()


@pytest.fixture
def embedder(loaded_embedder: CountingEmbedder) -> CountingEmbedder:
    """The same one with an empty notebook."""
    loaded_embedder.seen.clear()
    return loaded_embedder


@dataclass
class Shelf:
    """A library and what a test does with it."""

    library: Library
    limits: ReadingLimits | None = None

    def bring_up_to_date(self, *add: Path, cancel_after: int | None = None, **fields: object) -> list[Event]:
        """Index; with ``cancel_after`` the run is cancelled when so many events have come."""
        run_id = new_run_id()
        handle = RunHandle(run_id)
        request = IndexRequest(
            run_id=run_id,
            library=str(self.library.folder),
            add=tuple(map(str, add)),
            **fields,  # type: ignore[arg-type]
        )
        events: list[Event] = []
        for event in index(self.library, request, handle, self.limits):
            events.append(event)
            if cancel_after is not None and len(events) >= cancel_after:
                handle.cancel()
        return events

    def entries(self) -> dict[str, DocumentEntry]:
        """What the library lists, by the files' names."""
        return {Path(row.file).name: row.entry for row in self.library.ledger.rows().values()}


def indexed(events: Sequence[Event]) -> list[str]:
    """The names of the files that a run took in, in order."""
    return [Path(event.entry.file).name for event in events if isinstance(event, DocumentIndexed)]


@pytest.fixture
def indexed_names() -> Callable[[Sequence[Event]], list[str]]:
    """See :func:`indexed`."""
    return indexed


@pytest.fixture
def shelf(tmp_path: Path, embedder: CountingEmbedder) -> Iterator[Shelf]:
    """An empty library."""
    folder = tmp_path / "library"
    folder.mkdir()
    library = Library(folder, embedder)
    yield Shelf(library)
    library.close()


@pytest.fixture
def libraries() -> Iterator[Libraries]:
    """Closed at the end."""
    opened = Libraries()
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def shared_pdfs() -> Path:
    """The test documents beside the checkout."""
    folder = Path(__file__).resolve().parents[4] / "shared" / "pdfs"
    if not folder.is_dir():
        pytest.skip("no shared/pdfs beside the checkout")
    return folder
