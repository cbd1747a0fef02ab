"""The history when things go wrong: damaged and newer files, a full disk, a second window, kill -9."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.history import History, schema
from inference.events import Token


def test_a_damaged_file_is_set_aside_and_a_new_one_begun(
    open_history: Callable[..., History], history_path: Path, faults: Any
) -> None:
    history_path.parent.mkdir(parents=True)
    history_path.write_bytes(b"not a database, but " * 500)
    history = open_history()
    assert faults.kinds == ["history-damaged"]
    (aside,) = history_path.parent.glob("*.damaged-*")
    assert aside.name in faults[0]["hint"]
    assert aside.read_bytes().startswith(b"not a database")
    history.create("new")
    assert history.on_disk


def test_a_file_whose_pages_are_damaged_is_noticed_at_start(
    open_history: Callable[..., History], history_path: Path, faults: Any
) -> None:
    history = open_history()
    chat = history.create("c")
    for number in range(200):
        history.add_message(chat.id, None, "user", f"message {number} " * 20)
    history.close()
    raw = bytearray(history_path.read_bytes())
    for start in range(8192, len(raw), 4096):
        raw[start : start + 64] = b"\xff" * 64
    history_path.write_bytes(bytes(raw))
    open_history().create("new")
    assert faults.kinds == ["history-damaged"]


def test_two_files_damaged_in_the_same_second_are_both_kept(history_path: Path) -> None:
    history_path.parent.mkdir(parents=True)
    history_path.write_text("one")
    first = schema.set_aside(history_path)
    history_path.write_text("two")
    second = schema.set_aside(history_path)
    assert (first.read_text(), second.read_text()) == ("one", "two")


def test_a_file_of_a_newer_version_is_left_as_it_is(
    open_history: Callable[..., History], history_path: Path, faults: Any
) -> None:
    open_history().close()
    with contextlib.closing(sqlite3.connect(history_path)) as db:
        db.execute("PRAGMA user_version = 9999")
    before = history_path.read_bytes()
    history = open_history()
    history.create("not kept")
    history.close()
    assert faults.kinds == ["history-newer"]
    assert history_path.read_bytes() == before


def test_an_older_file_is_copied_aside_and_brought_up_to_date(history_path: Path) -> None:
    history_path.parent.mkdir(parents=True)
    old = ("CREATE TABLE notes (text TEXT)",)
    with contextlib.closing(schema.open_database(history_path, old)) as db:
        db.execute("INSERT INTO notes VALUES ('kept')")
    new = (*old, "ALTER TABLE notes ADD COLUMN colour TEXT NOT NULL DEFAULT 'blue'")
    with contextlib.closing(schema.open_database(history_path, new)) as db:
        assert db.execute("SELECT * FROM notes").fetchall() == [("kept", "blue")]
    with contextlib.closing(sqlite3.connect(history_path.with_name("history.v1.backup.sqlite3"))) as copy:
        assert copy.execute("SELECT * FROM notes").fetchall() == [("kept",)]


def test_a_migration_that_fails_leaves_the_older_file_whole(history_path: Path) -> None:
    history_path.parent.mkdir(parents=True)
    old = ("CREATE TABLE notes (text TEXT)",)
    schema.open_database(history_path, old).close()
    broken = (*old, "CREATE TABLE more (text TEXT); INSERT INTO nowhere VALUES (1)")
    with pytest.raises(sqlite3.OperationalError):
        schema.open_database(history_path, broken)
    with contextlib.closing(schema.open_database(history_path, old)) as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_master")]
    assert names == ["notes"]


def test_a_full_disk_moves_the_history_to_memory_and_back_when_there_is_room(
    open_history: Callable[..., History], history_path: Path, faults: Any
) -> None:
    history = open_history()
    chat = history.create("c")
    kept = history.add_message(chat.id, None, "user", "before")
    pages = history._db.execute("PRAGMA page_count").fetchone()[0]
    history._db.execute(f"PRAGMA max_page_count = {pages}")
    long = "a long message " * 2000
    added = history.add_message(chat.id, kept.id, "user", long)
    assert faults.kinds == ["disk-full"]
    assert not history.on_disk
    assert [m.text for m in history.path(chat.id)] == ["before", long]
    assert history.save_again()
    history.add_message(chat.id, added.id, "user", "after")
    history.close()
    assert [m.text for m in open_history().path(chat.id)] == ["before", long, "after"]


def test_a_reply_saved_behind_is_there_for_whoever_asks_next(
    history: History, make_tokens: Callable[..., tuple[Token, ...]]
) -> None:
    reply = history.add_message(history.create("c").id, None, "assistant", "", state="streaming")
    tokens = make_tokens(["a", " b"])
    assert history.save_reply_behind(reply.id, "a b", tokens, ())
    assert history.message(reply.id).text == "a b"
    assert [token.text for token in history.reply(reply.id).tokens] == ["a", " b"]


def test_a_full_disk_is_noticed_when_a_reply_is_saved_behind(
    open_history: Callable[..., History],
    make_tokens: Callable[..., tuple[Token, ...]],
    faults: Any,
) -> None:
    history = open_history()
    chat = history.create("c")
    reply = history.add_message(chat.id, None, "assistant", "", state="streaming")
    pages = history._db.execute("PRAGMA page_count").fetchone()[0]
    history._db.execute(f"PRAGMA max_page_count = {pages}")
    long = "a long reply " * 2000
    assert history.save_reply_behind(reply.id, long, make_tokens([long]), ())
    assert history.message(reply.id).text == long
    assert faults.kinds == ["disk-full"]
    assert not history.on_disk
    assert history.save_again()
    history.close()
    assert [token.text for token in open_history().reply(reply.id).tokens] == [long]


def test_a_slow_disk_gets_what_came_meanwhile_the_next_time(
    open_history: Callable[..., History],
    history_path: Path,
    make_tokens: Callable[..., tuple[Token, ...]],
    faults: Any,
) -> None:
    history = open_history()
    reply = history.add_message(history.create("c").id, None, "assistant", "", state="streaming")
    with contextlib.closing(sqlite3.connect(history_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert history.save_reply_behind(reply.id, "a", make_tokens(["a"]), ())
        assert not history.save_reply_behind(reply.id, "a b", make_tokens(["a", " b"]), ())
        other.execute("ROLLBACK")
    history.close()
    history = open_history()
    assert history.message(reply.id).text == "a"
    assert faults == []


def test_closing_tries_to_write_what_is_only_in_memory(open_history: Callable[..., History]) -> None:
    history = open_history()
    chat = history.create("c")
    pages = history._db.execute("PRAGMA page_count").fetchone()[0]
    history._db.execute(f"PRAGMA max_page_count = {pages}")
    history.add_message(chat.id, None, "user", "x" * 50_000)
    assert not history.on_disk
    history.close()
    assert [len(m.text) for m in open_history().path(chat.id)] == [50_000]


def test_a_folder_that_cannot_be_made_means_memory(tmp_path: Path, faults: Any) -> None:
    (tmp_path / "file").write_text("in the way")
    history = History(tmp_path / "file" / "history.sqlite3", faults)
    chat = history.create("c")
    assert history.conversations() == (chat,)
    assert faults.kinds == ["history-unwritable"]
    history.close()


def test_a_second_window_works_on_a_copy(open_history: Callable[..., History], faults: Any) -> None:
    first = open_history()
    chat = first.create("shared")
    second = open_history(read_only=True)
    second.create("only here")
    second.add_message(chat.id, None, "user", "only here")
    second.close()
    assert [c.title for c in first.conversations()] == ["shared"]
    assert first.path(chat.id) == ()


_WRITER = """
import sys, time
from pathlib import Path
from app.history import History
from inference.events import Token
history = History(Path(sys.argv[1]), print)
chat = history.create("killed")
ask = history.add_message(chat.id, None, "user", "sent")
reply = history.add_message(chat.id, ask.id, "assistant", "", state="streaming")
text = ""
for index in range(10_000):
    text += f" {index}"
    token = Token(run_id=1, index=index, id=index, text=f" {index}", data=b"", special=False, raw_logprob=-1,
                  sampled_prob=0.5, entropy=1.0, candidates=(), stages=(), at=0.0)
    if sys.argv[2] == "behind":
        while not history.save_reply_behind(reply.id, text, [token], ()):
            time.sleep(0.001)
    else:
        history.save_reply(reply.id, text, [token])
    print(index, flush=True)
"""


@pytest.mark.parametrize(("way", "on_its_way"), [("at once", 0), ("behind", 1)])
def test_kill_9_while_a_reply_is_saved_loses_nothing_that_was_written(
    open_history: Callable[..., History], history_path: Path, faults: Any, way: str, on_its_way: int
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(history_path), way], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    seen = -1
    for line in process.stdout:
        seen = int(line)
        if seen == 40:
            process.send_signal(signal.SIGKILL)
            break
    process.stdout.close()
    process.wait()
    history = open_history()
    (reply,) = history.unfinished()
    numbers = [int(word) for word in reply.text.split()]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > seen - on_its_way
    tokens: tuple[Token, ...] = history.reply(reply.id).tokens
    assert [token.index for token in tokens] == numbers
    assert history.path(reply.conversation)[0].text == "sent"
    assert faults == []
