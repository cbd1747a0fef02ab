"""Where the history is kept: in its file while that can be written, in memory when it cannot."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from app.history import schema
from app.reporting import Report

T = TypeVar("T")


class Keeper:
    """The connection to the file, or to a copy in memory; no failure of the disk stops the app.

    Args:
        path: The file; made if it is missing, set aside if it is damaged.
        report: Told when the history cannot be kept on disk.
        read_only: Work on a copy in memory and leave the file alone.
    """

    def __init__(self, path: Path, report: Report, *, read_only: bool = False) -> None:
        self._path = path
        self._report = report
        self._writable = not read_only
        self.on_disk = False
        self.db = self._copy_of_file() if read_only else self._open()

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do ``work`` in one transaction; when the disk refuses, do it in memory and say so."""
        try:
            return _in_transaction(self.db, work)
        except sqlite3.DatabaseError as error:
            if not self.on_disk or isinstance(error, (sqlite3.IntegrityError, sqlite3.ProgrammingError)):
                raise
            self._move_to_memory(error)
        return _in_transaction(self.db, work)

    def save_again(self) -> bool:
        """Write what is only in memory to the file, if there is room again; returns whether all is on
        disk.
        """
        if self.on_disk or not self._writable:
            return self.on_disk
        try:
            disk = sqlite3.connect(self._path, timeout=2.0, isolation_level=None)
            self.db.backup(disk)
            disk.close()
            disk = schema.open_database(self._path)
        except (sqlite3.Error, OSError):
            return False
        self.db.close()
        self.db, self.on_disk = disk, True
        return True

    def copy_to(self, path: Path) -> None:
        """Write everything into a new file.

        Raises:
            OSError: It cannot be written.
        """
        try:
            with contextlib.closing(sqlite3.connect(path)) as disk:
                self.db.backup(disk)
        except sqlite3.Error as error:
            raise OSError(str(error)) from error

    def close(self) -> None:
        """Release the file; what is only in memory is written if that has become possible."""
        self.save_again()
        with contextlib.suppress(sqlite3.Error):
            if self.on_disk:
                self.db.execute("PRAGMA optimize")
        self.db.close()

    def _open(self) -> sqlite3.Connection:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            db = schema.open_database(self._path)
        except schema.NewerHistory:
            self._writable = False
            self._report_newer("")
            return self._copy_of_file()
        except sqlite3.OperationalError as error:
            return self._without_file(error)
        except sqlite3.DatabaseError as error:
            return self._begin_anew(error)
        except OSError as error:
            return self._without_file(error)
        self.on_disk = True
        return db

    def _report_newer(self, details: str) -> None:
        self._report(
            kind="history-newer",
            message="The history was written by a newer version of Model Loupe.",
            hint="Use that version to see it. It is left as it is; this window keeps nothing.",
            details=f"{self._path}\n{details}",
        )

    def _begin_anew(self, error: Exception) -> sqlite3.Connection:
        try:
            aside = schema.set_aside(self._path)
            db = schema.open_database(self._path)
        except (sqlite3.Error, OSError) as second:
            return self._without_file(second)
        self.on_disk = True
        self._report(
            kind="history-damaged",
            message="The history file was damaged; a new one was begun.",
            hint=f"The damaged file is kept as {aside.name}.",
            details=f"{aside}\n{error}",
        )
        return db

    def _without_file(self, error: Exception) -> sqlite3.Connection:
        self._say_in_memory(error)
        return schema.open_memory()

    def _copy_of_file(self) -> sqlite3.Connection:
        memory = schema.open_memory()
        with contextlib.suppress(sqlite3.Error, OSError):
            if self._path.exists():
                with contextlib.closing(sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True)) as disk:
                    if int(disk.execute("PRAGMA user_version").fetchone()[0]) > len(schema.MIGRATIONS):
                        return self._copy_of_newer(disk)
                    disk.backup(memory)
        schema.configure(memory)
        return memory

    def _copy_of_newer(self, disk: sqlite3.Connection) -> sqlite3.Connection:
        """As much of a later version's file as this version's tables hold; all of it or nothing."""
        memory = schema.open_memory()
        try:
            schema.copy_rows(disk, memory)
        except sqlite3.Error as error:
            self._report_newer(str(error))
            memory = schema.open_memory()
        schema.configure(memory)
        return memory

    def _move_to_memory(self, error: Exception) -> None:
        memory = sqlite3.connect(":memory:", isolation_level=None)
        try:
            self.db.backup(memory)
        except sqlite3.Error:
            memory = schema.open_memory()
        schema.configure(memory)
        with contextlib.suppress(sqlite3.Error):
            self.db.close()
        self.db, self.on_disk = memory, False
        self._say_in_memory(error)

    def _say_in_memory(self, error: Exception) -> None:
        full = "full" in str(error)
        self._report(
            kind="disk-full" if full else "history-unwritable",
            message="The disk is full: conversations are kept in memory only."
            if full
            else "The history cannot be written: conversations are kept in memory only.",
            hint="Free some space, then save again; closing the app tries too."
            if full
            else "Check the folder's permissions, then save again; closing the app tries too.",
            details=f"{self._path}\n{error}",
            action="save-history",
            action_label="Save again",
        )


def _in_transaction(db: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    db.execute("BEGIN IMMEDIATE")
    try:
        result = work(db)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return result
