"""The ledger of a library (SQLite): its files, what became of them, and vectors that wait for their document.

What stands here counts: a passage in the store whose document is not in the ledger is not searched. So one
commit here makes a document searchable as a whole, and a crash at any moment leaves either the old state or
the new one.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from inference.documents.embedding import Vectors
from inference.errors import DiskFull, UnreadableFile
from inference.events import DocumentEntry

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS roots (path TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS excluded (path TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (
    file TEXT PRIMARY KEY, document TEXT NOT NULL, hash TEXT NOT NULL, size INTEGER NOT NULL, modified
    INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL, message TEXT NOT NULL, title TEXT NOT NULL,
    pages INTEGER NOT NULL, passages INTEGER NOT NULL, problems TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS staged (key BLOB PRIMARY KEY, document TEXT NOT NULL, vector BLOB NOT NULL)
WITHOUT ROWID;
"""
#: How passages are cut and what is kept of them. A document's name in the store ends with the format it was
#: read in (:func:`inference.documents.scanning.document_name`); the library's own format is that of names
#: without one.
FORMAT = "3"
_RECOGNISED = "r"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A file of the library; ``document`` names its passages in the store and changes with its content.
    ``outdated``: an earlier version of the app read it.
    """

    file: str
    document: str
    hash: str
    size: int
    modified: int
    state: str
    reason: str = ""
    message: str = ""
    title: str = ""
    pages: int = 0
    passages: int = 0
    problems: tuple[str, ...] = ()
    outdated: bool = False

    @property
    def entry(self) -> DocumentEntry:
        """The row as views see it."""
        return DocumentEntry(
            file=self.file,
            state=self.state,
            reason=self.reason,
            message=self.message,
            title=self.title,
            pages=self.pages,
            passages=self.passages,
            size=self.size,
            problems=self.problems,
        )


class Ledger:
    """One SQLite file; safe to use from several threads and processes."""

    def __init__(self, file: Path) -> None:
        self._lock = threading.RLock()
        try:
            self._db = sqlite3.connect(file, timeout=30, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise UnreadableFile(
                f"The library's ledger {file.name} can't be opened.",
                hint="Remove the library's folder and index its documents again.",
                details=repr(error),
            ) from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextlib.contextmanager
    def _commit(self) -> Iterator[sqlite3.Connection]:
        """All or nothing."""
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except BaseException as error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError) and "full" in str(error):
                    raise DiskFull("There is no room to write the library.", details=repr(error)) from error
                raise

    def _all(self, query: str, values: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    def fact(self, name: str) -> str | None:
        """A fact about the library, such as its embedder."""
        rows = self._all("SELECT value FROM facts WHERE name = ?", (name,))
        return str(rows[0][0]) if rows else None

    def set_fact(self, name: str, value: str) -> None:
        """Write a fact."""
        with self._commit() as db:
            db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def roots(self) -> list[str]:
        """Files and folders that the user added."""
        return [str(row[0]) for row in self._all("SELECT path FROM roots ORDER BY path")]

    def excluded(self) -> list[str]:
        """Files and folders below a root that the user took out."""
        return [str(row[0]) for row in self._all("SELECT path FROM excluded ORDER BY path")]

    def change_roots(self, *, add: Iterable[str], remove: Iterable[str]) -> None:
        """Add and remove files and folders; a folder takes along what was added or taken out below it."""
        with self._commit() as db:
            for here, there, paths in (("roots", "excluded", add), ("excluded", "roots", remove)):
                for path in paths:
                    below = path.rstrip("/\\") + os.sep
                    where = "WHERE path = ? OR substr(path, 1, ?) = ?"
                    db.execute(f"DELETE FROM {there} {where}", (path, len(below), below))
                    db.execute(f"INSERT OR IGNORE INTO {here} VALUES (?)", (path,))

    def drop_roots(self, paths: Iterable[str]) -> None:
        """Forget that files were added: they are no longer there."""
        with self._commit() as db:
            db.executemany("DELETE FROM roots WHERE path = ?", [(path,) for path in paths])

    def rows(self) -> dict[str, Row]:
        """All files by their path."""
        query = (
            "SELECT file, document, hash, size, modified, state, reason, message, title, pages, passages, "
            "problems FROM documents ORDER BY file"
        )
        names = (
            "file",
            "document",
            "hash",
            "size",
            "modified",
            "state",
            "reason",
            "message",
            "title",
            "pages",
            "passages",
        )
        old = self.fact("format") not in (None, FORMAT)
        rows = {}
        for values in self._all(query):
            row = Row(
                **dict(zip(names, values, strict=False)),  # type: ignore[arg-type]
                problems=tuple(json.loads(str(values[-1]))),
                outdated=old and format_of(str(values[1])) != FORMAT,
            )
            rows[row.file] = row
        return rows

    def files_of_documents(self) -> dict[str, str]:
        """The searchable documents: their names in the store, and their files."""
        found = self._all("SELECT document, file FROM documents WHERE state = 'indexed' AND passages > 0")
        return {str(document): str(file) for document, file in found}

    def put(self, row: Row) -> None:
        """Write a file's row, its state from now on, and drop the vectors that waited for it."""
        values = (
            row.file, row.document, row.hash, row.size, row.modified, row.state, row.reason, row.message,
            row.title, row.pages, row.passages, json.dumps(row.problems),
        )  # fmt: skip
        with self._commit() as db:
            db.execute(f"INSERT OR REPLACE INTO documents VALUES ({', '.join('?' * 12)})", values)
            db.execute("DELETE FROM staged WHERE document = ?", (row.document,))

    def touch(self, row: Row, *, size: int, modified: int) -> None:
        """Note that a file was looked at again and holds the same."""
        self.put(replace(row, size=size, modified=modified))

    def forget(self, files: Iterable[str]) -> None:
        """Drop files."""
        with self._commit() as db:
            db.executemany("DELETE FROM documents WHERE file = ?", [(file,) for file in files])

    def stage(self, document: str, keys: list[bytes], vectors: Vectors) -> None:
        """Keep vectors that were computed, so that they are not computed again if the work breaks off."""
        rows = [(key, document, vector.tobytes()) for key, vector in zip(keys, vectors, strict=True)]
        with self._commit() as db:
            db.executemany("INSERT OR REPLACE INTO staged VALUES (?, ?, ?)", rows)

    def staged(self, document: str) -> dict[bytes, Vectors]:
        """The vectors that wait for a document."""
        found = self._all("SELECT key, vector FROM staged WHERE document = ?", (document,))
        return {bytes(key): np.frombuffer(vector, dtype=np.float32) for key, vector in found}  # type: ignore[call-overload]

    def staged_documents(self) -> list[str]:
        """Documents of which vectors wait."""
        return [str(row[0]) for row in self._all("SELECT DISTINCT document FROM staged")]

    def drop_staged(self) -> None:
        """Drop all vectors that wait: a run that went through every file leaves none of use."""
        with self._commit() as db:
            db.execute("DELETE FROM staged")


def format_of(document: str) -> str:
    """The format that a document was read in; empty for names of earlier versions, which do not say."""
    parts = document.split("-")
    return parts[2].removesuffix(_RECOGNISED) if len(parts) > 2 else ""


def edition(*, recognised: bool) -> str:
    """The end of the name of a document that is read now: the format, and whether pictures of text are read,
    so that what is read again never has the name of what it replaces.
    """
    return FORMAT + _RECOGNISED * recognised
