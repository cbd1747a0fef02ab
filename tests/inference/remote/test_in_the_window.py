"""A model on a server in the real window: entered, connected, chatted with, and what its panels say."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QWidget

from app.bootstrap import App, Options
from app.profile import Profile
from inference.session import Session
from views.models.focus import TokenSpan

CHAT = "/v1/chat/completions"


@pytest.fixture
def start(
    qtbot: Any, qapp: QApplication, tmp_path: Path, nothing_left_running: None
) -> Iterator[Callable[[], App]]:
    """Start the app on one profile; no model is loaded by itself."""
    apps: list[App] = []

    def make() -> App:
        profile = Profile.under(tmp_path / "profile")
        if not profile.settings_file.exists():
            profile.settings_file.parent.mkdir(parents=True, exist_ok=True)
            profile.settings_file.write_text(json.dumps({"page": {"load_last_model": False}}))
        app = App(qapp, Options(profile=profile, make_engine=Session, make_librarian=Session))
        apps.append(app)
        with qtbot.waitSignal(app.painted):
            app.show()
        return app

    yield make
    for app in apps:
        app.widgets.window.close()
        app.theme.deleteLater()
        app.widgets.window.deleteLater()


def child(app: App, name: str) -> Any:
    found = app.widgets.window.findChild(QWidget, name)
    assert found is not None, name
    return found


def press(app: App, qtbot: Any, name: str) -> None:
    button = child(app, name)
    assert button.isVisible(), name
    assert button.isEnabled(), name
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def enter(app: App, qtbot: Any, url: str, *, key: str = "") -> None:
    """Enter a server as a user does, up to Save."""
    app.shell.open_picker()
    press(app, qtbot, "addServer")
    qtbot.keyClicks(child(app, "serverUrl"), url)
    qtbot.keyClicks(child(app, "serverKey"), key)
    press(app, qtbot, "serverLook")
    qtbot.waitUntil(lambda: not app.models.servers.looking)
    press(app, qtbot, "saveServer")


def connect(app: App, qtbot: Any) -> None:
    press(app, qtbot, "loadButton")
    qtbot.waitUntil(lambda: app.models.models.loaded is not None)
    qtbot.waitUntil(lambda: bool(app.models.explanation.methods), timeout=60_000)


def say(app: App, qtbot: Any, text: str) -> None:
    qtbot.keyClicks(child(app, "composer"), text)
    qtbot.mouseClick(child(app, "sendButton"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not app.generation.running)


def test_a_server_is_entered_and_answers(start: Callable[[], App], qtbot: Any, server: Any) -> None:
    server.lists("tiny", owner="vllm", max_model_len=4096)
    server.plays(CHAT, "vllm-chat.sse")
    app = start()
    enter(app, qtbot, server.url, key="sk-secret")
    host = server.url.partition("://")[2].partition("/")[0]
    assert len(server.requests) == 1  # the list of models, which a button asked for
    assert app.models.models.choice.model == f"openai:{server.url}#tiny"
    connect(app, qtbot)
    assert f"on this machine {host}" in app.widgets.header.model_button.toolTip()
    say(app, qtbot, "Which river is the longest?")
    reply = app.models.transcript.last_reply
    assert reply.text == "The Nile."
    assert server.bodies[-1]["messages"][-1] == {"role": "user", "content": "Which river is the longest?"}
    # The key is in its own file, which nobody else may read, and nowhere else in the profile.
    app.close()
    kept = app.options.profile.keys_file
    assert json.loads(kept.read_text()) == {server.url: "sk-secret"}
    assert os.name != "posix" or stat.S_IMODE(kept.stat().st_mode) == 0o600
    others = [path for path in kept.parent.rglob("*") if path.is_file() and path != kept]
    assert others
    assert all(b"sk-secret" not in path.read_bytes() for path in others)
    assert all(headers["Authorization"] == "Bearer sk-secret" for _, headers, _ in server.requests)


def test_panels_say_what_a_server_gives_and_what_not(
    start: Callable[[], App], qtbot: Any, server: Any
) -> None:
    server.lists("tiny", owner="vllm")
    server.plays(CHAT, "vllm-chat.sse")
    app = start()
    enter(app, qtbot, server.url)
    connect(app, qtbot)
    say(app, qtbot, "Which river is the longest?")
    reply = app.models.transcript.last_reply
    app.widgets.inspector.show_panel("token")
    app.models.focus.set_focus(TokenSpan(reply.id, 1, 2))
    token = app.widgets.token
    assert token.table.model().rowCount() == 2
    rest = child(app, "restBar")
    assert rest.isVisible()
    assert rest.share == pytest.approx(1 - 0.6065 - 0.3329, abs=1e-3)
    assert "(raw), before any control" in token._recorded.text()
    app.widgets.inspector.show_panel("sampling")
    assert child(app, "minP").isEnabled()
    assert "next reply" in child(app, "serverControls").text()
    app.widgets.inspector.show_panel("steer")
    assert child(app, "steerServer").isVisible()
    assert not child(app, "turnDown").isEnabled()
    assert "on a server" in app.models.lens.problem
    assert "on a server" in app.models.attention.problem
    assert app.models.explanation.options.method == "server-leave-one-out"
    assert not app.models.explanation.method_problem


def test_controls_that_a_server_does_not_take_are_off(
    start: Callable[[], App], qtbot: Any, server: Any, said: Callable[..., bytes]
) -> None:
    server.lists("tiny", owner="library")
    server.streams(CHAT, said("Yes"), said(".", end="stop"))
    app = start()
    enter(app, qtbot, server.url)
    connect(app, qtbot)
    say(app, qtbot, "Yes?")
    assert not child(app, "minP").isEnabled()
    assert child(app, "temperature").isEnabled()
    assert "Min-p" in child(app, "serverControls").text()
    reply = app.models.transcript.last_reply
    app.widgets.inspector.show_panel("token")
    app.models.focus.set_focus(TokenSpan(reply.id, 0, 1))
    assert "gave no probabilities" in app.widgets.token._recorded.text()
    assert child(app, "fact-raw").text() == "not told"
    # Going on is told to be impossible, and nothing is sent.
    sent = len(server.requests)
    app.chat.continue_reply(reply.id)
    assert "not known to go on" in child(app, "statusMessage").text()
    assert len(server.requests) == sent


def test_a_branch_goes_on_from_the_text_before_it(start: Callable[[], App], qtbot: Any, server: Any) -> None:
    server.lists("tiny", owner="vllm")
    server.plays(CHAT, "vllm-chat.sse")
    app = start()
    enter(app, qtbot, server.url)
    connect(app, qtbot)
    say(app, qtbot, "Which river is the longest?")
    reply = app.models.transcript.last_reply
    app.widgets.intents.candidate_requested.emit(reply.id, 1, 1)
    qtbot.waitUntil(lambda: not app.generation.running)
    body = server.bodies[-1]
    assert body["messages"][-1] == {"role": "assistant", "content": "The Amazon"}
    assert body["continue_final_message"] is True
    assert app.models.transcript.last_reply.text == "The AmazonThe Nile."


def test_a_reply_that_breaks_off_stays_and_the_fault_is_told(
    start: Callable[[], App], qtbot: Any, server: Any, said: Callable[..., bytes]
) -> None:
    server.streams(CHAT, said("The longest"), b"data: {broken\n\n")
    app = start()
    enter(app, qtbot, server.url, key="sk-secret")
    connect(app, qtbot)
    say(app, qtbot, "Which river is the longest?")
    reply = app.models.transcript.last_reply
    assert (reply.text, reply.state) == ("The longest", "failed")
    qtbot.waitUntil(lambda: len(app.models.faults.faults) > 0)
    assert "sk-secret" not in repr(app.models.faults.faults)


def test_a_server_that_cannot_be_reached_is_told_in_the_sheet(start: Callable[[], App], qtbot: Any) -> None:
    app = start()
    app.shell.open_picker()
    press(app, qtbot, "addServer")
    qtbot.keyClicks(child(app, "serverUrl"), "http://127.0.0.1:9/v1")
    press(app, qtbot, "serverLook")
    qtbot.waitUntil(lambda: not app.models.servers.looking)
    assert "Nothing answers" in child(app, "serverProblem").text()
    assert not child(app, "saveServer").isEnabled()
    child(app, "serverUrl").setText("https://models.example.org/v1")
    assert "leave this machine" in child(app, "serverNotice").text()
    assert "unencrypted" not in child(app, "serverNotice").text()
    child(app, "serverUrl").setText("http://192.0.2.1:8000/v1")
    assert "unencrypted" in child(app, "serverNotice").text()


def test_servers_are_remembered_changed_and_forgotten(
    start: Callable[[], App], qtbot: Any, server: Any
) -> None:
    server.lists("tiny", "large")
    app = start()
    enter(app, qtbot, server.url, key="sk-secret")
    app.close()
    asked = len(server.requests)
    again = start()
    source = f"openai:{server.url}#tiny"
    assert again.models.models.row_of(source) >= 0
    again.servers.edit(source)
    assert child(again, "serverKey").text() == ""  # a key that is kept is not shown
    child(again, "serverName").setText("My server")
    press(again, qtbot, "saveServer")
    entry = again.models.models.entries[again.models.models.row_of(source)]
    assert entry.name == "My server"
    assert again.servers.server_of(source)[1].reveal() == "sk-secret"
    assert len(server.requests) == asked  # nothing was asked of the server
    again.servers.edit(source)
    press(again, qtbot, "removeServer")
    assert again.models.models.row_of(source) < 0
    assert json.loads(again.options.profile.keys_file.read_text()) == {}
