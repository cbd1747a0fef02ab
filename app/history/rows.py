"""Rows of the history's tables as objects."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, fields
from typing import Any

from app.history.records import Conversation, Ending, Kind, StoredMessage
from app.history.token_codec import decode_tokens, encode_tokens
from app.plain import from_plain, read_fields
from inference.events import ControlsChanged, SamplingControls

CONVERSATION_COLUMNS = "id, title, kind, created, updated, system_prompt, controls"
_MESSAGE_FIELDS = ("id", "conversation", "parent", "role", "text", "state", "chosen", "created", "model")
ENDING_FIELDS = tuple(item.name for item in fields(Ending))
MESSAGE_COLUMNS = ", ".join(f"m.{name}" for name in (*_MESSAGE_FIELDS, *ENDING_FIELDS))


def unchoose_siblings(db: sqlite3.Connection, conversation: int, parent: int | None) -> None:
    db.execute(
        "UPDATE messages SET chosen = 0 WHERE conversation = ? AND parent IS ?", (conversation, parent)
    )


def cut_records(db: sqlite3.Connection, message: int, keep: int) -> None:
    """Drop the records of the tokens from number ``keep`` on; the chunk that it lies in is cut."""
    row = db.execute(
        "SELECT first, packed FROM token_records WHERE message = ? AND first < ? ORDER BY first DESC LIMIT 1",
        (message, keep),
    ).fetchone()
    db.execute("DELETE FROM token_records WHERE message = ? AND first >= ?", (message, keep))
    if row is not None:
        kept = [token for token in decode_tokens(row[1]) if token.index < keep]
        db.execute(
            "UPDATE token_records SET packed = ? WHERE message = ? AND first = ?",
            (encode_tokens(kept), message, row[0]),
        )


def pack_marks(marks: Sequence[ControlsChanged]) -> str:
    return json.dumps([[mark.index, mark.changes] for mark in marks])


def unpack_marks(packed: str) -> tuple[ControlsChanged, ...]:
    kind = tuple[tuple[int, tuple[tuple[str, str, str], ...]], ...]
    return tuple(
        ControlsChanged(run_id=0, index=index, changes=changes)
        for index, changes in from_plain(kind, json.loads(packed))
    )


def write_ending(db: sqlite3.Connection, message: int, ending: Ending) -> None:
    columns = ", ".join(f"{name} = ?" for name in ENDING_FIELDS)
    db.execute(f"UPDATE messages SET {columns} WHERE id = ?", (*astuple(ending), message))


def conversation_from(row: tuple[int, str, Kind, float, float, str, str]) -> Conversation:
    number, title, kind, created, updated, system_prompt, controls = row
    return Conversation(
        id=number,
        title=title,
        kind=kind,
        created=created,
        updated=updated,
        system_prompt=system_prompt,
        controls=read_fields(SamplingControls, json.loads(controls))[0],
    )


def message_from(row: Sequence[object]) -> StoredMessage:
    values: dict[str, Any] = dict(zip(_MESSAGE_FIELDS, row, strict=False))
    values["chosen"] = bool(values["chosen"])
    ending: dict[str, Any] = dict(zip(ENDING_FIELDS, row[len(_MESSAGE_FIELDS) :], strict=True))
    return StoredMessage(**values, ending=Ending(**ending))
