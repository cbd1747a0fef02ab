"""The whole window with a scripted session: start, what is remembered, closing at any moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QFileDialog, QWidget

from app.bootstrap import App, Options
from app.history import History
from app.profile import Profile
from inference.events import (
    Event,
    Finished,
    GenerateRequest,
    InspectRequest,
    ListModelsRequest,
    LoadRequest,
    RenderRequest,
    UnloadRequest,
)
from inference.running import RunHandle
from views.models.focus import TokenSpan

Start = Callable[..., App]


@pytest.fixture
def start(qtbot: Any, qapp: QApplication, fake_session: Any, tmp_path: Path) -> Iterator[Start]:
    """Start the app on one profile, as often as wanted."""
    apps: list[App] = []

    def make(*, session: Any = fake_session, wait: bool = True, **options: Any) -> App:
        app = App(
            qapp,
            Options(
                profile=Profile.under(tmp_path / "profile"),
                make_engine=lambda: session,
                make_librarian=lambda: session,
                make_documents=lambda: session,
                **options,
            ),
        )
        apps.append(app)
        app.show()
        if wait:
            qtbot.waitUntil(lambda: app.models.models.loaded is not None)
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


def say(app: App, qtbot: Any, text: str) -> None:
    qtbot.keyClicks(child(app, "composer"), text)
    qtbot.mouseClick(child(app, "sendButton"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not app.generation.running)


def test_the_window_is_painted_before_anything_is_asked_of_the_engine(
    start: Start, fake_session: Any, qtbot: Any
) -> None:
    app = start(wait=False)
    assert fake_session.requests == []
    with qtbot.waitSignal(app.painted):
        pass
    qtbot.waitUntil(lambda: app.models.models.loaded is not None)
    assert isinstance(fake_session.of(LoadRequest)[0], LoadRequest)
    assert fake_session.of(ListModelsRequest)


def test_a_typed_message_is_answered_in_the_transcript(start: Start, qtbot: Any) -> None:
    app = start()
    say(app, qtbot, "Which river?")
    assert [m.text for m in app.models.transcript.messages] == ["Which river?", "It is the Nile."]
    assert child(app, "composer").toPlainText() == ""


def test_a_message_can_be_sent_while_the_model_is_loading(
    start: Start, fake_session: Any, qtbot: Any
) -> None:
    gate = threading.Event()
    plain = fake_session._plain

    def slow(request: Any, handle: RunHandle) -> Iterator[Event]:
        gate.wait(10)
        yield from plain(request, handle)

    fake_session.script[LoadRequest] = slow
    app = start(wait=False)
    qtbot.waitUntil(lambda: app.models.models.loading is not None)
    app.widgets.intents.send_requested.emit("Early?")
    assert [m.text for m in app.models.transcript.messages] == ["Early?", ""]
    gate.set()
    qtbot.waitUntil(lambda: not app.generation.running)
    reply = app.models.transcript.messages[1]
    assert (reply.text, reply.author) == ("It is the Nile.", app.models.models.loaded.info.name)
    assert app.history.message(reply.id).model == reply.author


def test_stop_takes_the_place_of_send_while_a_reply_is_written(
    start: Start, fake_session: Any, qtbot: Any
) -> None:
    fake_session.stepwise = True
    app = start()
    qtbot.keyClicks(child(app, "composer"), "Long?")
    qtbot.keyClick(child(app, "composer"), Qt.Key.Key_Return)
    fake_session.step()
    qtbot.waitUntil(lambda: app.models.transcript.messages[-1].text == "It")
    assert child(app, "stopButton").isVisible()
    assert not child(app, "sendButton").isVisible()
    qtbot.mouseClick(child(app, "stopButton"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not app.generation.running)
    assert child(app, "sendButton").isVisible()
    assert app.models.transcript.messages[-1].state == "stopped"


def test_after_branching_with_the_keyboard_it_is_in_the_text(start: Start, qtbot: Any) -> None:
    app = start()
    say(app, qtbot, "Which?")
    app.widgets.chat.show_view("tokens")
    reply = app.models.transcript.messages[-1]
    app.models.focus.set_focus(TokenSpan(reply.id, 3, 4))
    table = child(app, "candidateTable")
    table.setFocus()
    qtbot.waitUntil(table.hasFocus)
    qtbot.keyClick(table, Qt.Key.Key_Down)
    qtbot.keyClick(table, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: not app.generation.running)
    assert app.models.transcript.messages[-1].branch_count == 2
    assert app.widgets.inspector.current == "sampling"
    assert child(app, "tokenView").hasFocus()


def test_conversation_controls_layout_and_theme_are_remembered(start: Start, qtbot: Any) -> None:
    first = start()
    say(first, qtbot, "Remember me?")
    first.models.controls.set_value("temperature", 1.25)
    first.models.settings.update(theme="dark")
    first.widgets.window.conversation_dock.hide()
    first.widgets.window.close()

    second = start()
    assert [m.text for m in second.models.transcript.messages] == ["Remember me?", "It is the Nile."]
    assert second.models.controls.controls.temperature == 1.25
    assert second.theme.dark
    assert not second.widgets.window.conversation_dock.isVisible()
    assert second.models.conversations.rowCount() == 2


def test_another_size_of_the_window_outlives_a_kill(start: Start, qtbot: Any) -> None:
    app = start()
    app.remembering.save()
    settings = app.options.profile.settings_file
    before = settings.read_bytes()
    app.widgets.window.resize(app.widgets.window.width() + 60, app.widgets.window.height() + 40)
    qtbot.waitUntil(lambda: settings.read_bytes() != before)


def test_the_users_own_system_prompts_are_there_again(start: Start, qtbot: Any) -> None:
    app = start()
    app.widgets.chat.system.preset_saved.emit("Rhyme", "Answer in rhyme.")
    app.widgets.chat.system.preset_saved.emit("Gone", "Say nothing.")
    app.widgets.chat.system.preset_deleted.emit("Gone")
    app.widgets.window.close()
    presets = start().widgets.chat.system.presets
    assert (presets.findText("Rhyme") > 0, presets.findText("Gone")) == (True, -1)


def test_safe_mode_loads_no_model_and_restores_no_layout(start: Start, fake_session: Any, qtbot: Any) -> None:
    first = start()
    first.widgets.window.conversation_dock.hide()
    first.widgets.window.close()
    fake_session.requests.clear()
    second = start(safe_mode=True, wait=False)
    qtbot.waitUntil(lambda: len(fake_session.of(ListModelsRequest)) == 1)
    assert second.widgets.window.conversation_dock.isVisible()
    assert fake_session.of(LoadRequest) == []


def test_safe_mode_has_the_default_settings_and_leaves_the_users_alone(start: Start, qtbot: Any) -> None:
    first = start()
    first.models.settings.update(theme="dark")
    first.widgets.window.close()
    kept = first.options.profile.settings_file.read_text()
    second = start(safe_mode=True, wait=False)
    assert not second.theme.dark
    second.models.settings.update(candidates=3)
    second.widgets.window.close()
    assert first.options.profile.settings_file.read_text() == kept
    assert start().theme.dark


def test_an_interrupted_reply_is_offered_at_the_next_start(
    start: Start, fake_session: Any, qtbot: Any, tmp_path: Path
) -> None:
    history = History(Profile.under(tmp_path / "profile").history_file, print)
    chat = history.create("cut")
    ask = history.add_message(chat.id, None, "user", "Long?")
    reply = history.add_message(chat.id, ask.id, "assistant", "It is", state="streaming")
    history.save_reply(
        reply.id, "It is", [fake_session.token(0, i, t, 0.5) for i, t in enumerate(("It", " is"))]
    )
    history.close()
    app = start()
    notice = child(app, "noticeBar")
    assert notice.isVisible()
    fake_session.reply_pieces = (" long.",)
    qtbot.mouseClick(child(app, "noticeAction"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not app.generation.running and bool(fake_session.of(GenerateRequest)))
    assert app.models.transcript.messages[-1].text == "It is long."


def test_a_second_window_on_one_profile_says_that_it_keeps_nothing(start: Start, qtbot: Any) -> None:
    first = start()
    say(first, qtbot, "Mine?")
    second = start()
    qtbot.waitUntil(lambda: [f.kind for f in second.models.faults.faults] == ["second-window"])
    assert second.models.conversations.rowCount() == 2
    say(second, qtbot, "Lost?")
    second.widgets.window.close()
    assert [c.title for c in first.history.conversations()] == ["Mine?"]


def test_damaged_history_and_settings_are_said_and_do_not_stop_the_start(
    start: Start, qtbot: Any, tmp_path: Path
) -> None:
    profile = Profile.under(tmp_path / "profile")
    profile.data.mkdir(parents=True)
    profile.history_file.write_text("damaged " * 1000)
    profile.settings_file.write_text("{")
    app = start()
    qtbot.waitUntil(lambda: len(app.models.faults.faults) == 2)
    assert {f.kind for f in app.models.faults.faults} == {"history-damaged", "settings-damaged"}
    say(app, qtbot, "Still here?")
    assert app.history.on_disk


def test_closing_in_mid_reply_keeps_it_and_leaves_no_thread(
    start: Start, fake_session: Any, qtbot: Any
) -> None:
    fake_session.stepwise = True
    app = start()
    app.widgets.intents.send_requested.emit("Long?")
    fake_session.step(2)
    qtbot.waitUntil(lambda: app.models.transcript.messages[-1].text == "It is")
    with qtbot.waitSignal(app.closed) as closed:
        app.widgets.window.close()
    assert closed.args == [True]
    assert not app.widgets.window.isVisible()
    again = start()
    assert again.models.transcript.messages[-1].text == "It is"
    assert again.models.transcript.messages[-1].state == "stopped"


def test_closing_in_mid_load_ends_the_load(start: Start, fake_session: Any, qtbot: Any) -> None:
    def endless(request: Any, handle: RunHandle) -> Iterator[Event]:
        while True:
            handle.check()
            yield from ()

    fake_session.script[LoadRequest] = endless
    app = start(wait=False)
    qtbot.waitUntil(lambda: bool(fake_session.of(LoadRequest)))
    with qtbot.waitSignal(app.closed) as closed:
        app.widgets.window.close()
    assert closed.args == [True]


def test_closing_while_a_call_cannot_be_interrupted_says_so_and_saves(
    start: Start, fake_session: Any, qtbot: Any
) -> None:
    release = threading.Event()

    def stuck(request: Any, handle: RunHandle) -> Iterator[Event]:
        release.wait(30)
        yield Finished(run_id=request.run_id, reason="done")

    fake_session.script[LoadRequest] = stuck
    app = start(wait=False)
    qtbot.waitUntil(lambda: bool(fake_session.of(LoadRequest)))
    app.models.settings.update(theme="dark")
    with qtbot.waitSignal(app.closed) as closed:
        app.widgets.window.close()
    assert closed.args == [False]
    release.set()
    assert app.engine.shut_down()
    assert '"theme": "dark"' in app.options.profile.settings_file.read_text()


def test_a_dropped_model_is_chosen_and_inspected(
    start: Start, fake_session: Any, qtbot: Any, tmp_path: Path
) -> None:
    app = start()
    folder = tmp_path / "my-model"
    folder.mkdir()
    app.widgets.intents.paths_dropped.emit([str(folder)])
    qtbot.waitUntil(lambda: app.models.models.inspection is not None)
    assert fake_session.of(InspectRequest)[-1].model == str(folder)
    assert app.models.models.row_of(str(folder)) >= 0


@pytest.mark.parametrize(
    ("files", "mode"),
    [
        (("notes.md", "deep/paper.pdf"), "documents"),
        (("README.md", "deep/model.safetensors"), "chat"),
        ((), "chat"),
    ],
    ids=["documents", "a model with its readme", "nothing"],
)
def test_a_folder_dropped_on_the_chat_is_what_it_holds(
    start: Start, tmp_path: Path, files: tuple[str, ...], mode: str
) -> None:
    app = start()
    folder = tmp_path / "dropped"
    (folder / "deep").mkdir(parents=True)
    for name in files:
        (folder / name).write_text("text")
    app.widgets.intents.paths_dropped.emit([str(folder)])
    assert app.widgets.window.mode == mode
    assert (app.models.models.row_of(str(folder)) >= 0) == (mode == "chat")


@pytest.mark.parametrize(
    ("name", "mode"),
    [("model.safetensors", "chat"), ("deep/model.safetensors", "documents")],
    ids=["a model", "a model among other things"],
)
def test_a_folder_dropped_on_the_documents_is_documents_unless_it_is_a_model(
    start: Start, tmp_path: Path, name: str, mode: str
) -> None:
    app = start()
    app.widgets.window.show_mode("documents")
    folder = tmp_path / "dropped"
    (folder / "deep").mkdir(parents=True)
    for file in ("README.md", name):
        (folder / file).write_text("text")
    app.widgets.intents.paths_dropped.emit([str(folder)])
    sizes = [entry.size for entry in app.models.models.entries if entry.source == str(folder)]
    assert sizes == ([len("text")] if mode == "chat" else [])


@pytest.mark.qt_log_ignore(r"does not support raise", extend=True)
def test_a_later_start_brings_this_window_to_the_front_with_its_files(start: Start, tmp_path: Path) -> None:
    app = start()
    app.widgets.window.showMinimized()
    (tmp_path / "small.gguf").touch()
    app.instance.called.emit([str(tmp_path / "small.gguf")])
    assert not app.widgets.window.isMinimized()
    assert app.widgets.picker.isVisible()
    assert app.models.models.row_of(str(tmp_path / "small.gguf")) >= 0


def test_about_is_in_the_menu(start: Start) -> None:
    app = start()
    app.widgets.window.action("showAbout").trigger()
    assert app.widgets.about.isVisible()
    assert "torch" in app.widgets.about.text.text()


def test_unloading_frees_the_model_and_says_so(start: Start, fake_session: Any, qtbot: Any) -> None:
    app = start()
    app.widgets.window.action("unloadModel").trigger()
    qtbot.waitUntil(lambda: app.models.models.loaded is None)
    assert fake_session.of(UnloadRequest)
    assert "4.0 MB" in child(app, "statusMessage").text()


def test_raw_mode_shows_the_template_and_continues_the_text(
    start: Start, fake_session: Any, qtbot: Any
) -> None:
    app = start()
    say(app, qtbot, "Which?")
    app.widgets.chat.show_view("raw")
    qtbot.waitUntil(lambda: bool(app.widgets.chat.raw.text()))
    assert fake_session.of(RenderRequest)[0].reply_text == "It is the Nile."
    assert app.widgets.chat.raw.text() == "<user>Which?\n<assistant>It is the Nile."
    app.widgets.chat.raw.editor.setPlainText("Once upon a time")
    app.widgets.chat.raw.send()
    qtbot.waitUntil(lambda: not app.generation.running)
    assert app.widgets.chat.raw.text() == "Once upon a timeIt is the Nile."
    assert fake_session.of(GenerateRequest)[-1].prompt == "Once upon a time"


def test_the_monitor_samples_the_process(start: Start, qtbot: Any) -> None:
    app = start()
    qtbot.waitUntil(lambda: app.models.monitor.latest is not None)
    assert (app.models.monitor.latest.process_memory or 0) > 10**7


def test_exports_begin_among_the_users_documents_and_go_on_where_the_last_one_went(
    start: Start, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = start()
    say(app, qtbot, "Which?")
    asked: list[Path] = []

    def choose(parent: QWidget, title: str, place: str) -> tuple[str, str]:
        asked.append(Path(place))
        return str(tmp_path / "elsewhere" / asked[-1].name), ""

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    app.shell.export_markdown()
    app.shell.export_json()
    assert asked[0].is_absolute()
    assert asked[0].parent != Path.cwd()
    assert asked[1].parent == tmp_path / "elsewhere"
    assert sorted(path.name for path in asked[1].parent.iterdir()) == ["Which.json", "Which.md"]


def test_the_context_in_use_is_told_when_the_model_has_loaded(start: Start, qtbot: Any) -> None:
    app = start()
    say(app, qtbot, "Which?")
    app.widgets.window.close()
    again = start()
    assert "15 of 1,024" in again.widgets.header.context.toolTip()
