"""How far reading documents is, with buttons to pause it, go on, and stop for good."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QVBoxLayout, QWidget

from inference.events import IndexProgress
from views.document_intents import DocumentIntents
from views.models.format import format_seconds
from views.models.library import LibraryModel
from views.panel_parts import Ink, tool_button
from views.theme import CAPTION, GRID, Theme

_STAGES = {
    "scanning": "Looking for changes",
    "reading": "Reading",
    "embedding": "Reading",
    "writing": "Writing",
    "tidying": "Tidying up",
}


class IndexProgressBar(QWidget):
    """Shown while there is something to read, or to go on with."""

    def __init__(
        self, model: LibraryModel, intents: DocumentIntents, theme: Theme, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("indexProgress")
        self.setAccessibleName("Progress of reading")
        self._model = model
        self._file = ""
        self._stage = Ink("", theme)
        self._stage.setObjectName("indexStage")
        self._detail = Ink("", theme, tone="muted", size=CAPTION, wrap=True)
        self._detail.setObjectName("indexDetail")
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName("Progress of reading")
        self.pause = tool_button(theme, "pause", "Pause reading", "pauseIndexing")
        self.resume = tool_button(theme, "play", "Go on reading", "resumeIndexing")
        self.cancel = tool_button(
            theme, "close", "Stop, and leave out what is not read yet", "cancelIndexing"
        )
        self.pause.clicked.connect(intents.pause_requested)
        self.resume.clicked.connect(intents.resume_requested)
        self.cancel.clicked.connect(intents.cancel_requested)
        top = QHBoxLayout()
        top.setSpacing(0)
        top.addWidget(self._stage, 1)
        for button in (self.pause, self.resume, self.cancel):
            top.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(GRID)
        column.addLayout(top)
        column.addWidget(self._bar)
        column.addWidget(self._detail)
        model.changed.connect(self._show)
        model.progressed.connect(self._show)
        self._show()

    def _show(self, *_: object) -> None:
        state, progress = self._model.state, self._model.progress
        self.setVisible(state not in ("closed", "idle"))
        self.pause.setVisible(state == "indexing")
        self.resume.setVisible(state == "paused")
        self.cancel.setVisible(state in ("indexing", "paused"))
        known = progress is not None and progress.files_total > 0
        self._bar.setRange(0, 1000 if known or state == "paused" else 0)
        self._bar.setValue(round(1000 * _share(progress)) if progress is not None and known else 0)
        if state == "opening":
            self._put("Opening the library", "")
        elif state == "paused":
            self._put("Paused", _how_far(progress))
        elif state == "stopping":
            self._put("Stopping after this page", _how_far(progress))
        elif progress is None:
            self._put("Getting ready", "")
        else:
            name = Path(progress.file).name
            self._put(f"{_STAGES.get(progress.stage, 'Reading')} {name}".rstrip(), _how_far(progress))

    def _put(self, stage: str, detail: str) -> None:
        room = max(80, self._stage.width() - 2 * GRID)
        metrics = QFontMetrics(self._stage.font())
        self._stage.setText(metrics.elidedText(stage, Qt.TextElideMode.ElideMiddle, room))
        self._stage.setToolTip(stage)
        self._detail.setText("\n".join(line for line in (detail, self._why()) if line))

    def _why(self) -> str:
        """Why documents are read that were read before."""
        if not self._model.outdated:
            return ""
        return (
            "An earlier version of the app read this library. It is read anew, and can be searched meanwhile."
        )


def _share(progress: IndexProgress) -> float:
    """Share of the files, and of the pages of the one at hand."""
    if not progress.files_total:
        return 0.0
    pages = progress.page / progress.file_pages if progress.file_pages else 0.0
    return min((progress.files_done + min(pages, 0.99)) / progress.files_total, 1.0)


def _how_far(progress: IndexProgress | None) -> str:
    if progress is None or not progress.files_total:
        return ""
    number = min(progress.files_done + 1, progress.files_total)
    parts = [f"file {number:,} of {progress.files_total:,}"]
    if progress.file_pages:
        parts.append(f"page {progress.page:,} of {progress.file_pages:,}")
    if progress.seconds_left is not None and progress.seconds_left >= 1:
        left = progress.seconds_left
        parts.append(f"about {f'{left:.0f} s' if left < 60 else format_seconds(left)} left")
    return "  ·  ".join(parts)
