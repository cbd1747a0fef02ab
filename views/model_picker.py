"""The model picker: a sheet over the window that opens under the model's button."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QWidget

from views.model_card import ModelCard
from views.model_list import ModelList
from views.models.model_choice import ModelChoiceModel
from views.sheet import Sheet
from views.theme import GRID, Theme

_WIDTH, _HEIGHT = 200 * GRID, 140 * GRID


class ModelPicker(Sheet):
    """List and card side by side; also closes when a model is ready.

    Args:
        model: What is shown; also answers the choice (see :class:`ModelChoiceModel`).
        theme: Colours and fonts.
        parent: The window that it covers in part.

    Signals:
        load_requested: The :class:`~views.models.model_choice.LoadChoice`.
        unload_requested, cancel_load_requested, refresh_requested, template_requested.
        open_folder_requested, open_file_requested: The app asks where.
        download_requested: Hub id; also resumes.
        pause_requested, cancel_download_requested: Hub id.
        draft_requested: Source of the model that shall guess ahead; "" for none.
        add_server_requested: Enter a server.
        edit_server_requested: Change the server of this model (its source).
    """

    load_requested = Signal(object)
    unload_requested = Signal()
    template_requested = Signal()
    cancel_load_requested = Signal()
    refresh_requested = Signal()
    open_folder_requested = Signal()
    open_file_requested = Signal()
    download_requested = Signal(str)
    pause_requested = Signal(str)
    cancel_download_requested = Signal(str)
    draft_requested = Signal(str)
    add_server_requested = Signal()
    edit_server_requested = Signal(str)

    def __init__(self, model: ModelChoiceModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__("Models", theme, width=_WIDTH, height=_HEIGHT, parent=parent)
        self.setObjectName("modelPicker")
        self.list = ModelList(model, theme)
        self.card = ModelCard(model, theme)
        row = QHBoxLayout()
        row.setSpacing(6 * GRID)
        row.addWidget(self.list, 4)
        row.addWidget(self.card, 5)
        self.column.addLayout(row, 1)
        self._pass_on()
        model.loaded_changed.connect(self._loaded)

    def _pass_on(self) -> None:
        self.list.load_requested.connect(self.load_requested)
        self.list.refresh_requested.connect(self.refresh_requested)
        self.list.open_folder_requested.connect(self.open_folder_requested)
        self.list.open_file_requested.connect(self.open_file_requested)
        self.list.download_requested.connect(self.download_requested)
        self.list.pause_requested.connect(self.pause_requested)
        self.list.cancel_download_requested.connect(self.cancel_download_requested)
        self.list.add_server_requested.connect(self.add_server_requested)
        self.card.edit_server_requested.connect(self.edit_server_requested)
        self.card.load_requested.connect(self.load_requested)
        self.card.unload_requested.connect(self.unload_requested)
        self.card.template_requested.connect(self.template_requested)
        self.card.cancel_load_requested.connect(self.cancel_load_requested)
        self.card.draft_requested.connect(self.draft_requested)

    def open_sheet(self, anchor: QWidget | None = None) -> None:
        """Show the picker and look for models again."""
        super().open_sheet(anchor)
        self.refresh_requested.emit()

    def first_focus(self) -> QWidget:
        """The list."""
        return self.list.view

    def _loaded(self, loaded: object | None) -> None:
        if loaded is not None and self.isVisible() and self.parentWidget() is not None:
            self.close_sheet()
