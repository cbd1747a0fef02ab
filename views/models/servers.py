"""The servers that the user has entered, and the one that is being entered."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from inference.events import Server, ServerModels
from views.models.faults import Fault


class ServersModel(QObject):
    """Written by a controller, shown by the sheet where a server is entered.

    Attributes:
        server: The one that is being changed; None for a new one.
        has_key: Whether a key of it is kept.
        found: What the server answered when it was asked for its models.
        looking: Whether it is being asked.
        fault: Why it can't be used.
        notice: Where prompts would go, in words.
        warns: Whether the notice is a warning: prompts leave this machine.
        key_file: Where keys are kept.

    Signals:
        opened: Another server is to be entered or changed.
        changed: Something else of it is to be shown.
    """

    opened = Signal()
    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.server: Server | None = None
        self.has_key = False
        self.found: ServerModels | None = None
        self.looking = False
        self.fault: Fault | None = None
        self.notice = ""
        self.warns = False
        self.key_file = ""

    def open(self, server: Server | None, *, has_key: bool) -> None:
        """Enter a new server (None) or change one."""
        self.server, self.has_key = server, has_key
        self.found, self.looking, self.fault = None, False, None
        self.opened.emit()
        self.changed.emit()

    def look(self) -> None:
        """The server is asked for its models."""
        self.looking, self.fault = True, None
        self.changed.emit()

    def show_found(self, found: ServerModels) -> None:
        """The server has answered."""
        self.looking, self.found, self.fault = False, found, None
        self.changed.emit()

    def refuse(self, fault: Fault | None) -> None:
        """It can't be used (None: asking was given up)."""
        self.looking, self.fault = False, fault
        self.changed.emit()

    def set_notice(self, notice: str, *, warns: bool) -> None:
        """Say where prompts would go."""
        if (notice, warns) != (self.notice, self.warns):
            self.notice, self.warns = notice, warns
            self.changed.emit()
