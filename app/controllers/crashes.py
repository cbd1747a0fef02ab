"""Offers the report of a session that ended unexpectedly; what happens to it is the user's choice."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal, Slot

from app.crashes import CrashReport
from app.reporting import Report
from app.settings import write_whole
from views.crash_view import CrashView
from views.offer_bar import OfferBar


class CrashesController(QObject):
    """The bar that offers the report, and the sheet that shows it.

    Args:
        report: Of the last session; None if that ended properly.
        bar: Offers it.
        sheet: Shows it.
        faults: Told what could not be written.
    """

    #: Something to say in the status line.
    told = Signal(str)

    def __init__(
        self,
        *,
        report: CrashReport | None,
        bar: OfferBar,
        sheet: CrashView,
        faults: Report,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._report, self._bar, self._sheet, self._faults = report, bar, sheet, faults
        bar.chosen.connect(self._choose)
        sheet.delete_requested.connect(self.delete)

    def offer(self) -> None:
        """Show the bar if there is a report."""
        if self._report is not None:
            self._bar.offer(
                "Model Loupe did not end properly the last time.",
                "What was saved is here again. There is a report of it, which stays on this machine.",
                (("view", "View the report"), ("delete", "Delete it")),
            )

    @property
    def text(self) -> str:
        """The report; empty if there is none."""
        return self._report.text if self._report is not None else ""

    @Slot()
    def delete(self) -> None:
        """Remove the report."""
        if self._report is None:
            return
        if not self._report.delete():
            self._faults(
                kind="report-undeletable",
                message="The report could not be deleted.",
                hint="Check the permissions of the folder of the logs.",
                details=str(self._report.file),
            )
            return
        self._report = None
        self._sheet.close_sheet()
        self._bar.withdraw()
        self.told.emit("The report is deleted.")

    def save(self, path: Path) -> bool:
        """Write a copy of the report; returns whether that went well."""
        try:
            write_whole(path, self.text)
        except OSError as error:
            self._faults(
                kind="export-failed",
                message=f"{path.name} could not be written.",
                hint="Choose another place; the report is still here.",
                details=str(error),
            )
            return False
        self.told.emit(f"Written to {path.name}.")
        return True

    @Slot(str)
    def _choose(self, answer: str) -> None:
        if answer == "view":
            self._bar.withdraw()
            self._sheet.show_report(self.text)
        else:
            self.delete()
