"""Pages as pictures, rendered by PDFium in a process of its own, for views that mark passages on them."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
import weakref
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from inference.documents.reader_process import Refused, end_with_parent
from inference.errors import InvalidRequest, PasswordNeeded, UnreadableFile
from inference.events import PageRendered, RenderPageRequest
from inference.running import RunHandle

_SECONDS = 20.0  # that one page may take
_OPEN_FILES = 4  # that the process keeps open
_UNIT = 100_000  # PDFium tells places in whole pixels: of a page this wide and high they are exact enough
_MOST_PIXELS = 40_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    """One rendered page, as the process gives it."""

    pages: int
    width: int
    height: int
    points: tuple[float, float]
    transform: tuple[float, float, float, float, float, float]
    rgb: bytes


class PageRenderer:
    """Renders pages one after another in a child process, which is replaced when it dies or stands still.

    Use it from one thread. The process ends with this object, and with the program.
    """

    def __init__(self) -> None:
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None

    def render(self, request: RenderPageRequest, handle: RunHandle) -> PageRendered:
        """The picture that a :class:`RenderPageRequest` asks for.

        Raises:
            PasswordNeeded: The file is protected, and the password is missing or wrong.
            UnreadableFile: The page can't be rendered.
            InvalidRequest: There is no such page.
        """
        pipe = self._start()
        try:
            pipe.send(request)
            answer = self._receive(pipe, handle)
        except (EOFError, OSError) as error:
            self.close()
            raise UnreadableFile("Showing the page ended the process that draws it.") from error
        except BaseException:
            self.close()
            raise
        if isinstance(answer, Refused):
            raise _refusal(answer)
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

    def _receive(self, pipe: Connection, handle: RunHandle) -> _Picture | Refused:
        """Wait for the answer; a cancelled page is let go with its process only if it takes long."""
        waited = 0.0
        while not pipe.poll(0.05):
            waited += 0.05
            if waited > 1.0:
                handle.check()
            if waited > _SECONDS:
                raise UnreadableFile(f"Drawing the page took more than {_SECONDS:.0f} seconds.")
        answer: _Picture | Refused = pipe.recv()
        return answer


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
    """Render pages until the pipe closes: takes :class:`RenderPageRequest`, gives pictures or refusals."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    files = _OpenFiles()
    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            request: RenderPageRequest = pipe.recv()
            pipe.send(_answer(files, request))


def _answer(files: _OpenFiles, request: RenderPageRequest) -> _Picture | Refused:
    import pypdfium2 as pdfium

    from inference.documents.readers.document import UnreadableDocument

    try:
        return files.draw(request)
    except UnreadableDocument as refusal:
        return Refused(reason=refusal.reason, message=refusal.message)
    except FileNotFoundError:
        return Refused(reason="missing", message="The file is no longer there.")
    except PermissionError:
        return Refused(reason="forbidden", message="You may not read this file.")
    except (pdfium.PdfiumError, MemoryError, OSError) as error:
        return Refused(reason="damaged", message=f"The page can't be drawn ({error}).")


class _OpenFiles:
    """PDF files that were asked for lately; one that has changed on disk is opened again."""

    def __init__(self) -> None:
        self._files: dict[tuple[str, str | None, int], object] = {}

    def draw(self, request: RenderPageRequest) -> _Picture:
        """Render a page."""
        import pypdfium2 as pdfium

        from inference.documents.readers.document import UnreadableDocument

        pdf = self._open(request.file, request.password)
        assert isinstance(pdf, pdfium.PdfDocument)
        if not 1 <= request.page <= len(pdf):
            raise UnreadableDocument("page", f"The document has no page {request.page}.")
        page = pdf[request.page - 1]
        try:
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
            return _Picture(
                pages=len(pdf),
                width=bitmap.width,
                height=bitmap.height,
                points=(width, height),
                transform=_transform(page),
                rgb=rgb,
            )
        finally:
            page.close()

    def _open(self, file: str, password: str | None) -> object:
        from pathlib import Path

        from inference.documents.readers.pdf import open_pdf_file

        path = Path(file)
        key = (file, password, path.stat().st_mtime_ns)
        pdf = self._files.pop(key, None)
        if pdf is None:
            pdf = open_pdf_file(path, password)
        self._files[key] = pdf
        while len(self._files) > _OPEN_FILES:
            oldest = next(iter(self._files))
            self._files.pop(oldest).close()  # type: ignore[attr-defined]
        return pdf


def _transform(page: object) -> tuple[float, float, float, float, float, float]:
    """(a, b, c, d, e, f): the point (x, y) of user space stands at (ax + cy + e, bx + dy + f) of the
    picture, whose width and height are 1; crop box and rotation included.
    """
    import ctypes

    import pypdfium2.raw as pdfium_c

    def place(x: float, y: float) -> tuple[float, float]:
        left, top = ctypes.c_int(), ctypes.c_int()
        pdfium_c.FPDF_PageToDevice(page, 0, 0, _UNIT, _UNIT, 0, x, y, left, top)
        return left.value / _UNIT, top.value / _UNIT

    reach = 1000.0
    (e, f), (ax, bx), (cy, dy) = place(0, 0), place(reach, 0), place(0, reach)
    return (ax - e) / reach, (bx - f) / reach, (cy - e) / reach, (dy - f) / reach, e, f
