"""Files read ahead of the embedder by a thread that drives the reader process."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from inference.documents.ledger import Row
from inference.documents.reader_process import Opened, PageRead
from inference.documents.readers.document import UnreadableDocument
from inference.documents.reading import DocumentReader, ReadingLimits
from inference.documents.scanning import content_hash, document_name, looks_unchanged, must_be_read_again

_AHEAD = 96  # pages


@dataclass(frozen=True, slots=True, kw_only=True)
class FileBegins:
    """A file has to be read; ``row`` says what is known of it so far (state "waiting")."""

    row: Row


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEnds:
    """A file has been read, or can't be (``refusal``)."""

    refusal: UnreadableDocument | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSkipped:
    """A file holds what it held; ``row`` has its new size and time."""

    row: Row
    changed: bool


Step = FileBegins | Opened | PageRead | FileEnds | FileSkipped


class ReadAhead:
    """Iterate over it for the steps of all files, in order; leaving its block stops the thread and the
    process.
    """

    def __init__(
        self,
        files: list[str],
        rows: dict[str, Row],
        passwords: dict[str, str],
        limits: ReadingLimits | None = None,
    ) -> None:
        self._files = files
        self._rows = rows
        self._passwords = passwords
        self._reader = DocumentReader(limits)
        self._steps: queue.Queue[Step | BaseException | None] = queue.Queue(maxsize=_AHEAD)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="documents-read-ahead", daemon=True)

    def __enter__(self) -> ReadAhead:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def next_step(self, seconds: float) -> Step | None:
        """The next step, or None when there is none yet.

        Raises:
            StopIteration: All files are done.
        """
        try:
            step = self._steps.get(timeout=seconds)
        except queue.Empty:
            return None
        if step is None:
            raise StopIteration
        if isinstance(step, BaseException):
            raise step
        return step

    def _put(self, step: Step | BaseException | None) -> None:
        while not self._stopped.is_set():
            try:
                self._steps.put(step, timeout=0.1)
                return
            except queue.Full:
                continue

    def _work(self) -> None:
        try:
            for file in self._files:
                if self._stopped.is_set():
                    return
                for step in self._steps_of(file):
                    self._put(step)
            self._put(None)
        except BaseException as error:  # handed to the thread that waits
            self._put(error)
        finally:
            self._reader.close()

    def _steps_of(self, file: str) -> Iterator[Step]:
        row = self._rows.get(file)
        password = self._passwords.get(file)
        try:
            stat = Path(file).stat()
            if row is not None and looks_unchanged(row, stat, has_password=password is not None):
                yield FileSkipped(row=row, changed=False)
                return
            digest = content_hash(Path(file), self._stopped.is_set) if Path(file).is_file() else "0" * 32
        except (OSError, ValueError) as error:
            yield FileBegins(row=_waiting(file, "0" * 32, 0, 0))
            yield FileEnds(refusal=_refusal(error))
            return
        now = _waiting(file, digest, stat.st_size, stat.st_mtime_ns)
        same = row is not None and row.hash == digest and row.state == "indexed"
        if row is not None and same and not must_be_read_again(row):
            yield FileSkipped(row=now, changed=True)
            return
        yield FileBegins(row=now)
        try:
            yield from self._reader.read(Path(file), password, cancelled=self._stopped.is_set)
        except UnreadableDocument as refusal:
            yield FileEnds(refusal=refusal)
            return
        if not self._stopped.is_set():
            yield FileEnds()


def _waiting(file: str, digest: str, size: int, modified: int) -> Row:
    return Row(
        file=file,
        document=document_name(file, digest),
        hash=digest,
        size=size,
        modified=modified,
        state="waiting",
    )


def _refusal(error: OSError | ValueError) -> UnreadableDocument:
    if isinstance(error, FileNotFoundError):
        return UnreadableDocument("missing", "The file is not there.")
    if isinstance(error, PermissionError):
        return UnreadableDocument("forbidden", "You may not read this file.")
    return UnreadableDocument(
        "missing", f"The file can't be reached ({getattr(error, 'strerror', None) or error})."
    )
