"""The line at the bottom: what is going on, how far it is, and a way to cancel it."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import QSize, Qt, QTimer, Signal
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QProgressBar, QToolButton, QWidget

from views.theme import CAPTION, Theme, Tone

StatusTone = Literal["muted", "danger", "warning", "success"]


class StatusLine(QFrame):
    """Shows one message at a time (label ``statusMessage``); progress is at the right while there is any."""

    #: The cancel button beside the progress bar was pressed.
    cancel_requested = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("statusLine")
        self.setFixedHeight(28)
        self._lasting: tuple[str, Tone] = ("", "muted")
        self._message = QLabel(self)
        self._message.setObjectName("statusMessage")
        self._message.setAccessibleName("Status")
        self._message.setTextFormat(Qt.TextFormat.PlainText)
        self._message.setMinimumWidth(40)
        self._message.setFont(theme.font(CAPTION))
        self._stage = QLabel(self)
        self._stage.setObjectName("progressStage")
        self._stage.setFont(theme.font(CAPTION))
        self._stage.setProperty("tone", "muted")
        self._bar = QProgressBar(self)
        self._bar.setObjectName("progressBar")
        self._bar.setAccessibleName("Progress")
        self._bar.setTextVisible(False)
        self._bar.setFixedWidth(160)
        self._cancel = QToolButton(self)
        self._cancel.setObjectName("cancelProgress")
        self._cancel.setAccessibleName("Cancel")
        self._cancel.setToolTip("Cancel")
        self._cancel.setFixedSize(24, 22)
        theme.set_icon(self._cancel, "close", "muted")
        self._cancel.clicked.connect(self.cancel_requested)
        row = QHBoxLayout(self)
        row.setContentsMargins(16, 0, 8, 0)
        row.setSpacing(8)
        row.addWidget(self._message, 1)
        for widget in (self._stage, self._bar, self._cancel):
            row.addWidget(widget)
        self._theme, self._row = theme, row
        self._fade = QTimer(self)
        self._fade.setSingleShot(True)
        self._fade.timeout.connect(self._show_lasting)
        self.clear_progress()
        self.show_message("")

    def message(self) -> str:
        """What the line says now."""
        return self._message.text()

    def add_button(self, action: QAction, icon: str) -> None:
        """Offer an action of the window at the right end."""
        button = QToolButton(self)
        button.setObjectName(f"{action.objectName()}Button")
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        button.setText(f" {action.text()}")
        keys = action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
        button.setToolTip(f"{action.text()} ({keys})" if keys else action.text())
        button.setAccessibleName(action.text())
        button.setIconSize(QSize(14, 14))
        button.setFont(self._theme.font(CAPTION))
        button.setFixedHeight(22)
        self._theme.set_icon(button, icon, "muted")
        button.clicked.connect(action.trigger)
        self._row.addWidget(button)

    def show_message(self, text: str, tone: StatusTone = "muted", *, milliseconds: int = 0) -> None:
        """Say something; for a while only if ``milliseconds`` is given."""
        self._fade.stop()
        if milliseconds:
            self._fade.start(milliseconds)
        else:
            self._lasting = (text, tone)
        self._put(text, tone)

    def show_progress(self, stage: str, done: int = 0, total: int = 0, *, cancellable: bool = True) -> None:
        """Show how far a long piece of work is; ``total`` 0: not known."""
        self._stage.setText(stage)
        self._bar.setRange(0, 1000 if total else 0)
        if total:
            self._bar.setValue(round(1000 * min(done / total, 1.0)))
        for widget in (self._stage, self._bar):
            widget.show()
        self._cancel.setVisible(cancellable)

    def clear_progress(self) -> None:
        """The work is done."""
        self._bar.setRange(0, 1000)
        for widget in (self._stage, self._bar, self._cancel):
            widget.hide()

    def _show_lasting(self) -> None:
        self._put(*self._lasting)

    def _put(self, text: str, tone: Tone) -> None:
        self._message.setText(text)
        self._message.setToolTip(text)
        if self._message.property("tone") != tone:
            self._message.setProperty("tone", tone)
            self._message.style().unpolish(self._message)
            self._message.style().polish(self._message)
