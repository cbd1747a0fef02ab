"""The small things of the window itself: header, status line, sheets, file dialogs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QStandardPaths, Qt, QUrl, Slot
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QApplication, QFileDialog

from app.controllers.models import holds_model
from app.exporting import file_name
from app.exporting_explanations import write_explanation
from app.history import Conversation
from inference.events import ModelLoaded, Progress
from views.models.format import format_bytes
from views.models.settings import Settings
from views.models.steering import RAW

if TYPE_CHECKING:
    from app.bootstrap import App

_TOLD_MS = 6000
#: A server keeps the size of its vocabulary to itself.
_ANY_VOCABULARY = 10_000_000


class Shell(QObject):
    """Slots for what needs no controller of its own."""

    def __init__(self, app: App) -> None:
        super().__init__(app)
        self._app = app
        self._widgets = app.widgets
        documents = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.DocumentsLocation)
        self._exports = Path(documents) if Path(documents).is_dir() else Path.home()

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
        self._widgets.header.set_rate(None)
        loaded = self._app.models.models.loaded
        if loaded is not None:
            self._widgets.header.set_context(self._app.chat.context_used, loaded.context_length)
        if self._widgets.chat.view == "raw" and len(self._app.models.transcript):
            self._app.raw.render()

    @Slot()
    def show_busy(self, *_: object) -> None:
        """Show stop in the place of send while a reply of this conversation is written."""
        self._widgets.chat.set_busy(self._app.models.transcript.streaming_id is not None)

    @Slot(object)
    def show_model(self, loaded: ModelLoaded | None) -> None:
        """Name the loaded model in the header."""
        remote = loaded.info.remote if loaded is not None else None
        for panel in (self._widgets.sampling, self._widgets.token, self._widgets.steering):
            panel.set_server(remote)
        if loaded is None:
            self._widgets.header.set_model("", "")
            self._widgets.header.set_context(0, 0)
            self._widgets.header.set_rate(None)
            self._widgets.chat.empty.set_state("no-model")
            return
        self._widgets.chat.empty.set_state("ready")
        if remote is not None:
            self._widgets.sampling.bias.set_vocabulary(_ANY_VOCABULARY)
            place = "on this machine" if remote.this_machine else "prompts go to"
            host = remote.address.partition("://")[2].partition("/")[0]
            self._widgets.header.set_model(loaded.info.name, f"{place} {host}")
            self._widgets.header.set_context(0, loaded.context_length)
            return
        self._widgets.sampling.bias.set_vocabulary(loaded.info.vocabulary)
        self._app.models.controls.suit_model(loaded.info.parameters)
        quantization = "" if loaded.quantization == "none" else f"{loaded.quantization.upper()} · "
        self._widgets.header.set_model(loaded.info.name, quantization + format_bytes(loaded.memory.weights))
        self._widgets.header.set_context(self._app.chat.context_used, loaded.context_length)

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
    def come_forward(self, paths: list[str]) -> None:
        """The app was started again: this window takes what the new one was given."""
        window = self._widgets.window
        window.setWindowState(window.windowState() & ~Qt.WindowState.WindowMinimized)
        window.show()
        window.raise_()
        window.activateWindow()
        QApplication.alert(window)
        if paths:
            self.open_paths(paths)

    @Slot(list)
    def open_paths(self, paths: list[str]) -> None:
        """Show dropped models in the picker, where loading them is one click; documents go into the open
        library. While the documents are shown, folders are documents, too, unless a model lies in them.
        """
        window = self._widgets.window
        folders = [p for p in paths if window.mode == "documents" and Path(p).is_dir() and not holds_model(p)]
        rest = self._app.adapters.open_paths([path for path in paths if path not in folders])
        others = self._app.model_loads.open_paths(rest)
        if len(others) < len(rest):
            self.open_picker()
        if documents := [*folders, *others]:
            window.show_mode("documents")
            self._app.documents.add(documents)

    @Slot()
    def choose_documents(self) -> None:
        """Let the user choose documents for the open library."""
        paths, _ = QFileDialog.getOpenFileNames(self._widgets.window, "Add documents")
        if paths:
            self._app.documents.add(paths)

    @Slot()
    def choose_document_folder(self) -> None:
        """Let the user choose a folder of documents for the open library."""
        path = QFileDialog.getExistingDirectory(self._widgets.window, "Add a folder of documents")
        if path:
            self._app.documents.add([path])

    @Slot()
    def choose_embedder(self) -> None:
        """Let the user choose the embedder of the next library."""
        path = QFileDialog.getExistingDirectory(
            self._widgets.window, "Choose the folder of a sentence-transformers model"
        )
        if path:
            self._app.models.library.set_next_embedder(path)

    @Slot()
    def open_picker(self) -> None:
        """Let the user choose a model."""
        self._widgets.picker.open_sheet(self._widgets.header.model_button)

    @Slot()
    def open_server(self) -> None:
        """Let the user enter or change a server."""
        self._widgets.picker.close_sheet()
        self._widgets.server.open_sheet(self._widgets.header.model_button)

    @Slot()
    def close_server(self) -> None:
        """A server was kept or forgotten: back to the list of models."""
        self._widgets.server.close_sheet()
        self.open_picker()

    @Slot()
    def open_settings(self) -> None:
        """Show the settings."""
        self._widgets.settings.open_sheet()

    @Slot()
    def open_shortcuts(self) -> None:
        """Show the keyboard shortcuts."""
        self._widgets.shortcuts.open_sheet()

    @Slot()
    def open_template(self) -> None:
        """Show the loaded model's chat template."""
        self._widgets.picker.close_sheet()
        self._widgets.template.open_sheet()

    @Slot()
    def show_thinking(self) -> None:
        """Offer thinking before the answer where the model's template has a switch for it."""
        shown = self._app.models.template.shown
        self._widgets.chat.composer.set_thinking(shown.thinking if shown is not None else None)

    @Slot()
    def open_about(self) -> None:
        """Show what this program is and which versions it runs with."""
        self._widgets.about.open_sheet()

    @Slot()
    def open_licence(self) -> None:
        """Show the app's licence."""
        QDesktopServices.openUrl(QUrl("https://www.apache.org/licenses/LICENSE-2.0"))

    @Slot()
    def open_faults(self) -> None:
        """Show everything that went wrong."""
        self._widgets.faults.open_sheet()

    @Slot()
    def open_log(self) -> None:
        """Show the log file."""
        self.open_path(str(self._app.options.profile.log_file))

    @Slot(str)
    def open_path(self, path: str) -> None:
        """Show a file or folder with the desktop's own program."""
        QDesktopServices.openUrl(QUrl.fromLocalFile(path))

    @Slot(str, object)
    def remedy(self, action: str, fault: object) -> None:
        """Do what a fault offers."""
        if action == "save-history" and self._app.history.save_again():
            self.tell("Everything is saved.")

    @Slot()
    def choose_model_folder(self) -> None:
        """Let the user choose a model's folder."""
        path = QFileDialog.getExistingDirectory(self._widgets.window, "Open a model's folder")
        if path:
            self.open_paths([path])

    @Slot()
    def choose_adapter(self) -> None:
        """Let the user choose an adapter's folder."""
        path = QFileDialog.getExistingDirectory(self._widgets.window, "Open an adapter's folder (LoRA)")
        if path:
            self._app.adapters.open(path)

    @Slot()
    def choose_model_file(self) -> None:
        """Let the user choose a GGUF file."""
        path, _ = QFileDialog.getOpenFileName(
            self._widgets.window, "Open a model", "", "GGUF models (*.gguf);;All files (*)"
        )
        if path:
            self.open_paths([path])

    @Slot()
    def add_model_folder(self) -> None:
        """Let the user choose a folder that is searched for models."""
        settings = self._app.models.settings
        path = QFileDialog.getExistingDirectory(self._widgets.window, "Search this folder for models")
        if path and path not in settings.settings.model_folders:
            settings.update(model_folders=(*settings.settings.model_folders, path))
            self._app.model_loads.refresh()

    @Slot()
    def choose_files(self) -> None:
        """Let the user choose a model's file, or documents that go along with the next message."""
        paths, _ = QFileDialog.getOpenFileNames(self._widgets.window, "Attach documents, or open a model")
        others = self._app.model_loads.open_paths(paths)
        if len(others) < len(paths):
            self.open_picker()
        if others:
            self._app.documents.attaching.add(others)

    @Slot()
    def export_markdown(self) -> None:
        """Export the open conversation for people."""
        if self._app.chat.conversation is not None:
            self.export(self._app.chat.conversation, "markdown")

    @Slot()
    def export_json(self) -> None:
        """Export the open conversation for programs."""
        if self._app.chat.conversation is not None:
            self.export(self._app.chat.conversation, "json")

    @Slot(object, str)
    def export(self, conversation: int, kind: str) -> None:
        """Ask for a place and write the conversation there."""
        suffix = ".md" if kind == "markdown" else ".json"
        entry = self._app.models.conversations.entry(conversation)
        name = file_name(entry.title if entry is not None else "", suffix)
        if (path := self._place_for("Export the conversation", name)) is not None:
            self._app.conversations.export(conversation, kind, path)

    @Slot()
    def note_conversation(self, *_: object) -> None:
        """Remember which conversation is open, in case this session does not end properly."""
        self._app.remembering.note_conversation(self._app.chat.conversation)

    @Slot()
    def save_crash_report(self) -> None:
        """Ask for a place and write a copy of the report there."""
        if (path := self._place_for("Save the report", "model-loupe-report.txt")) is not None:
            self._app.crashes.save(path)

    @Slot()
    def export_runs(self) -> None:
        """Ask for a place and write the list of runs there."""
        if (path := self._place_for("Export the runs", "runs.csv")) is not None:
            self._app.monitor.export_csv(path)

    def _place_for(self, title: str, name: str) -> Path | None:
        """Ask where a file is to be written; first among the documents, then where the last one went."""
        path, _ = QFileDialog.getSaveFileName(self._widgets.window, title, str(self._exports / name))
        if not path:
            return None
        self._exports = Path(path).parent
        return Path(path)

    @Slot(int, str, float)
    def set_bias(self, token: int, text: str, bias: float) -> None:
        """Add to a token's logit from the next token on."""
        if token < 0:
            self.tell("The server does not tell this token's number, so its logit can't be changed.")
            return
        self._app.models.controls.set_bias(token, bias, text)
        loaded = self._app.models.models.loaded
        far = loaded is not None and loaded.info.remote is not None
        self.tell(
            f"The logit of {text!r} is changed by {bias:+g} from the next {'reply' if far else 'token'} on."
        )

    @Slot(object)
    def show_token_panel(self, focus: object) -> None:
        """The inspector follows the task: a token was chosen."""
        if focus is not None and self._widgets.inspector.current not in ("why", "lens", "steer"):
            self._widgets.inspector.show_panel("token")

    @Slot()
    def show_why_panel(self) -> None:
        """The inspector follows the task: something is explained."""
        self._widgets.window.inspector_dock.show()
        self._widgets.inspector.show_panel("why")

    @Slot()
    def show_steering_panel(self) -> None:
        """The inspector follows the task: an adapter is opened."""
        self._widgets.window.inspector_dock.show()
        self._widgets.inspector.show_panel("steer")

    @Slot()
    def show_adapter_comparison(self) -> None:
        """Show what adapters change in the conversation."""
        self._widgets.adapters.open_sheet()

    @Slot()
    def show_steering(self, *_: object) -> None:
        """Mark the spans that are turned down or up in the conversation."""
        tints, chat = self._app.steering.tints(), self._widgets.chat
        chat.text_view.set_tints(tints)
        chat.token_view.set_tints(tints)
        chat.raw.set_tints(tints.get(RAW, ()))

    @Slot()
    def show_compare(self) -> None:
        """Show the replies with and without factors."""
        self._widgets.compare.open_sheet()

    @Slot(str)
    def export_explanation(self, kind: str) -> None:
        """Ask for a place and write the explanation there."""
        result = self._app.models.explanation.result
        if result is None:
            return
        name = file_name(f"why {result.target_text}", f".{kind}")
        if (path := self._place_for("Export the explanation", name)) is not None:
            self.write_explanation(kind, path)

    def write_explanation(self, kind: str, path: Path) -> bool:
        """Write the explanation that is shown: "png", "csv" or "json"."""
        try:
            write_explanation(self._app.models.explanation, kind, path, self._widgets.why.view.picture)
        except OSError as error:
            self._app.faults.report(
                kind="export-failed",
                message=f"{path.name} could not be written.",
                hint="Choose another place; the explanation is still here.",
                details=str(error),
            )
            return False
        self.tell(f"Written to {path.name}.")
        return True

    @Slot(object)
    def show_sampling_panel(self, conversation: object) -> None:
        """The inspector follows the task: a reply is being written."""
        steered = self._widgets.inspector.current == "steer"  # where one turns words and adapters meanwhile
        if conversation is not None and self._app.models.focus.focus is None and not steered:
            had_keyboard = self._widgets.inspector.has_keyboard
            self._widgets.inspector.show_panel("sampling")
            if had_keyboard:
                self._widgets.chat.take_keyboard()

    @Slot(str)
    def open_link(self, address: str) -> None:
        """Open a link of a reply in the browser."""
        QDesktopServices.openUrl(QUrl(address))
