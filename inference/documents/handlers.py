"""What the session does with requests about documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from inference.documents.libraries import Libraries
from inference.events import (
    AskRequest,
    CloseLibraryRequest,
    DeleteLibraryRequest,
    Event,
    FindTextRequest,
    IndexRequest,
    LibraryRequest,
    PageTextRequest,
    RenderPageRequest,
    SearchRequest,
    WarmPagesRequest,
)
from inference.running import RunHandle

if TYPE_CHECKING:
    from inference.documents.rendering import PageRenderer
    from inference.session import Session


def open_library(session: Session, request: LibraryRequest, handle: RunHandle) -> Iterator[Event]:
    """What is in a library -> LibraryOpened."""
    from inference.documents.indexing import library_opened

    library = _libraries(session).open(request.library, embedder=request.embedder, store=request.store)
    yield library_opened(library, request.run_id)
    library.warm()


def close_library(session: Session, request: CloseLibraryRequest, handle: RunHandle) -> Iterator[Event]:
    """Let go of a library's files."""
    _libraries(session).forget(request.library)
    yield from ()


def delete_library(session: Session, request: DeleteLibraryRequest, handle: RunHandle) -> Iterator[Event]:
    """Delete a library."""
    _libraries(session).delete(request.library)
    yield from ()


def index(session: Session, request: IndexRequest, handle: RunHandle) -> Iterator[Event]:
    """Bring a library up to date -> IndexProgress, DocumentIndexed ..., LibraryOpened."""
    from inference.documents.indexing import index as run

    yield from run(_libraries(session).open(request.library, embedder=request.embedder), request, handle)


def search(session: Session, request: SearchRequest, handle: RunHandle) -> Iterator[Event]:
    """Find passages -> Hits."""
    from inference.documents.retrieval import search as run

    yield run(_libraries(session).open(request.library), request)


def render_page(session: Session, request: RenderPageRequest, handle: RunHandle) -> Iterator[Event]:
    """A page of a PDF as a picture -> PageRendered."""
    handle.check()
    yield _pages(session).render(request, handle)


def warm_pages(session: Session, request: WarmPagesRequest, handle: RunHandle) -> Iterator[Event]:
    """Start the process that draws pages."""
    _pages(session).warm()
    yield from ()


def page_text(session: Session, request: PageTextRequest, handle: RunHandle) -> Iterator[Event]:
    """The characters of a page -> PageText."""
    handle.check()
    yield _pages(session).text(request, handle)


def find_text(session: Session, request: FindTextRequest, handle: RunHandle) -> Iterator[Event]:
    """Where words stand in a PDF -> TextFound ..."""
    yield from _pages(session).find(request, handle)


def ask(session: Session, request: AskRequest, handle: RunHandle) -> Iterator[Event]:
    """Answer a question from a library -> SourcesChosen, Started, Token ..., Answer."""
    from inference.documents.answering import ask as run

    yield from run(session, _libraries(session).open(request.library), request, handle)


def _libraries(session: Session) -> Libraries:
    if session.libraries is None:
        session.libraries = Libraries()
    return session.libraries


def _pages(session: Session) -> PageRenderer:
    from inference.documents.rendering import PageRenderer

    if session.pages is None:
        session.pages = PageRenderer()
    return session.pages
