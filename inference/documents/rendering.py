"""Pages as pictures and as text, read by PDFium in a process of its own, for views that mark passages on
them.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
import weakref
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

import numpy as np

from inference.documents.page_messages import Answer, Characters, Find, Found, Picture, Question
from inference.documents.reader_process import Refused, end_with_parent
from inference.errors import InvalidRequest, PasswordNeeded, UnreadableFile
from inference.events import (
    FindTextRequest,
    PageRendered,
    PageText,
    PageTextRequest,
    RenderPageRequest,
    TextFound,
)
from inference.running import RunHandle

_SECONDS = 20.0  # that one page may take
_PAGES_AT_ONCE = 24  # that are looked through before a search can be cancelled


class PageRenderer:
    """Renders and reads pages one after another in a child process, which is replaced when it dies or stands
    still.

    Use it from one thread. The process ends with this object, and with the program.
    """

    def __init__(self) -> None:
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None

    def warm(self) -> None:
        """Start the process now, so that the first page need not wait for it."""
        self._start()

    def render(self, request: RenderPageRequest, handle: RunHandle) -> PageRendered:
        """The picture that a :class:`RenderPageRequest` asks for.

        Raises:
            PasswordNeeded: The file is protected, and the password is missing or wrong.
            UnreadableFile: The page can't be rendered.
            InvalidRequest: There is no such page.
        """
        answer = self._ask(request, handle)
        assert isinstance(answer, Picture)
        return PageRendered(
            run_id=request.run_id,
            file=request.file,
            page=request.page,
            pages=answer.pages,
            width=answer.width,
            height=answer.height,
            points=answer.points,
            transform=answer.transform,
            rgb=answer.rgb,
        )

    def text(self, request: PageTextRequest, handle: RunHandle) -> PageText:
        """The characters that a :class:`PageTextRequest` asks for; raises what :meth:`render` does."""
        answer = self._ask(request, handle)
        assert isinstance(answer, Characters)
        boxes = np.ascontiguousarray(answer.boxes, dtype="<f4").tobytes()
        return PageText(
            run_id=request.run_id, file=request.file, page=request.page, text=answer.text, boxes=boxes
        )

    def find(self, request: FindTextRequest, handle: RunHandle) -> Iterator[TextFound]:
        """The places that a :class:`FindTextRequest` asks for; raises what :meth:`render` does."""
        found = self._find(request, (request.first, request.first), handle)
        pages, done = found.pages, 0
        ahead = [*_spans(request.first + 1, pages), *_spans(1, request.first - 1)]
        for first, last in ((request.first, request.first), *ahead):
            if done:
                found = self._find(request, (first, last), handle)
            done += last - first + 1
            for page, places in found.places or ((first, ()),):
                yield TextFound(
                    run_id=request.run_id,
                    file=request.file,
                    text=request.text,
                    page=page,
                    places=places,
                    pages_done=done,
                    pages=pages,
                )

    def _find(self, request: FindTextRequest, span: tuple[int, int], handle: RunHandle) -> Found:
        handle.check()
        first, last = span
        question = Find(
            file=request.file, text=request.text, password=request.password, first=first, last=last
        )
        answer = self._ask(question, handle)
        assert isinstance(answer, Found)
        return answer

    def _ask(self, question: Question, handle: RunHandle) -> Answer:
        pipe = self._start()
        try:
            pipe.send(question)
            answer = self._receive(pipe, handle)
        except (EOFError, OSError) as error:
            self.close()
            raise UnreadableFile("Showing the page ended the process that draws it.") from error
        except BaseException:
            self.close()
            raise
        if isinstance(answer, Refused):
            raise _refusal(answer)
        return answer

    def close(self) -> None:
        """End the process now."""
        process, pipe, self._process, self._pipe = self._process, self._pipe, None, None
        if pipe is not None:
            pipe.close()
        if process is not None:
            _end(process)

    def _start(self) -> Connection:
        if self._process is not None and self._pipe is not None and self._process.is_alive():
            return self._pipe
        self.close()
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs,), daemon=True)
        self._process.start()
        weakref.finalize(self, _end, self._process)
        theirs.close()
        return self._pipe

    def _receive(self, pipe: Connection, handle: RunHandle) -> Answer:
        """Wait for the answer; a cancelled page is let go with its process only if it takes long."""
        waited = 0.0
        while not pipe.poll(0.05):
            waited += 0.05
            if waited > 1.0:
                handle.check()
            if waited > _SECONDS:
                raise UnreadableFile(f"Drawing the page took more than {_SECONDS:.0f} seconds.")
        answer: Answer = pipe.recv()
        return answer


def _spans(first: int, last: int) -> list[tuple[int, int]]:
    """The pages from ``first`` to ``last`` in stretches that are looked through at once."""
    return [(at, min(at + _PAGES_AT_ONCE - 1, last)) for at in range(first, last + 1, _PAGES_AT_ONCE)]


def _end(process: SpawnProcess) -> None:
    with contextlib.suppress(ValueError):  # closed before
        process.kill()
        process.join()
        process.close()


def _refusal(refused: Refused) -> Exception:
    if refused.reason == "password":
        return PasswordNeeded(refused.message)
    if refused.reason == "page":
        return InvalidRequest(refused.message)
    return UnreadableFile(refused.message)


# --- in the child process


def serve(pipe: Connection) -> None:
    """Answer questions about pages until the pipe closes."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    from inference.documents.page_drawing import OpenFiles, answer

    files = OpenFiles()
    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            pipe.send(answer(files, pipe.recv()))
