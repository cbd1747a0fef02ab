"""What the user meant goes to controllers, what controllers say goes to widgets; one function for each
corner.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Slot
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog

from app.exporting import file_name
from app.history import Conversation
from inference.events import ModelLoaded, Progress
from views.models.format import format_bytes
from views.models.settings import Settings

if TYPE_CHECKING:
    from app.bootstrap import App

_TOLD_MS = 6000


def connect(app: App) -> None:
    """Connect everything."""
    _connect_chat(app)
    _connect_conversations(app)
    _connect_models(app)
    _connect_panels(app)
    _connect_status(app)


def _connect_chat(app: App) -> None:
    intents, chat = app.widgets.intents, app.chat
    intents.send_requested.connect(chat.send)
    intents.send_raw_requested.connect(chat.send_raw)
    intents.stop_requested.connect(chat.stop)
    intents.regenerate_requested.connect(chat.regenerate)
    intents.continue_requested.connect(chat.continue_reply)
    intents.edit_requested.connect(chat.edit)
    intents.branch_step_requested.connect(chat.step_branch)
    intents.candidate_requested.connect(chat.branch_from_row)
    intents.system_prompt_changed.connect(chat.set_system_prompt)
    intents.tokens_wanted.connect(app.tracks.wanted)
    intents.raw_text_wanted.connect(app.raw.render)
    app.raw.rendered.connect(app.widgets.chat.raw.set_rendered)
    app.generation.raw_wrote.connect(app.widgets.chat.raw.append_text)
    chat.returned.connect(app.widgets.chat.composer.restore)
    chat.opened.connect(app.shell.show_conversation)
    transcript = app.models.transcript
    for signal in (
        transcript.was_reset,
        transcript.message_appended,
        transcript.tail_replaced,
        transcript.reply_finished,
        transcript.message_changed,
    ):
        signal.connect(app.shell.show_busy)


def _connect_conversations(app: App) -> None:
    listing, controller = app.widgets.conversations, app.conversations
    listing.new_requested.connect(app.chat.new_chat)
    listing.opened.connect(app.chat.open)
    listing.delete_requested.connect(controller.delete)
    listing.undo_delete_requested.connect(controller.undo_delete)
    listing.search_changed.connect(controller.search)
    listing.export_requested.connect(app.shell.export)


def _connect_models(app: App) -> None:
    models = app.models.models
    models.loaded_changed.connect(app.shell.show_model)
    models.loading_changed.connect(app.shell.show_loading)
    app.model_loads.ready.connect(app.remembering.note_load)
    app.downloads.arrived.connect(app.model_loads.refresh)
    app.widgets.intents.paths_dropped.connect(app.shell.open_paths)
    app.widgets.intents.attach_requested.connect(app.shell.choose_files)
    app.widgets.window.action("unloadModel").triggered.connect(app.model_loads.unload)


def _connect_panels(app: App) -> None:
    token, sampling, monitor = app.widgets.token, app.widgets.sampling, app.widgets.monitor
    token.branch_requested.connect(app.chat.branch_from_candidate)
    token.tokens_requested.connect(app.tracks.wanted)
    token.bias_requested.connect(app.shell.set_bias)
    token.example_requested.connect(app.examples.show_token)
    sampling.example_requested.connect(app.examples.show_reply)
    monitor.example_requested.connect(app.examples.show_reply)
    monitor.export_requested.connect(app.shell.export_runs)
    app.models.focus.focus_changed.connect(app.shell.show_token_panel)
    app.generation.busy_changed.connect(app.shell.show_sampling_panel)


def _connect_status(app: App) -> None:
    for source in (
        app.chat,
        app.generation,
        app.conversations,
        app.model_loads,
        app.downloads,
        app.raw,
        app.monitor,
    ):
        source.told.connect(app.shell.tell)
    app.models.settings.changed.connect(app.shell.apply_settings)
    app.shell.apply_settings(app.models.settings.settings)
    app.widgets.intents.told.connect(app.shell.tell)
    app.widgets.intents.link_activated.connect(app.shell.open_link)
    app.generation.progressed.connect(app.shell.show_reading)
    app.generation.context_changed.connect(app.widgets.header.set_context)
    app.generation.context_changed.connect(app.monitor.note_context)
    app.generation.tokens_came.connect(app.monitor.count_tokens)
    app.generation.rate_changed.connect(app.widgets.header.set_rate)
    app.widgets.status.cancel_requested.connect(app.shell.cancel)


class Shell(QObject):
    """The small things of the window itself: header, status line, file dialogs."""

    def __init__(self, app: App) -> None:
        super().__init__(app)
        self._app = app
        self._widgets = app.widgets

    @Slot(str)
    def tell(self, text: str) -> None:
        """Say something in the status line for a while."""
        self._widgets.status.show_message(text, milliseconds=_TOLD_MS)

    @Slot(object)
    def apply_settings(self, settings: Settings) -> None:
        """Let the settings page act at once."""
        self._app.theme.set_choice(settings.theme)
        self._widgets.chat.composer.set_send_key(settings.send_key)

    @Slot(object)
    def show_conversation(self, conversation: Conversation | None) -> None:
        """Another conversation is open."""
        self._widgets.conversations.set_current(conversation.id if conversation is not None else None)
        self._widgets.chat.system.set_text(self._app.chat.system_prompt)

    @Slot()
    def show_busy(self, *_: object) -> None:
        """Show stop in the place of send while a reply of this conversation is written."""
        self._widgets.chat.set_busy(self._app.models.transcript.streaming_id is not None)

    @Slot(object)
    def show_model(self, loaded: ModelLoaded | None) -> None:
        """Name the loaded model in the header."""
        if loaded is None:
            self._widgets.header.set_model("", "")
            self._widgets.header.set_context(0, 0)
            self._widgets.chat.empty.set_state("no-model")
            return
        quantization = "" if loaded.quantization == "none" else f"{loaded.quantization.upper()} · "
        self._widgets.header.set_model(loaded.info.name, quantization + format_bytes(loaded.memory.weights))
        self._widgets.header.set_context(0, loaded.context_length)
        self._widgets.chat.empty.set_state("ready")

    @Slot(object)
    def show_loading(self, progress: Progress | None) -> None:
        """Show how far a load is."""
        models = self._app.models.models
        if progress is not None:
            self._widgets.status.show_progress(progress.stage, progress.done, progress.total)
            self._widgets.chat.empty.set_state("loading")
            return
        self._widgets.status.clear_progress()
        if models.loaded is None:
            self._widgets.chat.empty.set_state("no-model")

    @Slot(object)
    def show_reading(self, progress: Progress | None) -> None:
        """Show how far the prompt is read."""
        if progress is None:
            if self._app.models.models.loading is None:
                self._widgets.status.clear_progress()
        else:
            self._widgets.status.show_progress(progress.stage, progress.done, progress.total)

    @Slot()
    def cancel(self) -> None:
        """Cancel what the progress bar shows."""
        if self._app.models.models.loading is not None:
            self._app.model_loads.cancel_load()
        else:
            self._app.chat.stop()

    @Slot(list)
    def open_paths(self, paths: list[str]) -> None:
        """Open dropped models; other files are not taken yet."""
        others = self._app.model_loads.open_paths(paths)
        if others:
            self.tell(f"{Path(others[0]).name} is not a model that can be opened.")

    @Slot()
    def choose_files(self) -> None:
        """Let the user choose a model's file or a document."""
        paths, _ = QFileDialog.getOpenFileNames(self._widgets.window, "Open")
        if paths:
            self._widgets.intents.paths_dropped.emit(paths)

    @Slot(object, str)
    def export(self, conversation: int, kind: str) -> None:
        """Ask for a place and write the conversation there."""
        suffix = ".md" if kind == "markdown" else ".json"
        entry = self._app.models.conversations.entry(conversation)
        name = file_name(entry.title if entry is not None else "", suffix)
        path, _ = QFileDialog.getSaveFileName(self._widgets.window, "Export the conversation", name)
        if path:
            self._app.conversations.export(conversation, kind, Path(path))

    @Slot()
    def export_runs(self) -> None:
        """Ask for a place and write the list of runs there."""
        path, _ = QFileDialog.getSaveFileName(self._widgets.window, "Export the runs", "runs.csv")
        if path:
            self._app.monitor.export_csv(Path(path))

    @Slot(int, str, float)
    def set_bias(self, token: int, text: str, bias: float) -> None:
        """Add to a token's logit from the next token on."""
        self._app.models.controls.set_bias(token, bias, text)
        self.tell(f"The logit of {text!r} is changed by {bias:+g} from the next token on.")

    @Slot(object)
    def show_token_panel(self, focus: object) -> None:
        """The inspector follows the task: a token was chosen."""
        if focus is not None:
            self._widgets.inspector.show_panel("token")

    @Slot(object)
    def show_sampling_panel(self, conversation: object) -> None:
        """The inspector follows the task: a reply is being written."""
        if conversation is not None and self._app.models.focus.focus is None:
            self._widgets.inspector.show_panel("sampling")

    @Slot(str)
    def open_link(self, address: str) -> None:
        """Open a link of a reply in the browser."""
        QDesktopServices.openUrl(address)
