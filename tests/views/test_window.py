"""The window: input, header, side panels, actions, dropped files and the layout."""

from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtCore import QMimeData, QPointF, QSize, Qt, QUrl
from PySide6.QtGui import QAccessible, QDropEvent
from PySide6.QtWidgets import QLabel, QPlainTextEdit, QPushButton, QToolButton, QWidget

from views.actions import ACTIONS
from views.main_window import first_size, local_paths
from views.models.transcript import ShownMessage


def child(window: QWidget, name: str) -> Any:
    found = window.findChild(QWidget, name)
    assert found is not None, f"there is no {name}"
    return found


class TestComposer:
    def test_enter_sends_and_empties_the_input(self, shown: Any, qtbot: Any) -> None:
        field = child(shown.window, "composer")
        qtbot.keyClicks(field, "Hello")
        with qtbot.waitSignal(shown.intents.send_requested) as sent:
            qtbot.keyClick(field, Qt.Key.Key_Return)
        assert sent.args == ["Hello"]
        assert field.toPlainText() == ""

    def test_shift_enter_breaks_the_line_and_the_field_grows(self, shown: Any, qtbot: Any) -> None:
        field = child(shown.window, "composer")
        height = field.height()
        qtbot.keyClicks(field, "a")
        qtbot.keyClick(field, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
        qtbot.keyClicks(field, "b")
        assert field.toPlainText() == "a\nb"
        assert field.height() > height

    def test_with_the_other_setting_control_enter_sends(self, shown: Any, qtbot: Any) -> None:
        shown.chat.composer.set_send_key("ctrl-enter")
        field = child(shown.window, "composer")
        qtbot.keyClicks(field, "a")
        with qtbot.assertNotEmitted(shown.intents.send_requested):
            qtbot.keyClick(field, Qt.Key.Key_Return)
        with qtbot.waitSignal(shown.intents.send_requested):
            qtbot.keyClick(field, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)

    def test_nothing_is_sent_while_a_reply_is_written_and_stop_takes_the_place(
        self, shown: Any, qtbot: Any
    ) -> None:
        shown.chat.composer.set_text("next")
        shown.chat.set_busy(True)
        assert not child(shown.window, "sendButton").isVisible()
        with qtbot.assertNotEmitted(shown.intents.send_requested):
            shown.window.action("send").trigger()
        with qtbot.waitSignal(shown.intents.stop_requested):
            qtbot.mouseClick(child(shown.window, "stopButton"), Qt.MouseButton.LeftButton)
        shown.chat.set_busy(False)
        with qtbot.waitSignal(shown.intents.send_requested):
            qtbot.mouseClick(child(shown.window, "sendButton"), Qt.MouseButton.LeftButton)

    @pytest.mark.parametrize("text", ["", "  \n "])
    def test_there_is_nothing_to_send_in_an_empty_input(self, shown: Any, qtbot: Any, text: str) -> None:
        shown.chat.composer.set_text(text)
        assert not child(shown.window, "sendButton").isEnabled()
        with qtbot.assertNotEmitted(shown.intents.send_requested):
            shown.chat.composer.send()

    def test_what_could_not_be_sent_comes_back_before_what_was_written_since(self, shown: Any) -> None:
        shown.chat.composer.set_text("second")
        shown.chat.composer.restore("first")
        assert shown.chat.composer.text() == "first\nsecond"


class TestEmptyChat:
    def test_in_a_low_window_there_are_fewer_examples(self, shown: Any) -> None:
        cards = [child(shown.window, f"example{number}") for number in range(4)]
        shown.window.resize(1280, 780)
        assert all(card.isVisible() for card in cards)
        shown.window.resize(900, 560)
        seen = [card for card in cards if card.isVisible()]
        assert seen == cards[2:]
        assert all(card.height() >= card.heightForWidth(card.width()) for card in seen)
        shown.window.resize(1280, 780)
        assert all(card.isVisible() for card in cards)

    def test_an_example_goes_into_the_input(self, shown: Any, qtbot: Any) -> None:
        qtbot.mouseClick(child(shown.window, "example0"), Qt.MouseButton.LeftButton)
        assert "fox" in shown.chat.composer.text()

    def test_without_a_model_it_says_what_to_do(self, shown: Any, qtbot: Any) -> None:
        shown.chat.empty.set_state("no-model")
        assert not child(shown.window, "example0").isVisible()
        with qtbot.waitSignal(shown.chat.empty.model_wanted):
            qtbot.mouseClick(child(shown.window, "emptyChooseModel"), Qt.MouseButton.LeftButton)

    def test_it_gives_way_to_the_first_message(self, shown: Any) -> None:
        assert shown.chat.empty.isVisible()
        shown.transcript.append_message(ShownMessage(id=1, role="user", text="Hi"))
        assert shown.chat.text_view.isVisible()
        shown.transcript.reset([])
        assert shown.chat.empty.isVisible()


class TestSystemPrompt:
    def test_it_is_folded_until_it_is_wanted(self, shown: Any, qtbot: Any) -> None:
        shown.chat.system.set_text("Be brief.")
        assert not shown.chat.system.isVisible()
        assert "Be brief." in shown.chat.system.fold.text()
        qtbot.mouseClick(shown.chat.system.fold, Qt.MouseButton.LeftButton)
        assert shown.chat.system.isVisible()

    def test_a_change_is_told_after_a_pause_and_setting_it_is_not(self, shown: Any, qtbot: Any) -> None:
        with qtbot.assertNotEmitted(shown.intents.system_prompt_changed, wait=500):
            shown.chat.system.set_text("One")
        with qtbot.waitSignal(shown.intents.system_prompt_changed) as told:
            shown.chat.system.editor.setPlainText("Two")
        assert told.args == ["Two"]

    def test_a_preset_fills_it(self, shown: Any, qtbot: Any) -> None:
        shown.chat.system.set_presets({"Mine": "Answer in rhyme."})
        presets = shown.chat.system.presets
        row = presets.findText("Mine")
        with qtbot.waitSignal(shown.intents.system_prompt_changed) as told:
            presets.setCurrentIndex(row)
            presets.activated.emit(row)
        assert told.args == ["Answer in rhyme."]

    def test_a_text_is_saved_under_a_name_that_is_not_built_in(self, shown: Any, qtbot: Any) -> None:
        system = shown.chat.system
        system.fold.setChecked(True)
        system.set_text("Answer in rhyme.")
        save, name = child(shown.window, "saveSystemPromptPreset"), child(shown.window, "systemPromptName")
        qtbot.mouseClick(save, Qt.MouseButton.LeftButton)
        assert name.isVisible()
        qtbot.keyClicks(name, "Brief")
        assert not save.isEnabled()
        name.setText("Rhyme")
        with qtbot.waitSignal(system.preset_saved) as saved:
            qtbot.keyClick(name, Qt.Key.Key_Return)
        assert saved.args == ["Rhyme", "Answer in rhyme."]
        assert (name.isVisible(), system.presets.currentText()) == (False, "Rhyme")
        with qtbot.waitSignal(system.preset_deleted) as gone:
            qtbot.mouseClick(child(shown.window, "deleteSystemPromptPreset"), Qt.MouseButton.LeftButton)
        assert gone.args == ["Rhyme"]


class TestRawMode:
    def test_opening_it_asks_for_the_text_and_continuing_sends_what_stands_there(
        self, shown: Any, qtbot: Any
    ) -> None:
        with qtbot.waitSignal(shown.intents.raw_text_wanted):
            shown.window.action("rawMode").trigger()
        shown.chat.raw.set_rendered("<s>user\nHi", 4)
        editor = child(shown.window, "rawPromptEditor")
        qtbot.keyClicks(editor, "!")
        with qtbot.waitSignal(shown.intents.send_raw_requested) as sent:
            qtbot.keyClick(editor, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
        assert sent.args == ["<s>user\nHi!"]

    def test_what_the_model_writes_is_appended_and_not_edited_meanwhile(self, shown: Any) -> None:
        shown.chat.show_view("raw")
        shown.chat.raw.set_rendered("Once", 1)
        shown.chat.set_busy(True)
        shown.chat.raw.append_text(" upon")
        assert shown.chat.raw.text() == "Once upon"
        assert child(shown.window, "rawPromptEditor").isReadOnly()
        assert isinstance(child(shown.window, "stopRaw"), QPushButton)
        shown.chat.set_busy(False)
        assert not child(shown.window, "rawPromptEditor").isReadOnly()


class TestHeader:
    def test_the_context_is_told_in_numbers(self, shown: Any) -> None:
        shown.header.set_context(1204, 8192)
        assert "1,204 of 8,192" in shown.header.context.toolTip()
        assert shown.header.context.isVisible()

    def test_a_long_model_name_is_shortened_and_told_whole(self, shown: Any) -> None:
        name = "an-organisation/" + "a-very-long-model-name-" * 8
        shown.header.set_model(name, "NF4 · 5.2 GB")
        assert name in shown.header.model_button.toolTip()
        assert shown.header.model_button.width() < shown.window.width() / 2

    def test_modes_appear_with_the_second_one(self, shown: Any, qtbot: Any) -> None:
        modes = child(shown.window, "modes")
        assert not modes.isVisible()
        page = QLabel("pages")
        shown.window.add_mode("documents", "Documents", page)
        assert modes.isVisible()
        qtbot.mouseClick(child(shown.window, "documentsSegment"), Qt.MouseButton.LeftButton)
        assert page.isVisible()
        assert shown.window.mode == "documents"
        shown.window.action("toggleTokens").trigger()
        assert shown.window.mode == "chat"


class TestStatus:
    def test_a_passing_message_gives_way_to_the_lasting_one(self, shown: Any, qtbot: Any) -> None:
        shown.status.show_message("Ready")
        shown.status.show_message("Copied.", milliseconds=10)
        assert shown.status.message() == "Copied."
        qtbot.waitUntil(lambda: shown.status.message() == "Ready")

    def test_progress_can_be_cancelled(self, shown: Any, qtbot: Any) -> None:
        shown.status.show_progress("Loading", 30, 100)
        with qtbot.waitSignal(shown.status.cancel_requested):
            qtbot.mouseClick(child(shown.window, "cancelProgress"), Qt.MouseButton.LeftButton)
        shown.status.clear_progress()
        assert not child(shown.window, "progressBar").isVisible()


class TestActions:
    def test_no_two_actions_share_a_key_and_each_is_in_the_window(self, parts: Any) -> None:
        keys = [spec.keys for spec in ACTIONS if spec.keys]
        assert len(keys) == len(set(keys))
        assert {action.objectName() for action in parts.window.actions()} == {spec.name for spec in ACTIONS}

    def test_escape_stops_a_reply_before_it_clears_the_focus(self, shown: Any, qtbot: Any) -> None:
        shown.chat.set_busy(True)
        with qtbot.waitSignal(shown.intents.stop_requested):
            qtbot.keyClick(child(shown.window, "composer"), Qt.Key.Key_Escape)
        shown.chat.set_busy(False)

    def test_keys_regenerate_and_continue_the_last_reply(self, shown: Any, qtbot: Any) -> None:
        shown.transcript.reset([ShownMessage(id="r", role="assistant", text="x")])
        with qtbot.waitSignal(shown.intents.regenerate_requested) as asked:
            qtbot.keyClick(child(shown.window, "composer"), Qt.Key.Key_R, Qt.KeyboardModifier.ControlModifier)
        assert asked.args == ["r"]
        with qtbot.waitSignal(shown.intents.continue_requested):
            shown.window.action("continueLast").trigger()

    def test_in_another_mode_no_hidden_reply_is_written(self, shown: Any, qtbot: Any) -> None:
        shown.transcript.reset([ShownMessage(id="r", role="assistant", text="x")])
        shown.window.add_mode("documents", "Documents", QLabel("pages"))
        shown.window.show_mode("documents")
        for name, signal in (
            ("regenerateLast", shown.intents.regenerate_requested),
            ("continueLast", shown.intents.continue_requested),
        ):
            with qtbot.assertNotEmitted(signal):
                shown.window.action(name).trigger()

    def test_a_new_chat_can_be_written_at_once(self, shown: Any, qtbot: Any) -> None:
        shown.window.add_mode("documents", "Documents", QLabel("pages"))
        shown.window.show_mode("documents")
        with qtbot.waitSignal(shown.list.new_requested):
            shown.window.action("newChat").trigger()
        assert shown.window.mode == "chat"
        qtbot.waitUntil(child(shown.window, "composer").hasFocus)

    @pytest.mark.parametrize("keys", [Qt.Key.Key_K, Qt.Key.Key_E])
    def test_shortcuts_work_while_writing(self, shown: Any, qtbot: Any, keys: Qt.Key) -> None:
        """Text fields of some desktops edit with these keys."""
        name = {Qt.Key.Key_K: "searchChats", Qt.Key.Key_E: "explainSelection"}[keys]
        shown.window.action(name).setVisible(True)
        with qtbot.waitSignal(shown.window.action(name).triggered):
            qtbot.keyClick(child(shown.window, "composer"), keys, Qt.KeyboardModifier.ControlModifier)

    def test_alt_numbers_show_inspector_panels(self, shown: Any, qtbot: Any) -> None:
        shown.window.inspector_dock.hide()
        qtbot.keyClick(child(shown.window, "composer"), Qt.Key.Key_2, Qt.KeyboardModifier.AltModifier)
        assert shown.inspector.isVisible()
        assert shown.inspector.current == "token"

    def test_search_goes_to_the_field_even_if_the_list_was_hidden(self, shown: Any, qtbot: Any) -> None:
        shown.window.conversation_dock.hide()
        shown.window.action("searchChats").trigger()
        assert shown.list.isVisible()
        qtbot.waitUntil(shown.list.search.hasFocus)


class TestDroppedFiles:
    def test_files_dropped_anywhere_are_told(self, shown: Any, qtbot: Any, tmp_path: Any) -> None:
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(tmp_path)), QUrl("https://example.org")])
        event = QDropEvent(
            QPointF(600, 300), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton,
            Qt.KeyboardModifier.NoModifier,
        )  # fmt: skip
        with qtbot.waitSignal(shown.intents.paths_dropped) as dropped:
            shown.window.dropEvent(event)
        assert dropped.args == [[str(tmp_path)]]

    def test_the_input_leaves_files_to_the_window_and_takes_text(self, shown: Any) -> None:
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile("/tmp/a b.txt")])
        assert local_paths(data) == ["/tmp/a b.txt"]
        words = QMimeData()
        words.setText("dropped words")
        field = child(shown.window, "composer")
        assert isinstance(field, QPlainTextEdit)
        field.insertFromMimeData(words)
        assert field.toPlainText() == "dropped words"


