"""Finding words in conversations: an FTS5 index of trigrams where SQLite has it, a scan otherwise; the same
hits.
"""

from __future__ import annotations

import sqlite3

from app.history.records import Found

_AROUND = 40
_SHORTEST_INDEXED = 3


def prepare_index(db: sqlite3.Connection) -> bool:
    """Make the index if SQLite can, and refill it if it does not cover the messages; returns whether there
    is one.
    """
    try:
        db.execute("CREATE VIRTUAL TABLE IF NOT EXISTS message_index USING fts5 (text, tokenize = 'trigram')")
    except sqlite3.OperationalError as error:
        if "fts5" in str(error) or "tokenizer" in str(error):
            return False
        raise
    indexed = db.execute("SELECT count(*) FROM message_index").fetchone()[0]
    stored = db.execute("SELECT count(*) FROM messages WHERE state != 'streaming'").fetchone()[0]
    if indexed != stored:
        with db:
            db.execute("DELETE FROM message_index")
            db.execute(
                "INSERT INTO message_index (rowid, text)"
                " SELECT id, text FROM messages WHERE state != 'streaming'"
            )
    return True


def index_message(db: sqlite3.Connection, message: int, text: str) -> None:
    """Take a finished message's text into the index, in place of what it was before."""
    db.execute("DELETE FROM message_index WHERE rowid = ?", (message,))
    db.execute("INSERT INTO message_index (rowid, text) VALUES (?, ?)", (message, text))


def find(db: sqlite3.Connection, words: str, *, indexed: bool, limit: int) -> tuple[Found, ...]:
    """Conversations whose title, or a message of theirs, has every one of ``words`` in it, whatever the
    case.
    """
    terms = words.split()
    if not terms:
        return ()
    titles = db.execute(
        f"SELECT id, NULL, title FROM conversations WHERE deleted IS NULL AND {_like('title', terms)}"
        " ORDER BY updated DESC LIMIT ?",
        (*_patterns(terms), limit),
    ).fetchall()
    if indexed and all(len(term) >= _SHORTEST_INDEXED for term in terms):
        source, condition = (
            "message_index JOIN messages m ON m.id = message_index.rowid",
            "message_index MATCH ?",
        )
        values: tuple[str, ...] = (" AND ".join('"' + term.replace('"', '""') + '"' for term in terms),)
    else:
        source, condition = "messages m", f"m.state != 'streaming' AND {_like('m.text', terms)}"
        values = _patterns(terms)
    texts = db.execute(
        f"SELECT m.conversation, m.id, m.text FROM {source} JOIN conversations c ON c.id = m.conversation"
        f" WHERE c.deleted IS NULL AND {condition} ORDER BY m.id DESC LIMIT ?",
        (*values, limit),
    ).fetchall()
    return tuple(
        Found(conversation=conversation, message=message, excerpt=_excerpt(text, terms[0]))
        for conversation, message, text in (titles + texts)[:limit]
    )


def _like(column: str, terms: list[str]) -> str:
    return " AND ".join(f"{column} LIKE ? ESCAPE '\\'" for _ in terms)


def _patterns(terms: list[str]) -> tuple[str, ...]:
    escaped = (t.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") for t in terms)
    return tuple(f"%{term}%" for term in escaped)


def _excerpt(text: str, term: str) -> str:
    at = max(text.lower().find(term.lower()), 0)
    start, end = max(at - _AROUND, 0), at + len(term) + _AROUND
    words = " ".join(text[start:end].split())
    return ("…" if start else "") + words + ("…" if end < len(text) else "")
