"""What comes back after a crash, and a profile that a newer version has written."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QPushButton

from app.bootstrap import App, Options
from app.history import History
from app.newer import copy_for, is_newer
from app.profile import Profile
from app.settings import SettingsFile

Start = Callable[[Path], App]


@pytest.fixture
def start(qtbot: Any, qapp: QApplication, fake_session: Any) -> Iterator[Start]:
    """Start the app on a profile; all are closed at the end."""
    apps: list[App] = []

    def make(folder: Path) -> App:
        app = App(
            qapp,
            Options(
                profile=Profile.under(folder),
                make_engine=lambda: fake_session,
                make_librarian=lambda: fake_session,
            ),
        )
        apps.append(app)
        app.show()
        qtbot.waitUntil(lambda: app.models.models.loaded is not None)
        return app

    yield make
    for app in apps:
        app.widgets.window.close()
        app.theme.deleteLater()
        app.widgets.window.deleteLater()


def say(app: App, qtbot: Any, text: str) -> None:
    app.widgets.intents.send_requested.emit(text)
    qtbot.waitUntil(lambda: bool(app.models.transcript.messages) and not app.generation.running)


def press(app: App, qtbot: Any, name: str) -> None:
    button = app.widgets.window.findChild(QPushButton, name)
    assert button is not None, name
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def after_a_crash(folder: Path) -> Path:
    """The profile as a killed process would leave it: copied while the app runs."""
    copy = folder.with_name(f"{folder.name} after {len(list(folder.parent.iterdir()))}")
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("in-use.lock"))
    return copy


def test_after_a_crash_the_session_comes_back_and_a_report_is_offered(
    start: Start, qtbot: Any, tmp_path: Path
) -> None:
    first = start(tmp_path / "profile")
    say(first, qtbot, "Where was I?")
    first.widgets.inspector.show_panel("lens")
    first.widgets.window.conversation_dock.hide()
    settings = Profile.under(tmp_path / "profile").settings_file
    qtbot.waitUntil(lambda: '"lens"' in settings.read_text() if settings.exists() else False)

    second = start(after_a_crash(tmp_path / "profile"))
    assert [message.text for message in second.models.transcript.messages][:1] == ["Where was I?"]
    assert second.widgets.inspector.current == "lens"
    assert not second.widgets.window.conversation_dock.isVisible()
    assert second.widgets.crash_bar.isVisible()
    press(second, qtbot, "crashBar-view")
    assert second.widgets.crash.isVisible()
    assert "Where was I?" not in second.widgets.crash.text.toPlainText()


def test_what_was_in_front_comes_back_unless_a_reply_waits_to_be_continued(
    start: Start, fake_session: Any, qtbot: Any, tmp_path: Path
) -> None:
    first = start(tmp_path / "profile")
    first.widgets.window.show_mode("compare")
    settings = Profile.under(tmp_path / "profile").settings_file
    qtbot.waitUntil(lambda: '"compare"' in settings.read_text() if settings.exists() else False)
    copy = after_a_crash(tmp_path / "profile")
    assert start(copy).widgets.window.mode == "compare"

    history = History(first.options.profile.history_file, lambda **fault: pytest.fail(str(fault)))
    chat = history.create("cut")
    asked = history.add_message(chat.id, None, "user", "Long?")
    history.add_message(chat.id, asked.id, "assistant", "It is", state="streaming")
    history.close()
    again = after_a_crash(tmp_path / "profile")
    assert start(again).widgets.window.mode == "chat"


def test_after_a_proper_end_nothing_is_offered(start: Start, tmp_path: Path) -> None:
    start(tmp_path / "profile").widgets.window.close()
    assert not start(tmp_path / "profile").widgets.crash_bar.isVisible()


@pytest.fixture
def newer(tmp_path: Path, make_tokens: Any) -> Path:
    """A profile with one conversation and settings, both of a later version."""
    profile = Profile.under(tmp_path / "profile")
    history = History(profile.history_file, lambda **fault: pytest.fail(str(fault)))
    chat = history.create("From the future")
    asked = history.add_message(chat.id, None, "user", "Who wins?")
    reply = history.add_message(chat.id, asked.id, "assistant", "", state="streaming")
    history.save_reply(reply.id, "You do", make_tokens(["You", " do"]))
    history.close()
    with contextlib.closing(sqlite3.connect(profile.history_file)) as db, db:
        db.execute("ALTER TABLE messages ADD COLUMN mood TEXT NOT NULL DEFAULT 'merry'")
        db.execute("CREATE TABLE moods (name TEXT)")
        db.execute("PRAGMA user_version = 99")
    profile.settings_file.write_text(json.dumps({"version": 99, "page": {"theme": "dark"}, "new": [1]}))
    return tmp_path / "profile"


def kept(folder: Path) -> dict[str, bytes]:
    """What must not change: settings and history, with the write-ahead log merged in."""
    profile = Profile.under(folder)
    with contextlib.closing(sqlite3.connect(f"{profile.history_file.as_uri()}?mode=ro", uri=True)) as db:
        dump = "\n".join(db.iterdump())
    return {"history": dump.encode(), "settings": profile.settings_file.read_bytes()}


def test_a_newer_profile_can_be_read_and_is_left_as_it_was(start: Start, qtbot: Any, newer: Path) -> None:
    before = kept(newer)
    app = start(newer)
    assert app.widgets.newer_bar.isVisible()
    assert app.theme.dark
    assert app.models.conversations.rowCount() == 2  # a heading and the conversation
    (entry,) = app.history.conversations()
    app.chat.open(entry.id)
    assert [message.text for message in app.models.transcript.messages] == ["Who wins?", "You do"]
    say(app, qtbot, "And then?")
    app.models.settings.update(theme="light")
    app.widgets.window.close()
    assert kept(newer) == before
    assert not (newer / "libraries").exists()
    assert [fault.kind for fault in app.models.faults.faults] == []


def test_a_copy_of_a_newer_profile_can_be_written(start: Start, qtbot: Any, newer: Path) -> None:
    before = kept(newer)
    app = start(newer)
    commands: list[list[str]] = []
    app.newer.start = lambda command: commands.append(list(command))  # type: ignore[method-assign]
    press(app, qtbot, "newerBar-copy")
    target = copy_for(Profile.under(newer))
    assert commands[0][-2:] == ["--profile", str(target)]
    qtbot.waitUntil(lambda: not app.widgets.window.isVisible())
    assert kept(newer) == before
    assert not is_newer(Profile.under(target))
    copy = start(target)
    assert not copy.widgets.newer_bar.isVisible()
    say(copy, qtbot, "Kept?")
    assert copy.history.on_disk
    assert copy.theme.dark
    assert [message.text for message in copy.models.transcript.messages][:3] == [
        "Who wins?",
        "You do",
        "Kept?",
    ]


def test_quitting_and_going_on_are_offered_too(start: Start, qtbot: Any, newer: Path) -> None:
    app = start(newer)
    press(app, qtbot, "newerBar-stay")
    assert not app.widgets.newer_bar.isVisible()
    app.newer.offer()
    press(app, qtbot, "newerBar-quit")
    assert not app.widgets.window.isVisible()


def test_a_copy_that_fails_is_told_and_leaves_nothing_half_done(
    start: Start, qtbot: Any, newer: Path
) -> None:
    app = start(newer)
    target = copy_for(Profile.under(newer))
    target.with_name(f"{target.name}.part").write_text("in the way")
    press(app, qtbot, "newerBar-copy")
    assert [fault.kind for fault in app.models.faults.faults] == ["copy-failed"]
    assert app.widgets.window.isVisible()
    assert not target.exists()


def test_a_newer_history_in_other_tables_is_not_shown_and_not_touched(
    start: Start, newer: Path, faults: Any
) -> None:
    profile = Profile.under(newer)
    with contextlib.closing(sqlite3.connect(profile.history_file)) as db, db:
        db.execute("ALTER TABLE messages RENAME COLUMN role TO speaker")
    before = kept(newer)
    app = start(newer)
    assert app.history.conversations() == ()
    assert [fault.kind for fault in app.models.faults.faults] == ["history-newer"]
    app.widgets.window.close()
    assert kept(newer) == before


def test_newer_settings_that_are_no_settings_stay_where_they_are(tmp_path: Path, faults: Any) -> None:
    path = tmp_path / "settings.json"
    path.write_text("{")
    SettingsFile(path, faults, read_only=True).load()
    assert path.read_text() == "{"
    assert faults.kinds == ["settings-damaged"]


def test_what_was_written_and_not_sent_comes_back_with_its_conversation(
    start: Start, qtbot: Any, tmp_path: Path
) -> None:
    app = start(tmp_path / "profile")
    say(app, qtbot, "sent")
    first = app.chat.conversation
    composer = app.widgets.chat.composer
    qtbot.keyClicks(composer.field, "half a question")
    app.chat.new_chat()
    assert composer.text() == ""
    qtbot.keyClicks(composer.field, "another one")
    settings = app.options.profile.settings_file
    qtbot.waitUntil(lambda: settings.exists() and "another one" in settings.read_text(encoding="utf-8"))

    again = start(after_a_crash(tmp_path / "profile"))
    composer = again.widgets.chat.composer
    assert composer.text() == "another one"
    again.chat.open(first)
    assert composer.text() == "half a question"
    composer.send()
    qtbot.waitUntil(lambda: not again.generation.running)
    again.chat.new_chat()
    again.chat.open(first)
    assert composer.text() == ""
    qtbot.keyClicks(composer.field, "of a deleted one")
    assert first is not None
    settings = again.options.profile.settings_file
    qtbot.waitUntil(lambda: "of a deleted one" in settings.read_text(encoding="utf-8"))
    again.history.delete(first)

    last = start(after_a_crash(again.options.profile.data))
    assert [number for number, _ in last.remembering.remembered.unsent] == [0]
