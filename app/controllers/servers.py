"""Models on servers: entered, changed, forgotten. Nothing connects before the user asks for it."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal, Slot

from app.controllers.models import as_fault
from app.desk import Desk
from app.keys import KeyStore
from inference.errors import InferenceError, InvalidRequest
from inference.events import (
    ENDINGS,
    Event,
    Failed,
    ModelEntry,
    Secret,
    Server,
    ServerModels,
    ServerModelsRequest,
)
from inference.remote import address
from inference.running import RunHandle, new_run_id
from views.models.faults import Fault
from views.models.model_choice import LoadChoice, ModelChoiceModel
from views.models.servers import ServersModel
from views.models.settings import SettingsModel


class ServersController(QObject):
    """Keeps the servers of the settings in the list of models.

    Args:
        desk: Where a server is asked for its models; never behind a reply.
        models: The list of models.
        model: What the sheet shows.
        settings: Holds the servers.
        keys: Holds their keys.
    """

    #: The sheet is to be shown.
    wanted = Signal()
    #: A server was kept or removed: the sheet may close.
    settled = Signal()

    def __init__(
        self,
        *,
        desk: Desk,
        models: ModelChoiceModel,
        model: ServersModel,
        settings: SettingsModel,
        keys: KeyStore,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._desk = desk
        self._models = models
        self._model = model
        self._settings = settings
        self._keys = keys
        self._looking: RunHandle | None = None
        model.key_file = str(keys.path)
        self._show_entries()

    def server_of(self, source: str) -> tuple[Server | None, Secret]:
        """The server and the key of a model in the list; of a model that is none, nothing."""
        server = self._server(source)
        if server is None:
            return None, Secret("")
        return server, self._keys.get(address.of(server).url)

    # --- entering

    @Slot()
    def add(self) -> None:
        """Enter a new server."""
        self.stop_looking()
        self._model.open(None, has_key=False)
        self.wanted.emit()

    @Slot(str)
    def edit(self, source: str) -> None:
        """Change one."""
        server = self._server(source)
        if server is not None:
            self.stop_looking()
            self._model.open(server, has_key=bool(self._keys.get(address.of(server).url)))
            self.wanted.emit()

    @Slot(str)
    def describe(self, url: str) -> None:
        """Say where prompts would go."""
        words, warns = where(url)
        self._model.set_notice(words, warns=warns)

    @Slot(object, object)
    def look(self, server: Server, key: str | None) -> None:
        """Ask a server for its models."""
        self.stop_looking()
        try:
            url = address.base_url(server.url)
        except InferenceError as error:
            self._model.refuse(_fault(error))
            return
        secret = self._keys.get(url) if key is None else Secret(key)
        self._model.look()
        request = ServerModelsRequest(run_id=new_run_id(), server=server, key=secret)
        self._looking = self._desk.submit(request, self._take)

    @Slot()
    def stop_looking(self) -> None:
        """Ask no longer."""
        self._desk.drop(self._looking)
        self._looking = None
        if self._model.looking:
            self._model.refuse(None)

    def _take(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, ServerModels):
                self._model.show_found(event)
            elif isinstance(event, Failed):
                self._model.refuse(as_fault(event))
        if isinstance(events[-1], ENDINGS):
            self._looking = None

    # --- keeping

    @Slot(object, object)
    def save(self, server: Server, key: str | None) -> None:
        """Keep what was entered, in place of the server that was changed."""
        try:
            place = address.of(server)
            if not place.model:
                raise InvalidRequest("No model was chosen.", hint="Look for its models.")
        except InferenceError as error:
            self._model.refuse(_fault(error))
            return
        self.stop_looking()
        if key is not None:
            self._keys.keep(place.url, key)
        before = self._model.server
        kept = [each for each in self._servers if each != before]
        kept = [each for each in kept if address.of(each) != place]
        self._settings.update(servers=(*kept, server))
        self._forget_unused_key(before)
        self._show_entries()
        self._models.set_choice(LoadChoice(model=place.source))
        self.settled.emit()

    @Slot()
    def remove(self) -> None:
        """Forget the server that is being changed, and its key."""
        server = self._model.server
        if server is None:
            return
        self.stop_looking()
        left = tuple(each for each in self._servers if each != server)
        self._settings.update(servers=left)
        self._forget_unused_key(server)
        choice = self._models.choice
        if choice is not None and choice.model == address.of(server).source:
            self._models.set_choice(None)
        self._show_entries()
        self.settled.emit()

    def _forget_unused_key(self, server: Server | None) -> None:
        """The key of a server that no model is on any more goes."""
        if server is None:
            return
        url = address.of(server).url
        if url not in {address.of(each).url for each in self._servers}:
            self._keys.keep(url, "")

    def _server(self, source: str) -> Server | None:
        if not address.is_remote(source):
            return None
        return next((each for each in self._servers if address.of(each).source == source), None)

    @property
    def _servers(self) -> tuple[Server, ...]:
        """Those of the settings whose address can be used: the file may have been written by hand."""
        return tuple(each for each in self._settings.settings.servers if _usable(each))

    def _show_entries(self) -> None:
        others = tuple(entry for entry in self._models.entries if entry.origin != "server")
        self._models.set_entries((*others, *map(_entry, self._servers)))


def _entry(server: Server) -> ModelEntry:
    place = address.of(server)
    return ModelEntry(source=place.source, name=server.name or server.model, origin="server", size=0)


def _usable(server: Server) -> bool:
    try:
        return bool(address.of(server).model)
    except InferenceError:
        return False


def _fault(error: InferenceError) -> Fault:
    return Fault(kind=error.kind, message=error.message, hint=error.hint, details=error.details)


def where(url: str) -> tuple[str, bool]:
    """Where prompts to a server go, in words, and whether they leave this machine."""
    try:
        place = address.Address(url=address.base_url(url), model="")
    except InferenceError:
        return "", False
    if place.this_machine:
        return f"Prompts go to {place.host}: a server on this machine.", False
    how = "" if place.url.startswith("https:") else ", unencrypted (http)"
    return (
        f"Prompts, and passages of documents that are asked about, leave this machine{how}: they go to "
        f"{place.host}.",
        True,
    )
