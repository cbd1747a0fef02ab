"""The side list."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLineEdit

from views.models.conversations import ConversationEntry, ConversationsModel, day_group

NOW = datetime(2026, 11, 23, 12, 0)


def entry(number: int, title: str, *, days: int = 0, snippet: str = "") -> ConversationEntry:
    return ConversationEntry(
        id=number, title=title, updated=NOW - timedelta(days=days, minutes=number), snippet=snippet
    )


def rows(model: ConversationsModel) -> list[str]:
    return [model.index(row).data() for row in range(model.rowCount())]


@pytest.fixture
def model() -> ConversationsModel:
    model = ConversationsModel()
    entries = [entry(1, "Rivers"), entry(2, "Contract", days=1), entry(3, "Bread", days=60, snippet="flour")]
    model.reset(entries, today=NOW.date())
    return model


class TestModel:
    def test_conversations_stand_under_their_day_newest_first(self, model: ConversationsModel) -> None:
        assert rows(model) == ["Today", "Rivers", "Yesterday", "Contract", "September 2026", "Bread"]

    @pytest.mark.parametrize(
        ("days", "group"),
        [
            (-1, "Today"),
            (0, "Today"),
            (1, "Yesterday"),
            (6, "This week"),
            (7, "This month"),
            (31, "October 2026"),
        ],
    )
    def test_headings_by_age(self, days: int, group: str) -> None:
        assert day_group(date(2026, 11, 23) - timedelta(days=days), date(2026, 11, 23)) == group

    def test_headings_cannot_be_chosen_or_renamed(self, model: ConversationsModel) -> None:
        heading = model.index(0)
        assert model.flags(heading) == Qt.ItemFlag.NoItemFlags
        assert not model.setData(heading, "x")

    def test_searching_looks_in_titles_and_snippets(self, model: ConversationsModel) -> None:
        model.set_filter("RIV")
        assert rows(model) == ["Today", "Rivers"]
        model.set_filter("flour")
        assert rows(model) == ["September 2026", "Bread"]
        model.set_matches([2])
        assert "Contract" in rows(model)
        model.set_filter("")
        assert len(rows(model)) == 6

    def test_a_conversation_that_grows_moves_to_the_top(self, model: ConversationsModel) -> None:
        model.put(ConversationEntry(id=3, title="Bread", updated=NOW))
        assert rows(model)[:2] == ["Today", "Bread"]

    def test_an_empty_title_is_refused(self, model: ConversationsModel, qtbot: Any) -> None:
        index = model.index(model.row_of(1))
        with qtbot.assertNotEmitted(model.rename_requested):
            assert not model.setData(index, "   ")
        with qtbot.waitSignal(model.rename_requested) as asked:
            assert model.setData(index, " Nile ")
        assert asked.args == [1, "Nile"]
        assert "Nile" in rows(model)


class TestList:
    def test_clicking_opens_and_the_open_one_is_marked(self, shown: Any, qtbot: Any) -> None:
        shown.conversations.reset([entry(1, "Rivers"), entry(2, "Bread")], today=NOW.date())
        view = shown.list.view
        rect = view.visualRect(shown.conversations.index(shown.conversations.row_of(2)))
        with qtbot.waitSignal(shown.list.opened) as opened:
            qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=rect.center())
        assert opened.args == [2]
        shown.list.set_current(2)
        shown.conversations.put(entry(3, "Newer"))
        assert view.currentIndex().data() == "Bread"

    def test_deleting_can_be_undone(self, shown: Any, qtbot: Any) -> None:
        shown.conversations.reset([entry(1, "Rivers")], today=NOW.date())
        with qtbot.waitSignal(shown.list.delete_requested) as deleted:
            shown.list.delete(1)
        assert deleted.args == [1]
        assert shown.list.undo.isVisible()
        button = shown.list.findChild(object, "undoDelete")
        with qtbot.waitSignal(shown.list.undo_delete_requested) as undone:
            qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
        assert undone.args == [1]
        assert not shown.list.undo.isVisible()

    def test_a_second_deletion_settles_the_first(self, shown: Any, qtbot: Any) -> None:
        shown.conversations.reset([entry(1, "Rivers"), entry(2, "Bread")], today=NOW.date())
        shown.list.delete(1)
        with qtbot.waitSignal(shown.list.delete_settled) as settled:
            shown.list.delete(2)
        assert settled.args == [1]
        shown.list.undo.settle()

    def test_the_delete_key_deletes_the_chosen_one(self, shown: Any, qtbot: Any) -> None:
        shown.conversations.reset([entry(1, "Rivers")], today=NOW.date())
        shown.list.set_current(1)
        with qtbot.waitSignal(shown.list.delete_requested):
            qtbot.keyClick(shown.list.view, Qt.Key.Key_Delete)
        shown.list.undo.settle()

    def test_typing_in_the_search_field_filters_and_tells(self, shown: Any, qtbot: Any) -> None:
        shown.conversations.reset([entry(1, "Rivers"), entry(2, "Bread")], today=NOW.date())
        with qtbot.waitSignal(shown.list.search_changed) as searched:
            qtbot.keyClicks(shown.list.search, "bre")
        assert searched.args == ["bre"]
        assert rows(shown.conversations) == ["Today", "Bread"]

    def test_what_is_found_is_shown_from_its_beginning(self, shown: Any, qtbot: Any) -> None:
        many = [entry(number, f"Bread {number}") for number in range(200)]
        shown.conversations.reset(many, today=NOW.date())
        bar = shown.list.view.verticalScrollBar()
        bar.setValue(bar.maximum())
        qtbot.keyClicks(shown.list.search, "bre")
        assert bar.value() == 0

    def test_renaming_happens_in_the_row_and_escape_leaves_it(self, shown: Any, qtbot: Any) -> None:
        shown.conversations.reset([entry(1, "Rivers")], today=NOW.date())
        shown.list.rename(1)
        field = self.rename_field(shown)
        field.setText("Nile")
        with qtbot.assertNotEmitted(shown.conversations.rename_requested, wait=50):
            qtbot.keyClick(field, Qt.Key.Key_Escape)
        shown.list.rename(1)
        field = self.rename_field(shown)
        field.setText("Nile")
        with qtbot.waitSignal(shown.conversations.rename_requested):
            qtbot.keyClick(field, Qt.Key.Key_Return)
        assert rows(shown.conversations) == ["Today", "Nile"]

    @staticmethod
    def rename_field(shown: Any) -> QLineEdit:
        (field,) = (f for f in shown.list.view.findChildren(QLineEdit, "renameField") if f.isVisible())
        return field

    def test_escape_empties_the_search(self, shown: Any, qtbot: Any) -> None:
        shown.conversations.reset([entry(1, "Rivers"), entry(2, "Bread")], today=NOW.date())
        qtbot.keyClicks(shown.list.search, "zzz")
        assert rows(shown.conversations) == []
        with qtbot.waitSignal(shown.list.search_changed):
            qtbot.keyClick(shown.list.search, Qt.Key.Key_Escape)
        assert len(rows(shown.conversations)) == 3
