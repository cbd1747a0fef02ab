"""The left half of the model picker: models that are there, ways to add one, and downloads."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLineEdit,
    QListView,
    QPushButton,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)

from inference.events import ModelEntry
from views.download_row import DownloadRow
from views.models.model_choice import EntryRole, LoadChoice, ModelChoiceModel, where
from views.panel_parts import heading, note
from views.theme import BODY, CAPTION, GRID, Theme

_Index = QModelIndex | QPersistentModelIndex


class _EntryDelegate(QStyledItemDelegate):
    """Two lines: the name; where it is and how large, or why it cannot be used."""

    def __init__(self, model: ModelChoiceModel, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._model, self._theme = model, theme

    def sizeHint(self, option: QStyleOptionViewItem, index: _Index) -> QSize:
        return QSize(200, 11 * GRID)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: _Index) -> None:
        entry: ModelEntry = index.data(EntryRole.ENTRY)
        painter.save()
        box = QRectF(option.rect)
        if option.state & QStyle.StateFlag.State_Selected:
            painter.fillRect(box, self._theme.color("selection"))
        elif option.state & QStyle.StateFlag.State_MouseOver:
            painter.fillRect(box, self._theme.color("hover"))
        inner = box.adjusted(2 * GRID, GRID, -2 * GRID, -GRID)
        loaded = self._model.loaded
        is_loaded = loaded is not None and loaded.info.source == entry.source
        painter.setFont(self._theme.font(BODY, bold=is_loaded))
        painter.setPen(self._theme.color("muted" if entry.problem else "text"))
        self._line(painter, inner, entry.name, Qt.AlignmentFlag.AlignTop)
        second = entry.problem or f"{index.data(EntryRole.ORIGIN)} · {where(entry)}"
        painter.setFont(self._theme.font(CAPTION))
        painter.setPen(self._theme.color("warning" if entry.problem else "muted"))
        self._line(
            painter, inner, f"{second} · loaded" if is_loaded else second, Qt.AlignmentFlag.AlignBottom
        )
        painter.restore()

    @staticmethod
    def _line(painter: QPainter, box: QRectF, text: str, side: Qt.AlignmentFlag) -> None:
        fitted = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, int(box.width()))
        painter.drawText(box, Qt.AlignmentFlag.AlignLeft | side, fitted)


class ModelList(QWidget):
    """Choosing sets the model's :class:`LoadChoice`; everything else is a signal.

    Args:
        model: Models, the choice, downloads.
        theme: Colours and fonts.

    Signals:
        load_requested: A model was confirmed with Enter or a double click: the :class:`LoadChoice`.
        open_folder_requested, open_file_requested: The user wants to point at a model.
        add_server_requested: The user wants to enter a server.
        refresh_requested: Look for models again.
        download_requested: Hub id; also resumes a paused one.
        pause_requested, cancel_download_requested: Hub id.
        remove_download_requested: Hub id of a finished or failed download.
    """

    load_requested = Signal(object)
    open_folder_requested = Signal()
    open_file_requested = Signal()
    add_server_requested = Signal()
    refresh_requested = Signal()
    download_requested = Signal(str)
    pause_requested = Signal(str)
    cancel_download_requested = Signal(str)

    def __init__(self, model: ModelChoiceModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model, self._theme = model, theme
        self._rows: dict[str, DownloadRow] = {}
        self.view = QListView()
        self.view.setObjectName("modelList")
        self.view.setAccessibleName("Models")
        self.view.setModel(model)
        self.view.setItemDelegate(_EntryDelegate(model, theme, self.view))
        self.view.setMouseTracking(True)
        self.view.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.repo = QLineEdit()
        self.repo.setObjectName("hubId")
        self.repo.setAccessibleName("Hub id of a model to download")
        self.repo.setPlaceholderText("owner/model on Hugging Face")
        self.download = QPushButton("Download")
        self.download.setObjectName("downloadButton")
        self._downloads = QVBoxLayout()
        self._lay_out()
        self._connect()
        self._select_choice()
        self._show_downloads()
        self._repo_edited("")

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2 * GRID)
        refresh = QPushButton("Look again")
        refresh.setProperty("kind", "quiet")
        refresh.setObjectName("refreshModels")
        refresh.clicked.connect(self.refresh_requested)
        head = QHBoxLayout()
        head.addWidget(heading("Models", self._theme))
        head.addStretch(1)
        head.addWidget(refresh)
        column.addLayout(head)
        column.addWidget(self.view, 1)
        opening = QHBoxLayout()
        for text, name, signal in (
            ("Open a folder…", "openModelFolder", self.open_folder_requested),
            ("Open a GGUF file…", "openModelFile", self.open_file_requested),
        ):
            button = QPushButton(text)
            button.setObjectName(name)
            button.clicked.connect(signal)
            opening.addWidget(button)
        opening.addStretch(1)
        column.addLayout(opening)
        add = QPushButton("Add a server…")
        add.setObjectName("addServer")
        add.setToolTip("A model that runs elsewhere, behind an OpenAI-compatible API.")
        add.clicked.connect(self.add_server_requested)
        column.addWidget(add, 0, Qt.AlignmentFlag.AlignLeft)
        asking = QHBoxLayout()
        asking.addWidget(self.repo, 1)
        asking.addWidget(self.download)
        column.addLayout(asking)
        column.addLayout(self._downloads)
        column.addWidget(
            note("Safetensors and GGUF. Models that bring their own code are refused.", self._theme)
        )

    def _connect(self) -> None:
        self.view.selectionModel().currentChanged.connect(self._chosen)
        self.view.activated.connect(self._activated)
        self.repo.textChanged.connect(self._repo_edited)
        self.repo.returnPressed.connect(self._download)
        self.download.clicked.connect(self._download)
        self._model.modelReset.connect(self._select_choice)
        self._model.choice_changed.connect(self._select_choice)
        self._model.loaded_changed.connect(self.view.viewport().update)
        self._model.downloads_changed.connect(self._show_downloads)

    def _select_choice(self) -> None:
        choice = self._model.choice
        row = -1 if choice is None else self._model.row_of(choice.model)
        if row >= 0 and self.view.currentIndex().row() != row:
            self.view.setCurrentIndex(self._model.index(row))

    def _chosen(self, index: QModelIndex) -> None:
        if not index.isValid():
            return
        entry: ModelEntry = index.data(EntryRole.ENTRY)
        choice = self._model.choice
        if choice is None:
            self._model.set_choice(LoadChoice(model=entry.source))
        elif choice.model != entry.source:
            # A context length belongs to a model; quantization and device are a habit.
            self._model.change_choice(model=entry.source, context_length=None)

    def _activated(self) -> None:
        if self._model.choice is not None and self._model.inspection_fault is None:
            self.load_requested.emit(self._model.choice)

    def _repo_edited(self, text: str) -> None:
        self.download.setEnabled(_repo_of(text) != "")

    def _download(self) -> None:
        if repo := _repo_of(self.repo.text()):
            self.download_requested.emit(repo)
            self.repo.clear()

    def _show_downloads(self) -> None:
        wanted = {download.repo: download for download in self._model.downloads}
        for repo in [repo for repo in self._rows if repo not in wanted]:
            row = self._rows.pop(repo)
            self._downloads.removeWidget(row)
            row.deleteLater()
        for repo, download in wanted.items():
            if repo not in self._rows:
                row = DownloadRow(repo, self._theme)
                row.pause_requested.connect(self.pause_requested)
                row.resume_requested.connect(self.download_requested)
                row.cancel_requested.connect(self.cancel_download_requested)
                self._rows[repo] = row
                self._downloads.addWidget(row)
            self._rows[repo].show_download(download)


def _repo_of(text: str) -> str:
    """The hub id in what was typed or pasted: ``owner/name``, or a link to the model's page; else empty."""
    text = text.strip().removeprefix("https://").removeprefix("huggingface.co/").strip("/")
    parts = text.split("/")
    allowed = all(part[:1].isalnum() and all(c.isalnum() or c in "-_." for c in part) for part in parts)
    return "/".join(parts[:2]) if allowed and len(parts) >= 2 else ""
