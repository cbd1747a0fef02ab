"""One download: how far it is, and buttons to pause, resume and cancel it."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QVBoxLayout, QWidget

from views.models.format import format_bytes
from views.models.model_choice import Download
from views.panel_parts import Ink, tool_button
from views.theme import CAPTION, GRID, Theme

_WORDS = {"running": "", "paused": "paused", "failed": "failed", "done": "done"}


class DownloadRow(QWidget):
    """Shows a :class:`Download`.

    Signals:
        pause_requested, resume_requested: Hub id.
        cancel_requested: Hub id; also takes a finished or failed one off the list.
    """

    pause_requested = Signal(str)
    resume_requested = Signal(str)
    cancel_requested = Signal(str)

    def __init__(self, repo: str, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(f"download-{repo}")
        self._name = Ink(repo, theme)
        self._how_far = Ink("", theme, tone="muted", size=CAPTION, mono=True)
        self._problem = Ink("", theme, tone="danger", size=CAPTION, wrap=True)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setAccessibleName(f"Download of {repo}")
        self.pause = tool_button(theme, "pause", f"Pause the download of {repo}", "pauseDownload")
        self.resume = tool_button(theme, "play", f"Resume the download of {repo}", "resumeDownload")
        self.cancel = tool_button(theme, "close", f"Cancel the download of {repo}", "cancelDownload")
        for button, signal in (
            (self.pause, self.pause_requested),
            (self.resume, self.resume_requested),
            (self.cancel, self.cancel_requested),
        ):
            button.clicked.connect(lambda _=False, signal=signal: signal.emit(repo))
        top = QHBoxLayout()
        top.setSpacing(GRID)
        top.addWidget(self._name)
        top.addStretch(1)
        top.addWidget(self._how_far)
        for button in (self.pause, self.resume, self.cancel):
            top.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(top)
        column.addWidget(self.bar)
        column.addWidget(self._problem)

    def show_download(self, download: Download) -> None:
        """Show the state of a download."""
        known = download.total > 0
        self.bar.setVisible(download.state in ("running", "paused"))
        self.bar.setRange(0, 1000 if known or download.state != "running" else 0)
        self.bar.setValue(round(1000 * min(download.done / download.total, 1)) if known else 0)
        words = _WORDS[download.state]
        if download.state in ("running", "paused"):
            words = f"{words} {_amount(download)}".strip()
        self._how_far.setText(words)
        self._problem.setText(download.message)
        self._problem.setVisible(bool(download.message))
        self.pause.setVisible(download.state == "running")
        self.resume.setVisible(download.state in ("paused", "failed"))
        self.cancel.setToolTip("Remove from the list" if download.state in ("done", "failed") else "Cancel")


def _amount(download: Download) -> str:
    if download.unit == "bytes":
        done, total = format_bytes(download.done), format_bytes(download.total)
    else:
        done, total = str(download.done), f"{download.total} {download.unit}"
    return f"{done} of {total}" if download.total else done if download.done else "starting"