class TestLayout:
    def test_docks_come_back_as_they_were_left(self, shown: Any) -> None:
        window = shown.window
        window.inspector_dock.hide()
        window.monitor_dock.show()
        saved = window.save_layout()
        window.reset_layout()
        assert window.inspector_dock.isVisible()
        assert window.restore_layout(saved)
        assert not window.inspector_dock.isVisible()
        assert window.monitor_dock.isVisible()

    @pytest.mark.parametrize("broken", [b"", b"\0\0\0\1x", b"nonsense", b"\xff" * 40])
    def test_a_damaged_layout_is_refused(self, shown: Any, broken: bytes) -> None:
        before = shown.window.conversation_dock.isVisible()
        assert not shown.window.restore_layout(broken)
        assert shown.window.conversation_dock.isVisible() == before

    def test_with_both_docks_it_can_be_900_wide(self, shown: Any) -> None:
        for view in ("text", "tokens"):
            shown.chat.show_view(view)
            assert shown.window.layout().minimumSize().width() <= 900

    def test_in_a_narrow_window_docks_make_room_and_come_back(self, shown: Any, qtbot: Any) -> None:
        window = shown.window
        left, right = window.conversation_dock, window.inspector_dock
        wide = window.save_layout()
        window.resize(712, 600)
        assert (window.width(), left.isVisible(), right.isVisible()) == (712, False, True)
        assert window.layout().minimumSize().width() <= 712
        window.monitor_dock.show()
        qtbot.wait(20)
        assert (left.isVisible(), right.isVisible()) == (False, True)
        window.monitor_dock.hide()
        window.action("showConversations").trigger()
        qtbot.waitUntil(lambda: not right.isVisible())
        assert left.isVisible()
        narrow = window.save_layout()
        window.resize(1280, 800)
        assert (left.isVisible(), right.isVisible()) == (True, True)
        for layout in (narrow, wide):
            assert window.restore_layout(layout)
            window.resize(1280, 800)
            assert (left.isVisible(), right.isVisible()) == (True, True)

    def test_a_dock_that_was_closed_by_hand_stays_closed(self, shown: Any) -> None:
        window = shown.window
        window.conversation_dock.close()
        window.resize(712, 600)
        window.resize(1280, 800)
        assert not window.conversation_dock.isVisible()
        assert window.inspector_dock.isVisible()

    def test_the_header_fits_the_smallest_window(self, shown: Any) -> None:
        header = shown.header
        header.set_model("A model with a long name of many parts", "NF4 · 5.2 GB")
        header.set_rate(123.0)
        header.set_context(1200, 8192)
        shown.window.resize(shown.window.minimumSize())
        assert header.minimumSizeHint().width() <= header.width() == shown.window.minimumWidth()

    def test_closing_waits_for_the_app_if_it_asks_so(self, shown: Any, qtbot: Any) -> None:
        shown.window.hold_close(True)
        with qtbot.waitSignal(shown.window.close_requested):
            assert not shown.window.close()
        assert shown.window.isVisible()
        shown.window.hold_close(False)
        assert shown.window.close()


