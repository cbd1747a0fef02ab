"""The settings: what was chosen acts at once; there is nothing to confirm."""

from __future__ import annotations

from typing import Any, Final

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QPushButton,
    QSpinBox,
    QWidget,
)

from views.models.settings import Settings, SettingsModel
from views.panel_parts import ScrollPage, heading, note, tool_button
from views.sheet import Sheet
from views.theme import GRID, Theme

_CHOICES: Final[dict[str, tuple[str, dict[str, str], str]]] = {
    "theme": (
        "Look",
        {"system": "Like the desktop", "light": "Light", "dark": "Dark"},
        "Colours of the whole window.",
    ),
    "send_key": (
        "Send with",
        {"enter": "Enter (Shift+Enter breaks the line)", "ctrl-enter": "Ctrl+Enter (Enter breaks the line)"},
        "Which key sends a message.",
    ),
    "overflow": (
        "When the context is full",
        {"stop": "Stop and say so", "drop-oldest": "Leave out the oldest turns"},
        "What happens when prompt and reply no longer fit into the model's context.",
    ),
}
_NAMES = {"theme": "themeChoice", "send_key": "sendKeyChoice", "overflow": "overflowChoice"}


class SettingsView(Sheet):
    """Writes into the settings model on every change.

    Args:
        settings: What is shown and changed.
        theme: Colours and fonts.
        parent: The window that it opens over.

    Signals:
        add_folder_requested: The user wants to add a folder to search for models; the app asks which.
        open_path_requested: Path of a folder or file that the user wants to see in the file manager.
    """

    add_folder_requested = Signal()
    open_path_requested = Signal(str)

    def __init__(self, settings: SettingsModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__("Settings", theme, width=150 * GRID, height=170 * GRID, parent=parent)
        self.setObjectName("settingsView")
        self._settings, self._theme = settings, theme
        self.boxes = {name: QComboBox() for name in _CHOICES}
        self.candidates = QSpinBox()
        self.score_prompt = QCheckBox("Also work out the probabilities of the prompt's tokens")
        self.lookup = QCheckBox("Guess ahead from what the text has said before")
        self.load_last = QCheckBox("Load the model of last time at start")
        self.folders = QListWidget()
        self.library_store = QLineEdit()
        self._paths: dict[str, QLineEdit] = {}
        page = ScrollPage()
        page.column.setContentsMargins(0, 0, 2 * GRID, 0)
        self.column.addWidget(page, 1)
        self._build_window(page)
        self._build_replies(page)
        self._build_models(page)
        self._build_documents(page)
        self._build_paths(page)
        page.column.addStretch(1)
        settings.changed.connect(self._show)
        self._show(settings.settings)

    def first_focus(self) -> QWidget:
        """The first choice."""
        return self.boxes["theme"]

    # --- building -------------------------------------------------------------------------------------------

    def _build_window(self, page: ScrollPage) -> None:
        page.column.addWidget(heading("Window", self._theme))
        page.column.addLayout(self._form("theme", "send_key"))

    def _build_replies(self, page: ScrollPage) -> None:
        self.candidates.setObjectName("candidatesCount")
        self.candidates.setRange(1, 200)
        self.candidates.setAccessibleName("Candidates recorded for each token")
        self.candidates.setToolTip("More show further down the ranking and take more room in the history.")
        self.candidates.valueChanged.connect(lambda count: self._settings.update(candidates=count))
        self.score_prompt.setObjectName("scorePrompt")
        self.score_prompt.setToolTip("Costs no second pass, but memory for long prompts.")
        self.score_prompt.toggled.connect(lambda on: self._settings.update(score_prompt=on))
        page.column.addSpacing(2 * GRID)
        page.column.addWidget(heading("Replies", self._theme))
        form = self._form("overflow")
        form.addRow("Candidates per token", self.candidates)
        page.column.addLayout(form)
        page.column.addWidget(self.score_prompt)
        self.lookup.setObjectName("promptLookup")
        self.lookup.setToolTip(
            "Prompt lookup: several guessed tokens are checked in one pass. The text stays the same; replies "
            "that repeat what was read come sooner."
        )
        self.lookup.toggled.connect(lambda on: self._settings.update(prompt_lookup=on))
        page.column.addWidget(self.lookup)

    def _build_models(self, page: ScrollPage) -> None:
        self.load_last.setObjectName("loadLastModel")
        self.load_last.toggled.connect(lambda on: self._settings.update(load_last_model=on))
        self.folders.setObjectName("modelFolders")
        self.folders.setAccessibleName("Folders that are searched for models")
        self.folders.setFixedHeight(20 * GRID)
        add, remove = QPushButton("Add a folder…"), QPushButton("Remove")
        add.setObjectName("addModelFolder")
        remove.setObjectName("removeModelFolder")
        remove.setProperty("kind", "quiet")
        add.clicked.connect(self.add_folder_requested)
        remove.clicked.connect(self._remove_folder)
        self._remove = remove
        self.folders.currentRowChanged.connect(lambda row: remove.setEnabled(row >= 0))
        page.column.addSpacing(2 * GRID)
        page.column.addWidget(heading("Models", self._theme))
        page.column.addWidget(self.load_last)
        page.column.addWidget(note("Folders that are searched for models:", self._theme))
        page.column.addWidget(self.folders)
        row = QHBoxLayout()
        row.addWidget(add)
        row.addWidget(remove)
        row.addStretch(1)
        page.column.addLayout(row)

    def _build_documents(self, page: ScrollPage) -> None:
        self.library_store.setObjectName("libraryStore")
        self.library_store.setAccessibleName("Where new libraries keep their passages")
        self.library_store.setPlaceholderText("On this computer")
        self.library_store.setToolTip(
            "A folder, an object store (s3://bucket/folder) or a LanceDB server (db://name); empty: on this "
            "computer. Libraries that are there already stay where they are."
        )
        self.library_store.editingFinished.connect(
            lambda: self._settings.update(library_store=self.library_store.text().strip())
        )
        page.column.addSpacing(2 * GRID)
        page.column.addWidget(heading("Documents", self._theme))
        form = _new_form()
        form.addRow("New libraries keep their passages", self.library_store)
        page.column.addLayout(form)

    def _build_paths(self, page: ScrollPage) -> None:
        page.column.addSpacing(2 * GRID)
        page.column.addWidget(heading("Where things are", self._theme))
        form = _new_form()
        for name, title in (
            ("model_cache", "Downloaded models"),
            ("data_folder", "Conversations and settings"),
            ("log_file", "Log"),
        ):
            path = QLineEdit()
            path.setReadOnly(True)
            path.setObjectName(f"path-{name}")
            path.setAccessibleName(title)
            show = tool_button(
                self._theme, "folder", f"Show in the file manager: {title.lower()}", f"show-{name}"
            )
            show.clicked.connect(lambda _=False, path=path: self.open_path_requested.emit(path.text()))
            row = QHBoxLayout()
            row.addWidget(path, 1)
            row.addWidget(show)
            form.addRow(title, row)
            self._paths[name] = path
        page.column.addLayout(form)

    def _form(self, *names: str) -> QFormLayout:
        form = _new_form()
        for name in names:
            title, choices, meaning = _CHOICES[name]
            box = self.boxes[name]
            box.setObjectName(_NAMES[name])
            box.setAccessibleName(title)
            box.setToolTip(meaning)
            for value, text in choices.items():
                box.addItem(text, value)
            box.activated.connect(lambda _row, name=name: self._chosen(name))
            form.addRow(QLabel(title), box)
        return form

    # --- showing and changing -------------------------------------------------------------------------------

    def _show(self, settings: Settings) -> None:
        for name, box in self.boxes.items():
            with QSignalBlocker(box):
                box.setCurrentIndex(box.findData(getattr(settings, name)))
        with (
            QSignalBlocker(self.candidates),
            QSignalBlocker(self.score_prompt),
            QSignalBlocker(self.lookup),
            QSignalBlocker(self.load_last),
        ):
            self.candidates.setValue(settings.candidates)
            self.score_prompt.setChecked(settings.score_prompt)
            self.lookup.setChecked(settings.prompt_lookup)
            self.load_last.setChecked(settings.load_last_model)
        listed = [self.folders.item(row).text() for row in range(self.folders.count())]
        if listed != list(settings.model_folders):
            self.folders.clear()
            self.folders.addItems(list(settings.model_folders))
        self._remove.setEnabled(self.folders.currentRow() >= 0)
        if not self.library_store.hasFocus():
            self.library_store.setText(settings.library_store)
        for name, path in self._paths.items():
            path.setText(getattr(settings, name))
            path.setCursorPosition(0)

    def _chosen(self, name: str) -> None:
        changes: dict[str, Any] = {name: self.boxes[name].currentData(Qt.ItemDataRole.UserRole)}
        self._settings.update(**changes)

    def _remove_folder(self) -> None:
        item = self.folders.currentItem()
        if item is not None:
            kept = tuple(f for f in self._settings.settings.model_folders if f != item.text())
            self._settings.update(model_folders=kept)


def _new_form() -> QFormLayout:
    form = QFormLayout()
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    form.setHorizontalSpacing(4 * GRID)
    form.setVerticalSpacing(GRID)
    return form
