"""The history: every write is on disk when its method returns, or the user is told and the app goes on in
memory. Only a reply that grows is saved behind, on another thread.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from app.history import search
from app.history.keeper import Keeper
from app.history.records import Conversation, Ending, Found, Kind, Reply, State, StoredMessage
from app.history.rows import (
    CONVERSATION_COLUMNS,
    MESSAGE_COLUMNS,
    conversation_from,
    cut_records,
    message_from,
    pack_marks,
    unchoose_siblings,
    unpack_marks,
    write_ending,
)
from app.history.token_codec import decode_tokens, encode_tokens
from app.reporting import Report
from inference.events import ControlsChanged, Role, SamplingControls, Token, to_json


class History:
    """Conversations in one SQLite file; to be used from one thread.

    Args:
        path: The file; made if it is missing, set aside if it is damaged.
        report: Told when the history cannot be kept on disk.
        read_only: Work on a copy in memory and leave the file alone (another window writes to it).
    """

    def __init__(self, path: Path, report: Report, *, read_only: bool = False) -> None:
        self._report = report
        self._keeper = Keeper(path, report, read_only=read_only)
        self._write = self._keeper.write
        self._indexed = search.prepare_index(self._db)
        if self.on_disk:
            self._write(lambda db: db.execute("DELETE FROM conversations WHERE deleted IS NOT NULL"))

    @property
    def _db(self) -> sqlite3.Connection:
        return self._keeper.db

    @property
    def on_disk(self) -> bool:
        """Whether what is written now outlives the app."""
        return self._keeper.on_disk

    def copy_to(self, path: Path) -> None:
        """Write everything into a new file.

        Raises:
            OSError: It cannot be written.
        """
        self._keeper.copy_to(path)

    # --- conversations ----------------------------------------------------------------------------

    def create(
        self,
        title: str,
        *,
        kind: Kind = "chat",
        system_prompt: str = "",
        controls: SamplingControls = SamplingControls(),  # noqa: B008 - frozen
    ) -> Conversation:
        """Begin a conversation."""
        now = time.time()
        row = (title, kind, now, now, system_prompt, json.dumps(to_json(controls)))
        number = self._write(
            lambda db: (
                db.execute(
                    "INSERT INTO conversations (title, kind, created, updated, system_prompt, controls)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    row,
                ).lastrowid
            )
        )
        assert number is not None
        return self.conversation(number)

    def conversations(self) -> tuple[Conversation, ...]:
        """All conversations, the one used last first."""
        rows = self._db.execute(
            f"SELECT {CONVERSATION_COLUMNS} FROM conversations"
            " WHERE deleted IS NULL ORDER BY updated DESC, id DESC"
        )
        return tuple(conversation_from(row) for row in rows)

    def conversation(self, number: int) -> Conversation:
        """One conversation.

        Raises:
            KeyError: There is none of that number.
        """
        row = self._db.execute(
            f"SELECT {CONVERSATION_COLUMNS} FROM conversations WHERE id = ?",
            (number,),
        ).fetchone()
        if row is None:
            raise KeyError(number)
        return conversation_from(row)

    def rename(self, number: int, title: str) -> None:
        """Give a conversation another title."""
        self._write(lambda db: db.execute("UPDATE conversations SET title = ? WHERE id = ?", (title, number)))

    def set_model(self, message: int, model: str) -> None:
        """Note which model writes a message."""
        self._write(lambda db: db.execute("UPDATE messages SET model = ? WHERE id = ?", (model, message)))

    def set_system_prompt(self, number: int, text: str) -> None:
        """Change what the conversation begins with."""
        self._write(
            lambda db: db.execute("UPDATE conversations SET system_prompt = ? WHERE id = ?", (text, number))
        )

    def set_controls(self, number: int, controls: SamplingControls) -> None:
        """Remember the controls that the conversation is used with."""
        packed = json.dumps(to_json(controls))
        self._write(
            lambda db: db.execute("UPDATE conversations SET controls = ? WHERE id = ?", (packed, number))
        )

    def delete(self, number: int) -> None:
        """Take a conversation out of the list; it can be restored until the app ends."""
        self._write(
            lambda db: db.execute("UPDATE conversations SET deleted = ? WHERE id = ?", (time.time(), number))
        )

    def restore(self, number: int) -> None:
        """Undo :meth:`delete`."""
        self._write(lambda db: db.execute("UPDATE conversations SET deleted = NULL WHERE id = ?", (number,)))

    def search(self, words: str, limit: int = 100) -> tuple[Found, ...]:
        """Titles and messages that have all of ``words`` in them; titles first, then the newest messages."""
        return search.find(self._db, words, indexed=self._indexed, limit=limit)

    # --- messages ---------------------------------------------------------------------------------

    def add_message(
        self,
        conversation: int,
        parent: int | None,
        role: Role,
        text: str,
        *,
        state: State = "complete",
        model: str = "",
    ) -> StoredMessage:
        """Add a message under ``parent`` (None: at the beginning); the shown branch now goes through it."""

        def work(db: sqlite3.Connection) -> int:
            now = time.time()
            unchoose_siblings(db, conversation, parent)
            number = db.execute(
                "INSERT INTO messages (conversation, parent, role, text, state, created, model)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (conversation, parent, role, text, state, now, model),
            ).lastrowid
            assert number is not None
            db.execute("UPDATE conversations SET updated = ? WHERE id = ?", (now, conversation))
            if self._indexed and state != "streaming":
                search.index_message(db, number, text)
            return number

        return self.message(self._write(work))

    def message(self, number: int) -> StoredMessage:
        """One message.

        Raises:
            KeyError: There is none of that number.
        """
        row = self._db.execute(f"SELECT {MESSAGE_COLUMNS} FROM messages m WHERE id = ?", (number,)).fetchone()
        if row is None:
            raise KeyError(number)
        return message_from(row)

    def tree(self, conversation: int) -> tuple[StoredMessage, ...]:
        """All messages of a conversation, parents before their children, older siblings first."""
        rows = self._db.execute(
            f"SELECT {MESSAGE_COLUMNS} FROM messages m WHERE conversation = ? ORDER BY id", (conversation,)
        )
        return tuple(message_from(row) for row in rows)

    def path(self, conversation: int) -> tuple[StoredMessage, ...]:
        """The branch that is shown, from the first message to the last."""
        chosen = {m.parent: m for m in self.tree(conversation) if m.chosen}
        path: list[StoredMessage] = []
        message = chosen.get(None)
        while message is not None:
            path.append(message)
            message = chosen.get(message.id)
        return tuple(path)

    def ancestors(self, number: int) -> tuple[StoredMessage, ...]:
        """A message and all that it answers to, from the first one on."""
        path = [self.message(number)]
        while (parent := path[-1].parent) is not None:
            path.append(self.message(parent))
        return tuple(reversed(path))

    def siblings(self, number: int) -> tuple[StoredMessage, ...]:
        """A message and its alternatives, oldest first."""
        message = self.message(number)
        rows = self._db.execute(
            f"SELECT {MESSAGE_COLUMNS} FROM messages m WHERE conversation = ? AND parent IS ? ORDER BY id",
            (message.conversation, message.parent),
        )
        return tuple(message_from(row) for row in rows)

    def choose(self, number: int) -> None:
        """Let the shown branch go through this message rather than through its siblings."""
        message = self.message(number)

        def work(db: sqlite3.Connection) -> None:
            unchoose_siblings(db, message.conversation, message.parent)
            db.execute("UPDATE messages SET chosen = 1 WHERE id = ?", (number,))

        self._write(work)

    # --- replies ----------------------------------------------------------------------------------

    def save_reply(
        self,
        number: int,
        text: str,
        tokens: Sequence[Token] = (),
        *,
        marks: Sequence[ControlsChanged] | None = None,
        keep_tokens: int | None = None,
    ) -> None:
        """Bring a reply on disk up to ``text``.

        Args:
            number: The reply's message.
            text: The whole text so far.
            tokens: What was generated since the last call; only these are written.
            marks: All changes of controls so far; None leaves them as they are.
            keep_tokens: Records from this one on are dropped before (continuing from within a reply).
        """
        self._write(_reply_written(number, text, tokens, marks, keep_tokens))

    def save_reply_behind(
        self, number: int, text: str, tokens: Sequence[Token], marks: Sequence[ControlsChanged]
    ) -> bool:
        """As :meth:`save_reply`, without waiting for it: packing and writing are done on another thread,
        before anything else is read or written.

        Returns:
            False if the last call's is not on disk yet; nothing was done then.
        """
        if self._keeper.busy:
            return False
        self._keeper.write_behind(_reply_written(number, text, tuple(tokens), tuple(marks), None))
        return True

    def end_reply(self, number: int, state: State, ending: Ending = Ending()) -> None:  # noqa: B008 - frozen
        """Note that a reply has ended, and how."""

        def work(db: sqlite3.Connection) -> None:
            db.execute("UPDATE messages SET state = ? WHERE id = ?", (state, number))
            write_ending(db, number, ending)
            if self._indexed:
                text = db.execute("SELECT text FROM messages WHERE id = ?", (number,)).fetchone()[0]
                search.index_message(db, number, text)

        self._write(work)

    def reopen_reply(self, number: int) -> None:
        """Note that a reply is being continued."""

        def work(db: sqlite3.Connection) -> None:
            db.execute("UPDATE messages SET state = 'streaming' WHERE id = ?", (number,))
            write_ending(db, number, Ending())
            if self._indexed:
                db.execute("DELETE FROM message_index WHERE rowid = ?", (number,))

        self._write(work)

    def reply(self, number: int) -> Reply:
        """The token records and marks of a reply."""
        tokens = tuple(token for piece in self.records(number) for token in piece)
        return Reply(tokens=tokens, marks=self.marks(number))

    def records(self, number: int) -> Iterator[tuple[Token, ...]]:
        """The token records of a reply in the pieces that they were saved in; a damaged piece ends them."""
        rows = self._db.execute(
            "SELECT packed FROM token_records WHERE message = ? ORDER BY first", (number,)
        ).fetchall()
        try:
            for (packed,) in rows:
                yield decode_tokens(packed)
        except ValueError as error:
            self._report(
                kind="history-damaged",
                message="Some token records of this reply cannot be read.",
                hint="The text is whole. Open the token view again to have it read anew by the model.",
                details=str(error),
            )

    def has_records(self, number: int) -> bool:
        """Whether there are token records of a message."""
        query = "SELECT 1 FROM token_records WHERE message = ? LIMIT 1"
        return self._db.execute(query, (number,)).fetchone() is not None

    def marks(self, number: int) -> tuple[ControlsChanged, ...]:
        """Where the controls were changed in a reply."""
        row = self._db.execute("SELECT marks FROM messages WHERE id = ?", (number,)).fetchone()
        return unpack_marks(row[0]) if row else ()

    def unfinished(self) -> tuple[StoredMessage, ...]:
        """Replies that were being written when the app last ended without saying good-bye."""
        rows = self._db.execute(
            f"SELECT {MESSAGE_COLUMNS} FROM messages m"
            " JOIN conversations c ON c.id = m.conversation"
            " WHERE m.state = 'streaming' AND c.deleted IS NULL ORDER BY m.id"
        )
        return tuple(message_from(row) for row in rows)

    # --- disk and memory --------------------------------------------------------------------------

    def save_again(self) -> bool:
        """Write what is only in memory to the file, if there is room again; returns whether all is on
        disk.
        """
        return self._keeper.save_again()

    def close(self) -> None:
        """Release the file; what is only in memory is written if that has become possible."""
        self._keeper.close()


def _reply_written(
    number: int,
    text: str,
    tokens: Sequence[Token],
    marks: Sequence[ControlsChanged] | None,
    keep_tokens: int | None,
) -> Callable[[sqlite3.Connection], None]:
    """What brings a reply on disk up to date."""

    def work(db: sqlite3.Connection) -> None:
        packed = encode_tokens(tokens) if tokens else b""
        db.execute("UPDATE messages SET text = ? WHERE id = ?", (text, number))
        if marks is not None:
            db.execute("UPDATE messages SET marks = ? WHERE id = ?", (pack_marks(marks), number))
        if keep_tokens is not None:
            cut_records(db, number, keep_tokens)
        if packed:
            first = tokens[0].index
            db.execute("INSERT OR REPLACE INTO token_records VALUES (?, ?, ?)", (number, first, packed))

    return work
