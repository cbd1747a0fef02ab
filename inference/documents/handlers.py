"""What the session does with requests about documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from inference.documents.libraries import Libraries
from inference.events import AskRequest, Event, IndexRequest, LibraryRequest, RenderPageRequest, SearchRequest
from inference.running import RunHandle

if TYPE_CHECKING:
    from inference.session import Session


def open_library(session: Session, request: LibraryRequest, handle: RunHandle) -> Iterator[Event]:
    """What is in a library -> LibraryOpened."""
    from inference.documents.indexing import library_opened

    yield library_opened(_libraries(session).open(request.library), request.run_id)


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
    from inference.documents.rendering import PageRenderer

    if session.pages is None:
        session.pages = PageRenderer()
    handle.check()
    yield session.pages.render(request, handle)


def ask(session: Session, request: AskRequest, handle: RunHandle) -> Iterator[Event]:
    """Answer a question from a library -> SourcesChosen, Started, Token ..., Answer."""
    from inference.documents.answering import ask as run

    yield from run(session, _libraries(session).open(request.library), request, handle)


def _libraries(session: Session) -> Libraries:
    if session.libraries is None:
        session.libraries = Libraries()
    return session.libraries
