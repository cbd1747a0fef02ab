"""The engine as one object: requests in, events out. Importing it loads no torch; the first request does.

::

    session = Session()
    handle = RunHandle(new_run_id())
    for event in session.run(LoadRequest(run_id=handle.run_id, model="builtin"), handle):
        print(event)
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from inference.errors import (
    InferenceError,
    InternalError,
    NoModelLoaded,
    NotAvailable,
    OutOfMemory,
    RunCancelled,
)
from inference.events import (
    ENDINGS,
    AskRequest,
    AttachAdapterRequest,
    AttentionRequest,
    BoundaryRequest,
    Cancelled,
    ChatTemplateRequest,
    CloseLibraryRequest,
    CompareAdaptersRequest,
    CompareMethodsRequest,
    DeleteLibraryRequest,
    DetachAdapterRequest,
    DownloadRequest,
    Event,
    ExpertsRequest,
    ExplainRequest,
    Failed,
    FindTextRequest,
    FindTokensRequest,
    Finished,
    GenerateRequest,
    IndexRequest,
    InspectAdapterRequest,
    InspectRequest,
    LensRequest,
    LibraryRequest,
    ListMethodsRequest,
    ListModelsRequest,
    LoadDraftRequest,
    LoadRequest,
    PageTextRequest,
    RelatedTokensRequest,
    RenderPageRequest,
    RenderRequest,
    Request,
    ScoreRequest,
    SearchRequest,
    ServerModelsRequest,
    SetAdaptersRequest,
    SetExpertsRequest,
    UnloadRequest,
    WarmPagesRequest,
)
from inference.running import RunHandle

if TYPE_CHECKING:
    from inference.documents.libraries import Libraries
    from inference.documents.rendering import PageRenderer
    from inference.engine import Engine
    from inference.models.loaded_model import LoadedModel
    from inference.remote.engine import RemoteEngine

#: ``handler(session, request, handle)`` yields the answer; it may yield the run's end itself, and if it does
#: not the session adds ``Finished("done")``. Errors are raised, never yielded.
Handler = Callable[["Session", Any, RunHandle], Iterator[Event]]

#: Where each kind of request is handled, "module:function", imported when the first one comes.
HANDLERS: dict[type[Request], str] = {
    LoadRequest: "inference.handlers:load",
    LoadDraftRequest: "inference.handlers:load_draft",
    UnloadRequest: "inference.handlers:unload",
    InspectRequest: "inference.handlers:inspect",
    InspectAdapterRequest: "inference.adapters.handlers:inspect",
    AttachAdapterRequest: "inference.adapters.handlers:attach",
    DetachAdapterRequest: "inference.adapters.handlers:detach",
    SetAdaptersRequest: "inference.adapters.handlers:set_active",
    CompareAdaptersRequest: "inference.adapters.comparing:compare",
    ListModelsRequest: "inference.handlers:list_models",
    ServerModelsRequest: "inference.remote.handlers:server_models",
    DownloadRequest: "inference.handlers:download",
    RenderRequest: "inference.handlers:render",
    GenerateRequest: "inference.handlers:generate",
    ScoreRequest: "inference.handlers:score",
    FindTokensRequest: "inference.inspection.vocabulary:find",
    ListMethodsRequest: "inference.explaining:list_methods",
    ExplainRequest: "inference.explaining:explain",
    CompareMethodsRequest: "inference.comparing:compare",
    RelatedTokensRequest: "inference.related_tokens:related",
    LensRequest: "inference.inspection.lens:lens",
    ExpertsRequest: "inference.inspection.experts:route",
    SetExpertsRequest: "inference.inspection.experts:set_off",
    ChatTemplateRequest: "inference.templates:chat_template",
    AttentionRequest: "inference.inspection.attention_maps:attention",
    BoundaryRequest: "inference.generation.boundary:boundary",
    LibraryRequest: "inference.documents.handlers:open_library",
    CloseLibraryRequest: "inference.documents.handlers:close_library",
    DeleteLibraryRequest: "inference.documents.handlers:delete_library",
    IndexRequest: "inference.documents.handlers:index",
    SearchRequest: "inference.documents.handlers:search",
    RenderPageRequest: "inference.documents.handlers:render_page",
    WarmPagesRequest: "inference.documents.handlers:warm_pages",
    PageTextRequest: "inference.documents.handlers:page_text",
    FindTextRequest: "inference.documents.handlers:find_text",
    AskRequest: "inference.documents.handlers:ask",
}


class Session:
    """Holds at most one model and does one run at a time; it belongs to the thread that drains :meth:`run`.

    Attributes:
        engine: The loaded model at work, or None.
        draft: A small model of the same vocabulary that guesses ahead, or None.
        remote: The model on a server that is used in place of a loaded one, or None.
        handlers: Who answers which request; entries may be added.
        libraries: The open libraries of documents; made by the first request that needs them. Sessions of
            several threads may share one, so that the embedder is in memory once.
        pages: Draws pages of documents; made by the first request that needs it.
    """

    def __init__(self) -> None:
        self.engine: Engine | None = None
        self.draft: Engine | None = None
        self.remote: RemoteEngine | None = None
        self.libraries: Libraries | None = None
        self.pages: PageRenderer | None = None
        self.handlers: dict[type[Request], str | Handler] = dict(HANDLERS)

    def run(self, request: Request, handle: RunHandle) -> Iterator[Event]:
        """Answer a request: events, the last of which is the only Finished, Cancelled or Failed.

        The session stays usable whatever happens; out of memory frees the KV cache and keeps the model.
        """
        try:
            for event in self._handler(request)(self, request, handle):
                yield event
                if isinstance(event, ENDINGS):
                    return
            yield Finished(run_id=request.run_id, reason="done")
            return
        except RunCancelled:
            yield Cancelled(run_id=request.run_id)
            return
        except Exception as error:
            failed = _failure(request.run_id, error)
        # Outside of the except block: the traceback is gone, and with it the tensors that its frames held.
        if failed.kind == OutOfMemory.kind:
            self._free_cache()
        yield failed

    def require_engine(self) -> Engine:
        """The engine of the loaded model.

        Raises:
            NoModelLoaded: There is none.
            NotAvailable: It is on a server, which gives its text and at most its probabilities.
        """
        if self.remote is not None:
            raise NotAvailable(
                "This works inside the model, which is on a server.",
                hint="Choose a model on this machine for that.",
            )
        if self.engine is None:
            raise NoModelLoaded("No model is loaded.")
        return self.engine

    @property
    def loaded(self) -> LoadedModel | None:
        """The loaded model, or None."""
        return None if self.engine is None else self.engine.loaded

    def use(self, loaded: LoadedModel) -> None:
        """Work on this model from now on."""
        from inference.engine import Engine

        self.engine = Engine(loaded)

    def close(self) -> None:
        """Let go of the model."""
        self.drop_draft()
        if self.engine is not None:
            self.engine.close()
        self.engine = self.remote = None

    def drop_draft(self) -> None:
        """Let go of the draft model."""
        if self.draft is not None:
            self.draft.close()
        self.draft = None

    def _handler(self, request: Request) -> Handler:
        if self.remote is not None:
            from inference.remote.handlers import handler_for

            if (own := handler_for(request)) is not None:
                return own
        found = self.handlers.get(type(request))
        if found is None:
            raise InternalError(f"Nothing handles a {type(request).__name__}.")
        if isinstance(found, str):
            module, _, name = found.partition(":")
            found = self.handlers[type(request)] = getattr(importlib.import_module(module), name)
        return found

    def _free_cache(self) -> None:
        from inference.models.loaded_model import release_memory

        if self.engine is not None:
            self.engine.free_cache()
        if self.draft is not None:
            self.draft.free_cache()
        release_memory()


def _failure(run_id: int, error: Exception) -> Failed:
    """The event for an exception."""
    if not isinstance(error, InferenceError):
        details = "".join(traceback.format_exception(error))
        if is_out_of_memory(error):
            error = OutOfMemory("There is not enough memory for this run.", details=details)
        else:
            error = InternalError(f"Something went wrong inside the app: {error}", details=details)
    return Failed(
        run_id=run_id, kind=error.kind, message=error.message, hint=error.hint, details=error.details
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that the machine or the GPU has no memory left; torch on a CPU raises a plain
    RuntimeError for it.
    """
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    signs = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")
    return isinstance(error, (RuntimeError, OSError)) and any(sign in text for sign in signs)
