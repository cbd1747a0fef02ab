"""Where the history is kept: in its file while that can be written, in memory when it cannot."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from app.history import schema
from app.reporting import Report

T = TypeVar("T")


class Keeper:
    """The connection to the file, or to a copy in memory; no failure of the disk stops the app.

    One write at a time may be done behind the caller's back, on a thread of its own. Whoever needs the
    connection meanwhile waits for it, so that everything happens in the order in which it was asked for.

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
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="history")
        self._behind: tuple[Future[object], Callable[[sqlite3.Connection], object]] | None = None
        self._db = self._copy_of_file() if read_only else self._open()

    @property
    def db(self) -> sqlite3.Connection:
        """The connection, when nothing is being written behind."""
        self.settle()
        return self._db

    @property
    def busy(self) -> bool:
        """Whether something is being written behind."""
        return self._behind is not None and not self._behind[0].done()

    def write_behind(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Do ``work`` in one transaction on another thread. What the disk refuses is done again by the next
        call of any method, which moves to memory and says so.
        """
        db = self.db
        self._behind = self._writer.submit(_in_transaction, db, work), work

    def settle(self) -> None:
        """Wait for what is being written behind."""
        if self._behind is None:
            return
        (future, work), self._behind = self._behind, None
        if future.exception() is not None:
            self.write(work)

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do ``work`` in one transaction; when the disk refuses, do it in memory and say so."""
        self.settle()
        try:
            return _in_transaction(self._db, work)
        except sqlite3.DatabaseError as error:
            if not self.on_disk or isinstance(error, (sqlite3.IntegrityError, sqlite3.ProgrammingError)):
                raise
            self._move_to_memory(error)
        return _in_transaction(self._db, work)

    def save_again(self) -> bool:
        """Write what is only in memory to the file, if there is room again; returns whether all is on
        disk.
        """
        self.settle()
        if self.on_disk or not self._writable:
            return self.on_disk
        try:
            disk = schema.connect(self._path)
            self._db.backup(disk)
            disk.close()
            disk = schema.open_database(self._path)
        except (sqlite3.Error, OSError):
            return False
        self._db.close()
        self._db, self.on_disk = disk, True
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
        self._writer.shutdown()
        with contextlib.suppress(sqlite3.Error):
            if self.on_disk:
                self._db.execute("PRAGMA optimize")
        self._db.close()

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
        memory = schema.connect(":memory:")
        try:
            self._db.backup(memory)
        except sqlite3.Error:
            memory = schema.open_memory()
        schema.configure(memory)
        with contextlib.suppress(sqlite3.Error):
            self._db.close()
        self._db, self.on_disk = memory, False
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
