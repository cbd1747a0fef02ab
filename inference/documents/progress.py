"""How far indexing is, and how long it will take."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from inference.documents.ledger import Row
from inference.documents.scanning import must_be_read_again
from inference.events import IndexProgress

_ENOUGH_SECONDS = 3.0  # before a guess is made of the time that is left


class ProgressMeter:
    """Counts files, pages and passages; time left is judged by the bytes of the files that are still to be
    read.
    """

    def __init__(self, run_id: int) -> None:
        self._run_id = run_id
        self._began = time.monotonic()
        self._file = ""
        self._files_done = self._files_total = 0
        self._pages_before = self._page = self._pages = 0
        self._passages = 0
        self._bytes: dict[str, int] = {}
        self._bytes_done = self._bytes_total = 0

    def plan(self, files: Iterable[str], rows: dict[str, Row]) -> None:
        """What is ahead: files that look the same weigh nothing."""
        for file in files:
            try:
                stat = Path(file).stat()
            except OSError:
                self._bytes[file] = 0
                continue
            row = rows.get(file)
            same = row is not None and row.size == stat.st_size and row.modified == stat.st_mtime_ns
            same = same and row is not None and not must_be_read_again(row)
            self._bytes[file] = 0 if same else stat.st_size
        self._files_total = len(self._bytes)
        self._bytes_total = sum(self._bytes.values())

    def begins(self, row: Row) -> IndexProgress:
        """A file begins."""
        self._file, self._page, self._pages = row.file, 0, 0
        return self.event("reading")

    def opened(self, pages: int) -> IndexProgress:
        """It has this many pages (0: not known)."""
        self._pages = pages
        return self.event("reading")

    def read(self, page: int, *, recognised: bool = False) -> IndexProgress:
        """A page has been read. Where the text in its picture was recognised, that is what takes the time,
        and the page counts as reached.
        """
        if recognised:
            self._page = max(self._page, page)
        return self.event("reading")

    def embedded(self, page: int, passages: int) -> IndexProgress:
        """Passages up to this page have been embedded."""
        self._page = max(self._page, page)
        self._passages += passages
        return self.event("embedding")

    def skipped(self, row: Row) -> IndexProgress:
        """A file holds what it held."""
        self._file = row.file
        self._bytes_done += self._bytes.get(row.file, 0)
        self._files_done += 1
        return self.event("scanning")

    def ends(self) -> IndexProgress:
        """The file is done."""
        self._files_done += 1
        self._bytes_done += self._bytes.get(self._file, 0)
        self._pages_before += self._pages or self._page
        self._page = self._pages = 0
        return self.event("writing")

    def event(self, stage: str) -> IndexProgress:
        """Where things stand."""
        return IndexProgress(
            run_id=self._run_id,
            stage=stage,
            file=self._file,
            files_done=self._files_done,
            files_total=self._files_total,
            pages_done=self._pages_before + self._page,
            pages_total=self._pages_before + self._pages if self._pages else 0,
            passages_done=self._passages,
            seconds=time.monotonic() - self._began,
            seconds_left=self._seconds_left(),
            page=self._page,
            file_pages=self._pages,
        )

    def _seconds_left(self) -> float | None:
        done = float(self._bytes_done)
        if self._pages:
            done += self._bytes.get(self._file, 0) * self._page / self._pages
        seconds = time.monotonic() - self._began
        if done <= 0 or seconds < _ENOUGH_SECONDS:
            return None
        return seconds * max(self._bytes_total - done, 0.0) / done
