"""How any part of the app says that something went wrong, without knowing who shows it."""

from __future__ import annotations

from typing import Protocol


class Report(Protocol):
    """Shows one fault to the user."""

    def __call__(
        self,
        *,
        kind: str,
        message: str,
        hint: str,
        details: str = "",
        action: str = "",
        action_label: str = "",
    ) -> None:
        """Say what happened (``message``), what to do (``hint``), and what to copy into a report
        (``details``).

        ``action`` names a remedy that is offered as a button with the text ``action_label``.
        """
        ...
