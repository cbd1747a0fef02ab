"""The composition root: the only module where all parts meet."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from PySide6.QtCore import QEvent, QObject, QTimer, Signal
from PySide6.QtWidgets import QApplication

from app.collecting import Collector
from app.controllers.adapters import AdaptersController
from app.controllers.chat import ChatController
from app.controllers.conversations import ConversationsController
from app.controllers.crashes import CrashesController
from app.controllers.downloads import DownloadsController
from app.controllers.drafts import DraftsController
from app.controllers.driver import DriverController
from app.controllers.examples import ExamplesController
from app.controllers.explaining import ExplainingController
from app.controllers.generation import Generation
from app.controllers.healing import HealingController
from app.controllers.looking import LookingController
from app.controllers.models import ModelsController
from app.controllers.monitor import MonitorController
from app.controllers.newer import NewerController
from app.controllers.raw import RawController
from app.controllers.remembering import RememberingController
from app.controllers.servers import ServersController
from app.controllers.side_by_side import SideBySideController
from app.controllers.steering import SteeringController
from app.controllers.templates import TemplateController
from app.controllers.tracks import TracksController
from app.controllers.two_prompts import TwoPromptsController
from app.controllers.unsent import UnsentController
from app.controllers.vocabulary import VocabularyController
from app.crashes import SessionMark
from app.desk import Desk
from app.documents import Documents
from app.engines import Beside, make_documents, make_engine, make_librarian
from app.faults import FaultReporter
from app.history import History
from app.instance import Instance
from app.keys import KeyStore
from app.newer import is_newer
from app.profile import Profile, hub_cache
from app.settings import Remembered, SettingsFile
from app.shell import Shell
from app.view_models import ViewModels
from app.warming import Warming
from app.window import Widgets, make_widgets
from app.wiring import connect
from app.worker import SessionLike, Worker
from inference.machine import gpu_problem
from views.models.faults import FaultsModel
from views.models.model_choice import LoadChoice
from views.theme import Theme

_CLOSE_SECONDS = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the app is started.

    Attributes:
        profile: Where it keeps its things.
        paths: Models and documents to open.
        safe_mode: Default settings, which are not written; neither the last layout nor the last model.
        make_engine: Makes the session that loads and generates.
        make_librarian: Makes the sessions for catalogs and downloads.
        make_documents: Makes the sessions that read and search documents.
    """

    profile: Profile
    paths: tuple[str, ...] = ()
    safe_mode: bool = False
    make_engine: Callable[[], SessionLike] = field(default=make_engine)
    make_librarian: Callable[[], SessionLike] = field(default=make_librarian)
    make_documents: Callable[[], SessionLike] = field(default=make_documents)


