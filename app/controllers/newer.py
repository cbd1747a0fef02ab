"""A profile of a newer version is open without being written to: what the user can do about that."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence

from PySide6.QtCore import QObject, Signal, Slot

from app.history import History
from app.launcher import running_command
from app.newer import copy_for, copy_profile
from app.profile import Profile
from app.reporting import Report
from app.settings import Remembered
from views.offer_bar import OfferBar


def start_apart(command: Sequence[str]) -> None:
    """Start a program that lives on when this one ends."""
    subprocess.Popen(command, start_new_session=True)


class NewerController(QObject):
    """The bar that says so, and its answers.

    Args:
        profile: The profile of the newer version.
        remembered: Its settings.
        history: Its conversations.
        bar: Offers what can be done.
        faults: Told what could not be written.
        start: Starts the app again.
    """

    #: The window is to be closed.
    quit_wanted = Signal()

    def __init__(
        self,
        *,
        profile: Profile,
        remembered: Remembered,
        history: History,
        bar: OfferBar,
        faults: Report,
        start: Callable[[Sequence[str]], None] = start_apart,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._profile, self._remembered, self._history = profile, remembered, history
        self._bar, self._faults, self.start = bar, faults, start
        bar.chosen.connect(self._choose)

    def offer(self) -> None:
        """Show the bar."""
        target = copy_for(self._profile)
        about = "made before" if target.exists() else "with settings and conversations"
        self._bar.offer(
            "A newer version of Model Loupe has used this profile.",
            f"It is open to be read; nothing that you do here is kept. A copy {about}: {target}",
            (
                ("copy", "Open the copy" if target.exists() else "Make a copy and open it"),
                ("quit", "Quit"),
                ("stay", "Continue without saving"),
            ),
        )

    @Slot(str)
    def _choose(self, answer: str) -> None:
        if answer == "stay":
            self._bar.withdraw()
        elif answer == "quit" or self._open_copy():
            self.quit_wanted.emit()

    def _open_copy(self) -> bool:
        target = copy_for(self._profile)
        try:
            if not target.exists():
                copy_profile(self._remembered, self._history, target)
            self.start([*running_command(), "--profile", str(target)])
        except OSError as error:
            self._faults(
                kind="copy-failed",
                message="The profile could not be copied.",
                hint="Check that the disk is not full, or start with --profile and an empty folder.",
                details=f"{target}\n{error}",
            )
            return False
        return True
