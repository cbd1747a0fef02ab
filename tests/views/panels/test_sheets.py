"""Settings, shortcuts, problems and about."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QGuiApplication, QKeySequence
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QLabel,
    QListWidget,
    QPushButton,
    QSpinBox,
    QToolButton,
    QWidget,
)
from pytestqt.qtbot import QtBot

from views.about_view import AboutView, versions
from views.actions import make_actions
from views.faults_view import FaultsBar, FaultsView
from views.models.faults import Fault, FaultsModel
from views.models.settings import Settings, SettingsModel
from views.settings_view import SettingsView
from views.shortcuts_view import ShortcutsView
from views.theme import Theme


@pytest.fixture
def window(qtbot: QtBot) -> QWidget:
    window = QWidget()
    qtbot.addWidget(window)
    window.resize(1000, 700)
    window.show()
    return window


# --- settings


@pytest.fixture
def settings() -> SettingsModel:
    return SettingsModel(Settings(model_folders=("/a", "/b"), log_file="/logs/app.log"))


@pytest.fixture
def page(window: QWidget, theme: Theme, settings: SettingsModel) -> SettingsView:
    page = SettingsView(settings, theme, window)
    page.open_sheet()
    return page


@pytest.mark.parametrize(
    ("object_name", "field", "value"),
    [
        ("themeChoice", "theme", "dark"),
        ("sendKeyChoice", "send_key", "ctrl-enter"),
        ("overflowChoice", "overflow", "drop-oldest"),
    ],
)
def test_a_choice_acts_at_once(
    page: SettingsView, settings: SettingsModel, object_name: str, field: str, value: str
) -> None:
    box = page.findChild(QComboBox, object_name)
    box.setCurrentIndex(box.findData(value))
    box.activated.emit(box.currentIndex())
    assert getattr(settings.settings, field) == value


def test_numbers_and_ticks_act_at_once(page: SettingsView, settings: SettingsModel) -> None:
    page.findChild(QSpinBox, "candidatesCount").setValue(50)
    page.findChild(QCheckBox, "scorePrompt").setChecked(False)
    page.findChild(QCheckBox, "loadLastModel").setChecked(False)
    assert settings.settings.candidates == 50
    assert not settings.settings.score_prompt
    assert not settings.settings.load_last_model


def test_changes_from_elsewhere_are_shown_and_not_sent_back(
    page: SettingsView, settings: SettingsModel, qtbot: QtBot
) -> None:
    seen: list[Settings] = []
    settings.changed.connect(seen.append)
    settings.update(theme="light", candidates=7, load_last_model=False)
    assert page.findChild(QComboBox, "themeChoice").currentData() == "light"
    assert page.findChild(QSpinBox, "candidatesCount").value() == 7
    assert len(seen) == 1


def test_folders_are_added_by_the_app_and_removed_here(
    page: SettingsView, settings: SettingsModel, qtbot: QtBot
) -> None:
    remove = page.findChild(QPushButton, "removeModelFolder")
    assert not remove.isEnabled()
    with qtbot.waitSignal(page.add_folder_requested):
        page.findChild(QPushButton, "addModelFolder").click()
    page.findChild(QListWidget, "modelFolders").setCurrentRow(0)
    remove.click()
    assert settings.settings.model_folders == ("/b",)


def test_places_can_be_opened(page: SettingsView, qtbot: QtBot) -> None:
    with qtbot.waitSignal(page.open_path_requested) as asked:
        page.findChild(QToolButton, "show-log_file").click()
    assert asked.args == ["/logs/app.log"]


# --- shortcuts


def test_every_action_with_a_key_is_listed(window: QWidget, theme: Theme) -> None:
    actions = make_actions(window)
    listed = ShortcutsView(actions.values(), theme, window).rows()
    with_keys = {action.text().rstrip("…") for action in actions.values() if action.shortcuts()}
    assert with_keys <= {title for _, title, _ in listed}
    assert ("Chat", "Write another reply", "Ctrl+R") in listed


def test_a_changed_shortcut_is_listed_as_it_is(window: QWidget, theme: Theme) -> None:
    action = QAction("Do it", window)
    action.setShortcut(QKeySequence("Ctrl+J"))
    view = ShortcutsView([action], theme, window)
    action.setShortcut(QKeySequence("Ctrl+Shift+J"))
    assert ("Inspector", "Do it", "Ctrl+Shift+J") in view.rows()


def test_an_action_that_is_hidden_now_is_not_listed(window: QWidget, theme: Theme) -> None:
    action = QAction("Do it", window)
    action.setShortcut(QKeySequence("Ctrl+J"))
    action.setVisible(False)
    view = ShortcutsView([action], theme, window)
    assert "Do it" not in {title for _, title, _ in view.rows()}


def test_shortcuts_can_be_searched(window: QWidget, theme: Theme, qtbot: QtBot) -> None:
    view = ShortcutsView(make_actions(window).values(), theme, window)
    view.open_sheet()
    assert view.search.hasFocus() or not window.isActiveWindow()
    qtbot.keyClicks(view.search, "branch")
    assert {title for _, title, _ in view.rows()} == {"Branch from the candidate"}
    qtbot.keyClicks(view.search, "zzz")
    assert "No shortcut is called that." in [label.text() for label in view.findChildren(QLabel)]


# --- problems

OOM = Fault(
    kind="out-of-memory", message="Too little memory.", hint="Close programs.", details="Traceback: X"
)
NET = Fault(kind="no-network", message="The hub could not be reached.", hint="Check the connection.")


@pytest.fixture
def faults() -> FaultsModel:
    return FaultsModel()


@pytest.fixture
def bar(qtbot: QtBot, theme: Theme, faults: FaultsModel) -> Iterator[FaultsBar]:
    holder = QWidget()
    qtbot.addWidget(holder)
    bar = FaultsBar(faults, theme, holder)
    holder.show()
    yield bar
    holder.close()


def test_the_bar_shows_the_newest_until_it_is_dismissed(bar: FaultsBar, faults: FaultsModel) -> None:
    assert not bar.isVisible()
    faults.add(NET)
    faults.add(OOM)
    assert bar.isVisible()
    assert bar.message.text() == "Too little memory."
    assert bar.hint.text() == "Close programs."
    bar.findChild(QToolButton, "dismissFault").click()
    assert not bar.isVisible()
    assert len(faults.faults) == 2


def test_the_same_failure_again_is_counted_not_repeated(bar: FaultsBar, faults: FaultsModel) -> None:
    for _ in range(3):
        faults.add(NET)
    assert len(faults.faults) == 1
    assert bar.message.text() == "The hub could not be reached. (3 times)"


def test_a_remedy_is_offered_as_a_button(bar: FaultsBar, faults: FaultsModel, qtbot: QtBot) -> None:
    fault = Fault(kind="no-model", message="No model.", action="open-models", action_label="Choose a model")
    faults.add(fault)
    with qtbot.waitSignal(bar.action_requested) as asked:
        bar.remedy.click()
    assert asked.args == ["open-models", fault]
    assert faults.latest is None


def test_a_bar_does_not_take_the_keyboard(bar: FaultsBar, faults: FaultsModel) -> None:
    before = QGuiApplication.focusObject()
    faults.add(OOM)
    assert QGuiApplication.focusObject() is before


def test_details_can_be_copied(window: QWidget, theme: Theme, faults: FaultsModel, qtbot: QtBot) -> None:
    view = FaultsView(faults, theme, window)
    assert not view.copy.isEnabled()
    faults.add(OOM)
    faults.add(NET)
    view.open_sheet()
    assert view.message.text() == "The hub could not be reached."
    qtbot.keyClick(view.list, Qt.Key.Key_Down)
    assert view.details.toPlainText() == "Traceback: X"
    view.copy.click()
    copied = QGuiApplication.clipboard().text()
    assert "out-of-memory" in copied
    assert "Close programs." in copied
    assert "Traceback: X" in copied
    with qtbot.waitSignal(view.open_log_requested):
        view.log.click()
    view.clear.click()
    assert faults.faults == ()
    assert view.report() == ""


def test_the_list_does_not_grow_without_end(theme: Theme) -> None:
    faults = FaultsModel(limit=5)
    for number in range(9):
        faults.add(Fault(kind="internal", message=f"Problem {number}"))
    assert [fault.message for fault in faults.faults] == [f"Problem {n}" for n in (8, 7, 6, 5, 4)]


# --- about


def test_versions_can_be_copied(window: QWidget, theme: Theme) -> None:
    view = AboutView(theme, window, read_versions=lambda: [("Python", "3.11"), ("torch", "2.13")])
    view.open_sheet()
    view.findChild(QPushButton, "copyVersions").click()
    assert QGuiApplication.clipboard().text() == "Python  3.11\ntorch  2.13"


def test_versions_name_what_runs() -> None:
    names = [name for name, _ in versions()]
    assert {"Python", "torch", "transformers", "PySide6-Essentials"} <= set(names)