class App(QObject):
    """The running app. Making it builds the window; :meth:`show` paints it; the slow work begins after
    that.
    """

    #: The window was painted for the first time.
    painted = Signal()
    #: Everything is closed and the process may end; whether every thread has ended.
    closed = Signal(bool)

    def __init__(self, qt: QApplication, options: Options) -> None:
        super().__init__()
        self.options = options
        self.began = time.perf_counter()
        faults = FaultsModel()
        self.faults = FaultReporter(faults, parent=self)
        self._lock, second = options.profile.claim()
        self.instance = Instance(options.profile, parent=self)
        if not second:
            self.instance.listen()
        self.mark = SessionMark(options.profile.logs)
        self._crash = None if second else self.mark.begin()
        newer = is_newer(options.profile)
        read_only = second or newer
        # What is read of a newer profile is not added to.
        self._apart = tempfile.TemporaryDirectory(ignore_cleanup_errors=True) if newer else None
        self._keys = KeyStore(options.profile.keys_file, self.faults.report, read_only=second)
        self._file = SettingsFile(
            options.profile.settings_file, self.faults.report, read_only=read_only or options.safe_mode
        )
        remembered = Remembered() if options.safe_mode else self._file.load()
        self.models = ViewModels.make(remembered, faults)
        self.models.settings.update(
            data_folder=str(options.profile.data),
            log_file=str(options.profile.log_file),
            model_cache=str(hub_cache()),
        )
        self.theme = Theme(qt, remembered.page.theme)
        self.widgets: Widgets = make_widgets(self.models, self.theme)
        self.history = History(options.profile.history_file, self.faults.report, read_only=read_only)
        self._make_workers()
        self._make_controllers()
        self.documents = Documents(
            engine=self.engine_desk,
            make_session=options.make_documents,
            root=(Path(self._apart.name) if self._apart else options.profile.data) / "libraries",
            models=self.models,
            faults=self.faults,
            name=remembered.library,
            parent=self,
        )
        self.remembering = RememberingController(
            file=self._file,
            remembered=remembered,
            settings=self.models.settings,
            controls=self.models.controls,
            layout=self.widgets.window.save_layout,
            parent=self,
        )
        self.unsent = UnsentController(
            composer=self.widgets.chat.composer, remembering=self.remembering, parent=self
        )
        self.templates = TemplateController(
            desk=self.engine_desk,
            models=self.models.models,
            model=self.models.template,
            kept=self.remembering.template_of,
            keep=self.remembering.keep_template,
            parent=self,
        )
        self.crashes = CrashesController(
            report=self._crash,
            bar=self.widgets.crash_bar,
            sheet=self.widgets.crash,
            faults=self.faults.report,
            parent=self,
        )
        self.newer = NewerController(
            profile=options.profile,
            remembered=remembered,
            history=self.history,
            bar=self.widgets.newer_bar,
            faults=self.faults.report,
            parent=self,
        )
        self.driver = DriverController(faults=self.faults.report, find_problem=gpu_problem, parent=self)
        self.collector = Collector(self)
        self.warming = Warming(self)
        self.shell = Shell(self)
        self.examples = ExamplesController(
            chat=self.chat, generation=self.generation, models=self.models, parent=self
        )
        connect(self)
        self._second, self._newer = second, newer
        self._painted = False
        self._closed = False

    def show(self) -> None:
        """Show the window; models are loaded once it is painted."""
        window = self.widgets.window
        if not self.options.safe_mode:
            window.restore_layout(self.remembering.remembered.layout)
        window.hold_close(True)
        window.close_requested.connect(self.close)
        self.widgets.chat.installEventFilter(self)
        window.show()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Paint and not self._painted:
            self._painted = True
            watched.removeEventFilter(self)
            QTimer.singleShot(0, self._after_paint)
        return super().eventFilter(watched, event)

    def close(self) -> None:
        """Save everything, end the threads and let the window go; takes at most two seconds."""
        if self._closed:
            return
        self._closed = True
        self.instance.close()
        window = self.widgets.window
        self.remembering.note_conversation(self.chat.conversation)
        self.remembering.note_library(self.models.library.current)
        self.remembering.save()
        self.remembering.stop()
        window.hide()
        self.chat.keep_controls()
        self.generation.save()
        workers = (self.engine, self.beside, self.librarian, self.downloader, *self.documents.workers)
        for worker in workers:
            worker.cancel_all()
        deadline = time.monotonic() + _CLOSE_SECONDS
        ended = [worker.shut_down(max(0.0, deadline - time.monotonic())) for worker in workers]
        ended.append(self.monitor.close())
        self.tracks.close()
        self.explaining.close()
        self.steering.close()
        self.healing.close()
        self.collector.stop()
        self.warming.stop()
        self.history.close()
        if self._apart is not None:
            self._apart.cleanup()
        self.mark.end()
        self._lock.unlock()
        window.hold_close(False)
        self.closed.emit(all(ended))

    def _make_workers(self) -> None:
        beside = Beside(self.options.make_engine)
        self.engine = Worker(beside.make_engine, name="engine", parent=self)
        self.beside = Worker(lambda: beside, name="beside", parent=self)
        self.librarian = Worker(self.options.make_librarian, name="librarian", parent=self)
        self.downloader = Worker(self.options.make_librarian, name="downloads", parent=self)
        self.engine_desk = Desk(self.engine, parent=self)
        self.beside_desk = Desk(self.beside, parent=self)
        self.librarian_desk = Desk(self.librarian, parent=self)
        self.download_desk = Desk(self.downloader, parent=self)

    def _make_controllers(self) -> None:
        models, history, faults = self.models, self.history, self.faults
        self.generation = Generation(
            desk=self.engine_desk,
            history=history,
            transcript=models.transcript,
            controls=models.controls,
            settings=models.settings,
            models=models.models,
            runs=models.runs,
            adapters=models.adapters,
            experts=models.experts,
            faults=faults,
            parent=self,
        )
        self.chat = ChatController(
            history=history,
            transcript=models.transcript,
            generation=self.generation,
            controls=models.controls,
            models=models.models,
            parent=self,
        )
        self.conversations = ConversationsController(
            history=history,
            model=models.conversations,
            chat=self.chat,
            generation=self.generation,
            faults=faults,
            parent=self,
        )
        self.tracks = TracksController(
            desk=self.engine_desk,
            history=history,
            transcript=models.transcript,
            generation=self.generation,
            models=models.models,
            settings=models.settings,
            faults=faults,
            parent=self,
        )
        self.explaining = ExplainingController(
            desk=self.engine_desk,
            history=history,
            transcript=models.transcript,
            chat=self.chat,
            generation=self.generation,
            models=models.models,
            focus=models.focus,
            controls=models.controls,
            model=models.explanation,
            faults=faults,
            parent=self,
        )
        self.steering = SteeringController(
            desk=self.engine_desk,
            history=history,
            transcript=models.transcript,
            chat=self.chat,
            controls=models.controls,
            models=models.models,
            model=models.steering,
            parent=self,
        )
        self.looking = LookingController(
            desk=self.engine_desk,
            history=history,
            transcript=models.transcript,
            chat=self.chat,
            models=models.models,
            lens=models.lens,
            attention=models.attention,
            experts=models.experts,
            focus=models.focus,
            parent=self,
        )
        self.side_by_side = SideBySideController(
            desk=self.engine_desk,
            history=history,
            chat=self.chat,
            controls=models.controls,
            models=models.models,
            model=models.side_by_side,
            parent=self,
        )
        self.two_prompts = TwoPromptsController(
            desk=self.engine_desk,
            chat=self.chat,
            transcript=models.transcript,
            controls=models.controls,
            models=models.models,
            explanation=models.explanation,
            model=models.two_prompts,
            parent=self,
        )
        self.healing = HealingController(
            desk=self.engine_desk,
            generation=self.generation,
            models=models.models,
            settings=models.settings,
            model=models.healing,
            parent=self,
        )
        self.raw = RawController(
            desk=self.engine_desk,
            history=history,
            chat=self.chat,
            models=models.models,
            faults=faults,
            parent=self,
        )
        self.vocabulary = VocabularyController(desk=self.beside_desk, models=models.models, parent=self)
        self.servers = ServersController(
            desk=self.librarian_desk,
            models=models.models,
            model=models.servers,
            settings=models.settings,
            keys=self._keys,
            parent=self,
        )
        self.model_loads = ModelsController(
            engine=self.engine_desk,
            librarian=self.librarian_desk,
            model=models.models,
            generation=self.generation,
            settings=models.settings,
            faults=faults,
            server_of=self.servers.server_of,
            parent=self,
        )
        self.adapters = AdaptersController(
            desk=self.engine_desk,
            librarian=self.librarian_desk,
            history=history,
            transcript=models.transcript,
            chat=self.chat,
            models=models.models,
            settings=models.settings,
            model=models.adapters,
            parent=self,
        )
        self.drafts = DraftsController(desk=self.engine_desk, models=models.models, parent=self)
        self.monitor = MonitorController(
            model=models.monitor, runs=models.runs, models=models.models, faults=faults, parent=self
        )
        self.downloads = DownloadsController(
            desk=self.download_desk, model=models.models, faults=faults, parent=self
        )

    def _after_paint(self) -> None:
        self.painted.emit()
        self.collector.start()
        if self._second:
            self.faults.report(
                kind="second-window",
                message="Model Loupe is already open with this profile.",
                hint="This window shows a copy; nothing in it is kept. Use the other one, or --profile DIR.",
            )
        if self._newer:
            self.newer.offer()
        if self.options.safe_mode:
            self.shell.tell(
                "Safe mode: default settings, no GPU, no model loaded. Changed settings are not kept."
            )
        self.crashes.offer()
        self.monitor.start()
        self.conversations.load()
        self.model_loads.refresh()
        self._load_first_model()
        self._open_last_conversation()
        self.unsent.restore(lambda number: self.models.conversations.entry(number) is not None)
        if self._crash is not None and not self.options.safe_mode:
            self._restore_place()
        self.remembering.note_mode(self.widgets.window.mode)
        self.remembering.note_panel(self.widgets.inspector.current)

    def _restore_place(self) -> None:
        """Show what was in front when the last session broke off."""
        remembered = self.remembering.remembered
        if remembered.mode and not self.options.paths and not self.history.unfinished():
            self.widgets.window.show_mode(remembered.mode)
        if remembered.panel:
            self.widgets.inspector.show_panel(remembered.panel)

    def _load_first_model(self) -> None:
        page, remembered = self.models.settings.settings, self.remembering.remembered
        if self.options.paths:
            self.widgets.intents.paths_dropped.emit(list(self.options.paths))
        if self.options.safe_mode or not page.load_last_model:
            return
        choice = LoadChoice(
            model=page.last_model,
            quantization=remembered.quantization,
            device=remembered.device,
            context_length=remembered.context_length,
        )
        if not self.options.paths:
            self.models.models.set_choice(choice)
        self.model_loads.load(choice)

    def _open_last_conversation(self) -> None:
        unfinished = self.history.unfinished()
        last = unfinished[-1].conversation if unfinished else self.remembering.remembered.conversation
        if last is not None and self.models.conversations.entry(last) is not None:
            self.chat.open(last)
        if unfinished:
            self.widgets.chat.notice.show_notice(
                "A reply was being written when the app ended.", "Continue", self._continue_interrupted
            )

    def _continue_interrupted(self) -> None:
        reply = self.models.transcript.last_reply
        if reply is not None and isinstance(reply.id, int):
            self.chat.continue_reply(reply.id)
