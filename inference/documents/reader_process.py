"""The process that reads documents: the only place where a file that someone sent is parsed.

It answers requests over a pipe and ends with its parent, however that ends. Imports no torch.
"""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path

from inference.documents.pages import Page
from inference.documents.passages import page_passages
from inference.documents.readers.document import UnreadableDocument
from inference.documents.records import Record, make_record
from inference.documents.terms import terms


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRequest:
    """Read a file. None in its place on the pipe ends the process."""

    file: str
    password: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The file is open; ``pages`` 0: not known."""

    title: str
    pages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRead:
    """A page and its passages."""

    number: int
    records: tuple[Record, ...]
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The file can't be read; see :class:`UnreadableDocument`."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The whole file has been read."""


Answer = Opened | PageRead | Refused | Done


def serve(pipe: Connection, memory_limit: int) -> None:
    """Read files until the pipe closes.

    Args:
        pipe: Takes :class:`ReadRequest`, gives :data:`Answer` objects.
        memory_limit: Bytes of address space beyond which the process gets no more (where the system can do
            it).
    """
    threading.Thread(target=end_with_parent, daemon=True).start()
    _limit_memory(memory_limit)
    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):
        while (request := pipe.recv()) is not None:
            _answer(pipe, request)


def _answer(pipe: Connection, request: ReadRequest) -> None:
    try:
        _read(pipe, Path(request.file), request.password)
    except UnreadableDocument as refusal:
        pipe.send(Refused(reason=refusal.reason, message=refusal.message))
    except FileNotFoundError:
        pipe.send(Refused(reason="missing", message="The file is no longer there."))
    except PermissionError:
        pipe.send(Refused(reason="forbidden", message="You may not read this file."))
    except MemoryError:
        pipe.send(Refused(reason="memory", message="Reading the file takes more memory than it may."))
    except (BrokenPipeError, EOFError):
        raise
    except (
        Exception
    ) as error:  # a parser met what it did not expect: the file's fault, and the next one may be well
        detail = f"{type(error).__name__}: {error}"[:200]
        pipe.send(
            Refused(reason="damaged", message=f"The file is damaged or not what its name says ({detail}).")
        )


def _read(pipe: Connection, path: Path, password: str | None) -> None:
    from inference.documents.readers.formats import open_document

    document = open_document(path, password)
    pipe.send(Opened(title=document.title, pages=document.page_count))
    named = terms(f"{path.stem.replace('_', ' ').replace('-', ' ')} {document.title}")
    heading = ""
    for page in document.pages:
        pipe.send(_page_read(page, heading, named))
        heading = page.headings[-1].text if page.headings else heading
    pipe.send(Done())


def _page_read(page: Page, heading: str, named: list[str]) -> PageRead:
    passages = () if page.problem.startswith("text layer") else page_passages(page, heading=heading)
    records = tuple(
        make_record(page, passage, named) for passage in passages if _says_something(passage.text)
    )
    return PageRead(number=page.number, records=records, problem=page.problem)


def _says_something(text: str) -> bool:
    """Whether there is a letter or digit in it: rows of dots and rules are not worth a passage."""
    return any(letter.isalnum() for letter in text)


def end_with_parent() -> None:
    """End this process when its parent has ended, however that ended."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _limit_memory(limit: int) -> None:
    try:
        import resource
    except ImportError:  # Windows: the parent watches instead
        return
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
