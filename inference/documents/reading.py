"""Reading documents in a process of its own, with limits on time and memory."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

import psutil

from inference.documents.reader_process import Done, Opened, PageRead, ReadRequest, Refused, serve
from inference.documents.readers.document import UnreadableDocument, can_recognise

_POLL = 0.2  # seconds between two looks at the process and the cancel flag


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingLimits:
    """What one file may take. Seconds count between two answers of the reader; ``memory`` is in bytes.
    ``seconds_a_scan`` is for a page where the text in pictures is recognised.
    """

    seconds_to_open: float = 60.0
    seconds_a_page: float = 30.0
    seconds_a_scan: float = 240.0
    memory: int = 2 * 2**30
    bytes_a_file: int = 4 * 2**30


class DocumentReader:
    """Reads files one after another in a child process, which is replaced when it dies or is stopped.

    Use it from one thread, and close it. Nothing that a file does to the child reaches the parent.
    """

    def __init__(self, limits: ReadingLimits | None = None) -> None:
        self.limits = limits or ReadingLimits()
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None

    def read(
        self, file: Path, password: str | None = None, *, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[Opened | PageRead]:
        """Read a file: :class:`Opened`, then a :class:`PageRead` for each page. Ends early when cancelled.

        Raises:
            UnreadableDocument: The file can't be read, took too long or too much memory, or killed the
                process.
        """
        _check_file(file, self.limits.bytes_a_file)
        pipe = self._start()
        finished = False
        try:
            pipe.send(ReadRequest(file=str(file), password=password))
            seconds = self.limits.seconds_to_open
            while not cancelled():
                answer = self._receive(pipe, seconds, cancelled)
                if answer is None:
                    return
                if isinstance(answer, (Done, Refused)):
                    finished = True
                    if isinstance(answer, Refused):
                        raise UnreadableDocument(answer.reason, answer.message)
                    return
                yield answer
                seconds = self.limits.seconds_a_scan if can_recognise() else self.limits.seconds_a_page
        except (EOFError, OSError) as error:
            raise UnreadableDocument(
                "crashed", "Reading the file ended the process that reads it."
            ) from error
        finally:
            if not finished:
                self.close()

    def close(self) -> None:
        """End the process now."""
        process, pipe, self._process, self._pipe = self._process, self._pipe, None, None
        if pipe is not None:
            pipe.close()
        if process is not None:
            process.kill()
            process.join()
            process.close()

    def _start(self) -> Connection:
        if self._process is not None and self._pipe is not None and self._process.is_alive():
            return self._pipe
        self.close()
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        # Address space is more than memory: libraries and threads map a lot that they never touch.
        process = context.Process(target=serve, args=(theirs, 2 * self.limits.memory), daemon=True)
        try:
            process.start()
        except OSError as error:
            ours.close()
            message = f"No process could be started to read the file: {error.strerror}."
            raise UnreadableDocument("crashed", message) from error
        finally:
            theirs.close()
        self._process, self._pipe = process, ours
        return ours

    def _receive(
        self, pipe: Connection, seconds: float, cancelled: Callable[[], bool]
    ) -> Opened | PageRead | Done | Refused | None:
        """The next answer, or None when cancelled."""
        deadline = time.monotonic() + seconds
        while not pipe.poll(_POLL):
            if cancelled():
                return None
            if time.monotonic() > deadline:
                raise UnreadableDocument(
                    "timeout", f"Reading the file stood still for {seconds:.0f} seconds."
                )
            if self._memory() > self.limits.memory:
                raise UnreadableDocument("memory", "Reading the file takes more memory than it may.")
        answer: Opened | PageRead | Done | Refused = pipe.recv()
        return answer

    def _memory(self) -> int:
        with contextlib.suppress(psutil.Error):
            if self._process is not None and self._process.pid is not None:
                return int(psutil.Process(self._process.pid).memory_info().rss)
        return 0


def _check_file(file: Path, limit: int) -> None:
    try:
        size = file.stat().st_size
        if file.is_dir():
            raise UnreadableDocument("unsupported", "This is a folder, not a document.")
    except FileNotFoundError:
        raise UnreadableDocument("missing", "The file is no longer there.") from None
    except PermissionError:
        raise UnreadableDocument("forbidden", "You may not read this file.") from None
    except OSError as error:
        raise UnreadableDocument("missing", f"The file can't be reached ({error.strerror}).") from error
    if size == 0 and file.is_file():
        raise UnreadableDocument("empty", "The file is empty.")
    if size > limit:
        raise UnreadableDocument("too-large", f"The file is larger than {limit / 2**30:.0f} GB.")
