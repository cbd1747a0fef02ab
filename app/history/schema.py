"""The tables of the history, how older files are brought up to date, and how a file is opened or set
aside.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

#: Step N (counted from 1) turns a file of version N - 1 into one of version N; an empty file is version 0.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE conversations (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        title TEXT NOT NULL,
        kind TEXT NOT NULL DEFAULT 'chat',
        created REAL NOT NULL,
        updated REAL NOT NULL,
        system_prompt TEXT NOT NULL DEFAULT '',
        controls TEXT NOT NULL DEFAULT '{}',
        deleted REAL
    );
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        conversation INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
        parent INTEGER REFERENCES messages (id) ON DELETE CASCADE,
        role TEXT NOT NULL,
        text TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'complete',
        chosen INTEGER NOT NULL DEFAULT 1,
        created REAL NOT NULL,
        model TEXT NOT NULL DEFAULT '',
        reason TEXT NOT NULL DEFAULT '',
        problem TEXT NOT NULL DEFAULT '',
        seed INTEGER,
        prompt_tokens INTEGER NOT NULL DEFAULT 0,
        new_tokens INTEGER NOT NULL DEFAULT 0,
        prefill_seconds REAL NOT NULL DEFAULT 0,
        tokens_per_second REAL NOT NULL DEFAULT 0,
        marks TEXT NOT NULL DEFAULT '[]'
    );
    CREATE INDEX messages_by_parent ON messages (conversation, parent);
    CREATE TABLE token_records (
        message INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
        first INTEGER NOT NULL,
        packed BLOB NOT NULL,
        PRIMARY KEY (message, first)
    ) WITHOUT ROWID;
    """,
)

#: Files up to this size are checked as a whole at start (0.1 s or so); larger ones only where they are read.
_CHECKED_BYTES = 64 * 2**20


class NewerHistory(Exception):
    """The file was written by a later version of the app."""


def open_database(path: Path, migrations: Sequence[str] = MIGRATIONS) -> sqlite3.Connection:
    """Open a history file, creating it or bringing it up to date; an older one is copied beside itself
    before.

    Raises:
        sqlite3.Error: The file is damaged or cannot be written.
        NewerHistory: The file is of a later version; it was not touched.
    """
    existed = path.exists()
    db = connect(path)
    try:
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        if version > len(migrations):
            raise NewerHistory(path.name)
        if existed and path.stat().st_size <= _CHECKED_BYTES:
            answer = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if answer != "ok":
                raise sqlite3.DatabaseError(answer)
        configure(db)
        db.execute("PRAGMA journal_mode = WAL")
        # Safe against a crash of the app at any moment; only a power cut can lose the last commits, never
        # the file.
        db.execute("PRAGMA synchronous = NORMAL")
        if 0 < version < len(migrations):
            _copy_aside(db, path.with_name(f"{path.stem}.v{version}.backup{path.suffix}"))
        migrate(db, migrations)
    except BaseException:
        db.close()
        raise
    return db


def version_of(path: Path) -> int:
    """The version of a history file, which is not changed; 0 if there is none or it cannot be read."""
    with contextlib.suppress(sqlite3.Error, OSError):
        if path.exists():
            with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
                return int(db.execute("PRAGMA user_version").fetchone()[0])
    return 0


def copy_rows(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Copy what the tables of this version hold from a file of a later one into an empty database.

    Raises:
        sqlite3.Error: The later version keeps these things in another way.
    """
    target.execute("PRAGMA foreign_keys = OFF")
    for table in ("conversations", "messages", "token_records"):
        columns = [row[1] for row in target.execute(f"PRAGMA table_info({table})")]
        names = ", ".join(columns)
        marks = ", ".join("?" * len(columns))
        rows = source.execute(f"SELECT {names} FROM {table}")
        target.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)


def open_memory() -> sqlite3.Connection:
    """An empty history that lives as long as the app."""
    db = connect(":memory:")
    configure(db)
    migrate(db)
    return db


def connect(path: Path | str) -> sqlite3.Connection:
    """A connection that may go from thread to thread, used by one at a time."""
    return sqlite3.connect(path, timeout=2.0, isolation_level=None, check_same_thread=False)


def configure(db: sqlite3.Connection) -> None:
    """Set what holds for every connection."""
    db.execute("PRAGMA foreign_keys = ON")


def migrate(db: sqlite3.Connection, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Bring the tables up to date, each step whole or not at all, and make the search index where it is
    missing.
    """
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    for number, statements in enumerate(migrations[version:], start=version + 1):
        try:
            db.executescript(f"BEGIN; {statements}; PRAGMA user_version = {number}; COMMIT;")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


def set_aside(path: Path) -> Path:
    """Move a damaged file and its companions out of the way and return where it is now."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    target = path.with_name(f"{path.stem}.damaged-{stamp}{path.suffix}")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.stem}.damaged-{stamp}-{number}{path.suffix}")
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(target.with_name(target.name + suffix))
    return target


def _copy_aside(db: sqlite3.Connection, target: Path) -> None:
    with contextlib.closing(sqlite3.connect(target)) as copy:
        db.backup(copy)