class TestReach:
    def test_the_names_that_checks_rely_on_are_there_once(self, shown: Any) -> None:
        for name in (
            "composer",
            "sendButton",
            "stopButton",
            "transcript",
            "tokenView",
            "conversationList",
            "statusMessage",
        ):
            assert len(shown.window.findChildren(QWidget, name)) == 1, name

    def test_everything_that_can_be_pressed_has_a_name_and_words(self, shown: Any) -> None:
        shown.transcript.reset([ShownMessage(id="r", role="assistant", text="```py\nx\n```")])
        for kind in (QToolButton, QPushButton):
            for button in shown.window.findChildren(kind):
                if button.objectName().startswith("qt_") or not button.isVisible():
                    continue
                assert button.objectName(), button.text()
                assert button.accessibleName() or button.text(), button.objectName()

    def test_tab_walks_in_reading_order(self, shown: Any) -> None:
        shown.transcript.reset([ShownMessage(id="r", role="assistant", text="x")])
        order, widget = [], shown.header.model_button
        for _ in range(400):
            if widget.isVisible() and widget.focusPolicy() & Qt.FocusPolicy.TabFocus:
                order.append(widget.objectName())
            widget = widget.nextInFocusChain()
        wanted = ["modelButton", "menuButton", "newChatButton", "conversationSearch", "systemPromptFold"]
        wanted += ["textSegment", "transcript", "composer", "attachButton"]
        assert [name for name in dict.fromkeys(order) if name in wanted] == wanted

    def test_tab_comes_round_to_where_it_began(self, shown: Any, qtbot: Any) -> None:
        window = shown.window
        window.activateWindow()
        shown.header.model_button.setFocus()
        walked: list[str] = []
        for _ in range(120):
            focused = window.focusWidget()
            if walked and focused is shown.header.model_button:
                break
            walked.append(focused.objectName())
            qtbot.keyClick(focused, Qt.Key.Key_Tab)
        assert window.focusWidget() is shown.header.model_button
        for name in ("conversationSearch", "composer", "inspectorDock_hide", "showMonitorButton"):
            assert walked.count(name) == 1, walked

    def test_screen_readers_are_told_finished_sentences(
        self, shown: Any, tokens_of: Any, monkeypatch: Any
    ) -> None:
        said: list[str] = []
        monkeypatch.setattr(QAccessible, "isActive", lambda: True)
        monkeypatch.setattr(QAccessible, "updateAccessibility", lambda event: said.append(event.message()))
        shown.transcript.append_message(ShownMessage(id="r", role="assistant", state="streaming"))
        for token in tokens_of("It is long. Very lo"):
            shown.transcript.append_tokens("r", (token,))
        assert said == ["It is long."]
        shown.transcript.append_tokens("r", tokens_of("ng"))
        shown.transcript.finish_reply("r", "stop")
        assert said == ["It is long.", "Very long"]


@pytest.mark.parametrize(
    ("screen", "size"),
    [((1920, 1080), (1280, 800)), ((1280, 720), (1276, 680)), ((1440, 900), (1280, 800))],
)
def test_the_first_size_fits_the_screen(screen: tuple[int, int], size: tuple[int, int]) -> None:
    assert first_size(QSize(*screen)) == QSize(*size)
