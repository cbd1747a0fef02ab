"""Bring a library up to date: read what is new or changed, embed it, store each document in one piece."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from inference.documents.embedding import Vectors
from inference.documents.ledger import FORMAT, Row
from inference.documents.libraries import Library
from inference.documents.progress import ProgressMeter
from inference.documents.read_ahead import FileBegins, FileEnds, FileSkipped, ReadAhead, Step
from inference.documents.reader_process import Opened, PageRead
from inference.documents.readers.document import NOTHING_RECOGNISED, RECOGNISED, UnreadableDocument
from inference.documents.reading import ReadingLimits
from inference.documents.records import Record
from inference.documents.scanning import scan
from inference.events import DocumentEntry, DocumentIndexed, Event, IndexRequest, LibraryOpened
from inference.running import RunHandle

_BATCH = 32  # passages that are embedded and staged together: what a crash can cost at most
_WINDOW = 256  # passages of which those of like length are embedded together: so little is padded
_TIDY_EVERY = 20_000  # passages


def index(
    library: Library, request: IndexRequest, handle: RunHandle, limits: ReadingLimits | None = None
) -> Iterator[Event]:
    """Do what an :class:`IndexRequest` asks for."""
    with library.writing():
        yield from _Indexing(library, request, handle, limits).run()


def library_opened(library: Library, run_id: int) -> LibraryOpened:
    """What a library holds."""
    rows = library.ledger.rows().values()
    entries = tuple(row.entry for row in rows)
    return LibraryOpened(
        run_id=run_id,
        library=str(library.folder),
        embedder=library.embedder.name,
        documents=entries,
        passages=sum(entry.passages for entry in entries if entry.state == "indexed"),
        outdated=sum(row.outdated for row in rows),
    )


class _Indexing:
    """One run."""

    def __init__(
        self, library: Library, request: IndexRequest, handle: RunHandle, limits: ReadingLimits | None
    ) -> None:
        self._library = library
        self._request = request
        self._handle = handle
        self._limits = limits
        self._meter = ProgressMeter(request.run_id)
        self._written = 0

    def run(self) -> Iterator[Event]:
        ledger, store = self._library.ledger, self._library.store
        yield self._meter.event("scanning")
        self._drop_orphans()
        ledger.change_roots(
            add=[os.path.abspath(os.path.expanduser(path)) for path in self._request.add],
            remove=[os.path.abspath(os.path.expanduser(path)) for path in self._request.remove],
        )
        rows = ledger.rows()
        found = scan(ledger.roots(), rows, ledger.excluded())
        if self._request.drop_unread:
            ledger.change_roots(add=(), remove=[file for file in found.files if file not in rows])
            found = scan(ledger.roots(), rows, ledger.excluded())
        self._forget([rows[file] for file in found.gone])
        for root in found.empty:
            yield self._list_refused(
                Row(file=root, document="0", hash="", size=0, modified=0, state="waiting"),
                UnreadableDocument("empty", "The folder holds no documents of a known format."),
            )
        self._meter.plan(found.files, rows)
        passwords = {os.path.abspath(file): password for file, password in self._request.passwords}
        with ReadAhead(list(found.files), rows, passwords, self._limits) as ahead:
            yield from self._take_in(ahead, rows)
        if not any(row.outdated for row in ledger.rows().values()):
            ledger.set_fact("format", FORMAT)
        ledger.drop_staged()  # of files that are gone, or have changed since a run that broke off
        if self._written or found.gone:
            yield self._meter.event("tidying")
            store.tidy(self._handle.check)
            self._library.warm()
        yield library_opened(self._library, self._request.run_id)

    def _take_in(self, ahead: ReadAhead, rows: dict[str, Row]) -> Iterator[Event]:
        document: _Document | None = None
        while True:
            self._handle.check()
            try:
                step = ahead.next_step(0.1)
            except StopIteration:
                return
            if step is None:
                continue
            if isinstance(step, FileSkipped):
                self._skip(step, rows)
                yield self._meter.skipped(step.row)
            elif isinstance(step, FileBegins):
                document = _Document(step.row, self._library)
                yield self._meter.begins(step.row)
            elif document is not None:
                yield from self._go_on(document, step, rows.get(document.row.file))

    def _go_on(self, document: _Document, step: Step, old: Row | None) -> Iterator[Event]:
        if isinstance(step, Opened):
            document.row = replace(document.row, title=step.title[:300])
            yield self._meter.opened(step.pages)
        elif isinstance(step, PageRead):
            document.take(step)
            while len(document.waiting) >= _WINDOW:
                self._handle.check()
                document.embed(_BATCH, self._handle.check)
                yield self._meter.embedded(document.page_reached, _BATCH)
            recognised = step.problem in (RECOGNISED, NOTHING_RECOGNISED)
            yield self._meter.read(step.number, recognised=recognised)
        elif isinstance(step, FileEnds):
            refusal = step.refusal or document.why_empty()
            if refusal is not None:
                yield self._list_refused(document.row, refusal, old)
            else:
                while document.waiting:
                    self._handle.check()
                    count = document.embed(_BATCH, self._handle.check)
                    yield self._meter.embedded(document.page_reached, count)
                yield self._meter.event("writing")
                yield self._write(document, old)
            yield self._meter.ends()

    def _write(self, document: _Document, old: Row | None) -> Event:
        """Passages first, then the ledger, which makes them count; then what they replace goes."""
        store, ledger = self._library.store, self._library.ledger
        store.add(document.row.document, document.records, document.vectors())
        row = document.indexed_row()
        ledger.put(row)
        if old is not None and old.document != row.document:
            store.delete([old.document])
        before = self._written
        self._written += row.passages
        if before // _TIDY_EVERY != self._written // _TIDY_EVERY:
            store.tidy(self._handle.check)
        return DocumentIndexed(run_id=self._request.run_id, entry=row.entry)

    def _list_refused(self, row: Row, refusal: UnreadableDocument, old: Row | None = None) -> Event:
        if old is not None and old.outdated and old.hash == row.hash and old.state == "indexed":
            # The same file could be read before (its password was given, say): that is better than nothing.
            return DocumentIndexed(run_id=self._request.run_id, entry=old.entry)
        refused = replace(row, state="unreadable", reason=refusal.reason, message=refusal.message)
        self._library.ledger.put(refused)
        if old is not None and old.passages:
            self._library.store.delete([old.document])
        entry: DocumentEntry = refused.entry
        return DocumentIndexed(run_id=self._request.run_id, entry=entry)

    def _skip(self, step: FileSkipped, rows: dict[str, Row]) -> None:
        if step.changed:
            old = rows[step.row.file]
            self._library.ledger.touch(old, size=step.row.size, modified=step.row.modified)

    def _forget(self, rows: list[Row]) -> None:
        files = [row.file for row in rows]
        self._library.ledger.forget(files)
        self._library.ledger.drop_roots(files)
        self._library.store.delete([row.document for row in rows if row.passages])

    def _drop_orphans(self) -> None:
        """Passages that a crash left behind: their document never came into the ledger, or has left it."""
        orphans = self._library.store.documents() - set(self._library.ledger.files_of_documents())
        self._library.store.delete(orphans)


class _Document:
    """A document on its way into the store. Its vectors are staged batch by batch."""

    def __init__(self, row: Row, library: Library) -> None:
        self.row = row
        self.records: list[Record] = []
        self.waiting: list[int] = []
        self._library = library
        self._staged = library.ledger.staged(row.document)
        self._vectors: list[Vectors | None] = []
        self._problems: dict[str, list[int]] = {}
        self._pages = 0

    @property
    def page_reached(self) -> int:
        """The page that would be reached if the passages were embedded in their order."""
        done = len(self.records) - len(self.waiting)
        return self.records[done - 1].page if done else 0

    def take(self, page: PageRead) -> None:
        """Add a page's passages; those whose vectors a broken-off run left need no embedding."""
        self._pages = max(self._pages, page.number)
        if page.problem:
            self._problems.setdefault(page.problem, []).append(page.number)
        for record in page.records:
            vector = self._staged.get(_key(record))
            if vector is None:
                self.waiting.append(len(self.records))
            self.records.append(record)
            self._vectors.append(vector)

    def embed(self, count: int, check: Callable[[], None]) -> int:
        """Embed and stage some of the next passages, the longest ones first; returns how many they were."""
        window = sorted(self.waiting[:_WINDOW], key=lambda index: -len(self.records[index].embedded_text))
        batch = window[:count]
        taken = set(batch)
        self.waiting = [index for index in self.waiting if index not in taken]
        records = [self.records[index] for index in batch]
        vectors = self._library.embedder.embed([record.embedded_text for record in records], check)
        self._library.ledger.stage(self.row.document, [_key(record) for record in records], vectors)
        for index, vector in zip(batch, vectors, strict=True):
            self._vectors[index] = vector
        return len(batch)

    def vectors(self) -> Vectors:
        """All vectors, shape (passages, dimensions)."""
        return np.stack([vector for vector in self._vectors if vector is not None])

    def why_empty(self) -> UnreadableDocument | None:
        """Why there is nothing to index, if so."""
        if self.records:
            return None
        if self._problems:
            problem = max(self._problems, key=lambda problem: len(self._problems[problem]))
            reason = "damaged" if "damaged" in problem or "can't" in problem else "no-text"
            return UnreadableDocument(reason, f"No text was found: {problem}.")
        return UnreadableDocument("no-text", "The document has no text.")

    def indexed_row(self) -> Row:
        """The row that makes the document searchable."""
        problems = tuple(f"{_page_ranges(pages)}: {problem}" for problem, pages in self._problems.items())
        return replace(
            self.row, state="indexed", pages=self._pages, passages=len(self.records), problems=problems
        )


def _key(record: Record) -> bytes:
    return hashlib.sha256(record.embedded_text.encode("utf-8", "surrogatepass")).digest()


def _page_ranges(pages: list[int]) -> str:
    """[1, 2, 3, 7] -> "pages 1-3, 7"."""
    spans: list[list[int]] = []
    for page in pages:
        if spans and page == spans[-1][1] + 1:
            spans[-1][1] = page
        else:
            spans.append([page, page])
    text = ", ".join(f"{low}-{high}" if high > low else str(low) for low, high in spans)
    return f"page{'s' if len(pages) > 1 else ''} {text}"


def file_name(file: str) -> str:
    """The name that sources are cited with."""
    return Path(file).name
