"""Downloads from the hub: pause, resume, cancel."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import QObject, Signal, Slot

from app.desk import Desk
from app.faults import FaultReporter
from inference.events import ENDINGS, Cancelled, Downloaded, DownloadRequest, Event, Failed, Progress
from inference.running import RunHandle, new_run_id
from views.models.model_choice import Download, ModelChoiceModel


class DownloadsController(QObject):
    """Runs downloads one after the other; what has arrived of a paused one is kept by the hub's cache."""

    #: A model has arrived: hub id.
    arrived = Signal(str)
    told = Signal(str)

    def __init__(
        self, *, desk: Desk, model: ModelChoiceModel, faults: FaultReporter, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._desk = desk
        self._model = model
        self._faults = faults
        self._handles: dict[str, RunHandle] = {}

    @Slot(str)
    def start(self, repo: str) -> None:
        """Download a model by its hub id, or go on with it."""
        repo = repo.strip()
        if not repo or repo in self._handles:
            return
        before = self._model.download(repo) or Download(repo=repo)
        self._model.set_download(replace(before, state="running", message=""))
        request = DownloadRequest(run_id=new_run_id(), repo=repo)
        self._handles[repo] = self._desk.submit(request, lambda events: self._take(repo, events))

    @Slot(str)
    def pause(self, repo: str) -> None:
        """Stop a download for now."""
        if repo in self._handles:
            self._handles[repo].cancel()

    @Slot(str)
    def cancel(self, repo: str) -> None:
        """Stop a download and take it off the list."""
        handle = self._handles.pop(repo, None)
        self._desk.drop(handle)
        self._model.remove_download(repo)

    def _take(self, repo: str, events: tuple[Event, ...]) -> None:
        download = self._model.download(repo)
        if download is None:
            return
        for event in events:
            download = self._after(download, event)
        if isinstance(events[-1], ENDINGS):
            self._handles.pop(repo, None)
        self._model.set_download(download)
        if download.state == "done":
            self.arrived.emit(repo)
            self.told.emit(f"{repo} is downloaded.")

    def _after(self, download: Download, event: Event) -> Download:
        if isinstance(event, Progress):
            return replace(download, done=event.done, total=event.total, unit=event.unit)
        if isinstance(event, Downloaded):
            return replace(download, state="done")
        if isinstance(event, Cancelled):
            return replace(download, state="paused")
        if isinstance(event, Failed):
            self._faults.report_failed(event)
            return replace(download, state="failed", message=event.message)
        return download
