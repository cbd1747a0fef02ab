"""The sampling controls: they act at once, have a neutral value, and can be kept as presets."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import (
    QApplication,
    QComboBox,
    QDoubleSpinBox,
    QLineEdit,
    QListWidget,
    QPushButton,
    QSlider,
    QSpinBox,
    QToolButton,
    QWidget,
)
from pytestqt.qtbot import QtBot

from inference.events import AttentionControl, FoundToken, SamplingControls
from views.models.candidates import StepModel
from views.models.controls import CONTROL_SPECS, ControlsModel, Preset
from views.models.settings import SettingsModel
from views.sampling_lists import read_escapes, write_escapes
from views.sampling_panel import SamplingPanel
from views.theme import Theme

MakePanel = Callable[..., SamplingPanel]


@pytest.fixture
def controls() -> ControlsModel:
    return ControlsModel()


@pytest.fixture
def settings() -> SettingsModel:
    return SettingsModel()


@pytest.fixture
def panel(qtbot: QtBot, theme: Theme, controls: ControlsModel, settings: SettingsModel) -> SamplingPanel:
    panel = SamplingPanel(controls, StepModel(), settings, theme)
    qtbot.addWidget(panel)
    panel.resize(340, 900)
    panel.show()
    return panel


@pytest.mark.parametrize(
    ("object_name", "field", "value"),
    [
        ("temperature", "temperature", 1.2),
        ("topP", "top_p", 0.5),
        ("minP", "min_p", 0.05),
        ("repetitionPenalty", "repetition_penalty", 1.1),
        ("frequencyPenalty", "frequency_penalty", -0.5),
        ("presencePenalty", "presence_penalty", 0.5),
    ],
)
def test_typing_a_number_changes_the_controls_at_once(
    panel: SamplingPanel, qtbot: QtBot, controls: ControlsModel, object_name: str, field: str, value: float
) -> None:
    number = panel.findChild(QDoubleSpinBox, object_name)
    with qtbot.waitSignal(controls.changed) as changed:
        number.setValue(value)
    assert getattr(changed.args[0], field) == value


@pytest.mark.parametrize(
    ("object_name", "field", "value"), [("topK", "top_k", 40), ("maxNewTokens", "max_new_tokens", 64)]
)
def test_whole_numbers_stay_whole(
    panel: SamplingPanel, controls: ControlsModel, object_name: str, field: str, value: int
) -> None:
    panel.findChild(QSpinBox, object_name).setValue(value)
    got = getattr(controls.controls, field)
    assert got == value
    assert isinstance(got, int)


def test_every_step_of_a_slider_is_announced(
    panel: SamplingPanel, qtbot: QtBot, controls: ControlsModel
) -> None:
    slider = panel.findChild(QSlider, "temperatureSlider")
    seen: list[float] = []
    controls.changed.connect(lambda new: seen.append(new.temperature))
    for _ in range(3):
        qtbot.keyClick(slider, Qt.Key.Key_Right)
    assert seen == [0.75, 0.8, 0.85]
    assert panel.findChild(QDoubleSpinBox, "temperature").value() == 0.85


def test_typing_goes_beyond_the_slider(panel: SamplingPanel, controls: ControlsModel) -> None:
    number, slider = panel.findChild(QSpinBox, "topK"), panel.findChild(QSlider, "topKSlider")
    number.setValue(5000)
    assert controls.controls.top_k == 5000
    assert slider.value() == slider.maximum()


@pytest.mark.parametrize("spec", CONTROL_SPECS, ids=lambda spec: spec.name)
def test_a_control_that_is_not_neutral_can_be_reset(
    panel: SamplingPanel, qtbot: QtBot, controls: ControlsModel, spec: object
) -> None:
    name = spec.name  # type: ignore[attr-defined]
    field = panel.fields[name]
    controls.reset(name)
    assert not controls.deviates(name)
    assert not field.reset_button.isVisible()
    step = -spec.step if spec.neutral == spec.maximum else spec.step  # type: ignore[attr-defined]
    controls.set_value(name, spec.neutral + step)  # type: ignore[attr-defined]
    assert field.reset_button.isVisible()
    qtbot.mouseClick(field.reset_button, Qt.MouseButton.LeftButton)
    assert not controls.deviates(name)
    assert field.value() == spec.neutral  # type: ignore[attr-defined]


def test_values_out_of_range_are_held_to_it(controls: ControlsModel) -> None:
    controls.set_value("temperature", 99)
    assert controls.controls.temperature == 5.0
    controls.set_value("top_p", 0)
    assert controls.controls.top_p == 0.01


def test_equal_controls_are_not_announced(qtbot: QtBot, controls: ControlsModel) -> None:
    with qtbot.assertNotEmitted(controls.changed):
        controls.set_controls(SamplingControls())


# --- seed


def test_a_seed_is_random_until_it_is_fixed(panel: SamplingPanel, controls: ControlsModel) -> None:
    number = panel.findChild(QDoubleSpinBox, "seed")
    assert number.text() == "random"
    number.setValue(7)
    assert controls.controls.seed == 7
    number.setValue(-1)
    assert controls.controls.seed is None


def test_a_seed_of_53_bits_is_kept_exactly(panel: SamplingPanel, controls: ControlsModel) -> None:
    controls.set_seed(2**53 - 1)
    number = panel.findChild(QDoubleSpinBox, "seed")
    number.setValue(number.value() - 1)
    assert controls.controls.seed == 2**53 - 2


def test_the_seed_of_the_last_reply_can_be_used_again(
    panel: SamplingPanel, qtbot: QtBot, controls: ControlsModel
) -> None:
    keep = panel.findChild(QToolButton, "seedKeep")
    assert not keep.isVisible()
    controls.set_last_seed(1234)
    assert keep.isVisible()
    qtbot.mouseClick(keep, Qt.MouseButton.LeftButton)
    assert controls.controls.seed == 1234
    assert not keep.isVisible()


# --- presets


def test_a_preset_leaves_seed_and_attention_alone(controls: ControlsModel) -> None:
    steered = AttentionControl(start=0, end=3, factor=0.0, message=0)
    controls.set_controls(SamplingControls(seed=5, attention=(steered,), temperature=1.9))
    controls.apply_preset("Greedy")
    assert controls.controls.temperature == 0
    assert controls.controls.seed == 5
    assert controls.controls.attention == (steered,)
    assert controls.current_preset() == "Greedy"


def test_the_neutral_preset_switches_every_control_off(controls: ControlsModel) -> None:
    controls.apply_preset("The model's own")
    changed = [spec.name for spec in CONTROL_SPECS if controls.deviates(spec.name)]
    assert changed == []


def test_the_list_says_when_the_controls_are_no_preset(panel: SamplingPanel, controls: ControlsModel) -> None:
    choice = panel.findChild(QComboBox, "preset")
    assert choice.currentText() == "Balanced"
    controls.set_value("temperature", 1.23)
    assert choice.currentText() == "Own settings"
    controls.apply_preset("Creative")
    assert choice.currentText() == "Creative"
    assert choice.findText("Own settings") == -1


def test_a_small_model_starts_with_what_keeps_it_from_looping(controls: ControlsModel) -> None:
    controls.set_seed(7)
    controls.suit_model(24_000_000)
    assert (controls.current_preset(), controls.value("frequency_penalty")) == ("Small model", 0.3)
    controls.suit_model(8_000_000_000)
    assert (controls.current_preset(), controls.controls.seed) == ("Balanced", 7)


def test_what_the_user_has_chosen_stays_whatever_model_is_loaded(controls: ControlsModel) -> None:
    controls.apply_preset("Greedy")
    for parameters in (24_000_000, 8_000_000_000):
        controls.suit_model(parameters)
        assert controls.current_preset() == "Greedy"


def test_a_preset_that_was_chosen_by_hand_is_not_exchanged_for_one_that_suits_the_model(
    controls: ControlsModel,
) -> None:
    controls.suit_model(24_000_000)
    controls.apply_preset("Balanced")
    controls.suit_model(24_000_000)
    assert controls.current_preset() == "Balanced"


def test_a_penalty_that_was_moved_back_by_hand_stays_there(controls: ControlsModel) -> None:
    controls.suit_model(24_000_000)
    controls.set_value("frequency_penalty", 0.0)
    controls.suit_model(24_000_000)
    assert controls.current_preset() == "Balanced"


def test_own_presets_are_saved_and_deleted(
    panel: SamplingPanel, qtbot: QtBot, controls: ControlsModel
) -> None:
    controls.set_value("temperature", 1.23)
    qtbot.mouseClick(panel.findChild(QToolButton, "presetSave"), Qt.MouseButton.LeftButton)
    name = panel.findChild(QLineEdit, "presetName")
    with qtbot.waitSignal(controls.presets_changed) as changed:
        qtbot.keyClicks(name, "Hot")
        qtbot.keyClick(name, Qt.Key.Key_Return)
    assert [preset.name for preset in changed.args[0]] == ["Hot"]
    assert changed.args[0][0].controls.temperature == 1.23
    assert panel.findChild(QComboBox, "preset").currentText() == "Hot"
    qtbot.mouseClick(panel.findChild(QToolButton, "presetDelete"), Qt.MouseButton.LeftButton)
    assert all(preset.builtin for preset in controls.presets)


def test_a_built_in_preset_cannot_be_replaced(controls: ControlsModel) -> None:
    assert not controls.save_preset("Greedy")
    assert not controls.save_preset("  ")


def test_stored_presets_come_back() -> None:
    stored = (Preset(name="Mine", controls=SamplingControls(temperature=0.3)),)
    assert ControlsModel(presets=stored).presets[-1].name == "Mine"


# --- lists


def test_stop_strings_are_typed_with_escapes(
    panel: SamplingPanel, qtbot: QtBot, controls: ControlsModel
) -> None:
    text = panel.findChild(QLineEdit, "stopStrings")
    for typed in (r"\n\n", "User:", "User:"):
        qtbot.keyClicks(text, typed)
        qtbot.keyClick(text, Qt.Key.Key_Return)
    assert controls.controls.stop == ("\n\n", "User:")
    listed = panel.findChild(QListWidget, "stopList")
    assert [listed.item(row).text() for row in range(listed.count())] == [r"\n\n", "User:"]


@pytest.mark.parametrize("text", ["\n", "a\tb", "\\n", "\\", "plain", "\\\\n"])
def test_escapes_can_be_read_back(text: str) -> None:
    assert read_escapes(write_escapes(text)) == text


def test_a_bias_is_shown_with_its_token_and_removed(
    panel: SamplingPanel, qtbot: QtBot, controls: ControlsModel
) -> None:
    controls.set_bias(42, -100.0, " the")
    listed = panel.findChild(QListWidget, "logitBiasList")
    assert listed.item(0).text() == "␣the  id 42  -100.0 logits"
    panel.findChild(QSpinBox, "logitBias").setValue(43)
    panel.findChild(QDoubleSpinBox, "logitBiasValue").setValue(2.0)
    qtbot.mouseClick(panel.findChild(QPushButton, "logitBiasAdd"), Qt.MouseButton.LeftButton)
    assert controls.controls.logit_bias == ((42, -100.0), (43, 2.0))
    listed.setCurrentRow(0)
    qtbot.mouseClick(panel.findChild(QPushButton, "logitBiasRemove"), Qt.MouseButton.LeftButton)
    assert controls.controls.logit_bias == ((43, 2.0),)


def test_what_happens_when_the_context_is_full_is_one_setting(
    panel: SamplingPanel, settings: SettingsModel
) -> None:
    settings.update(overflow="drop-oldest")
    assert panel.overflow.currentData() == "drop-oldest"
    panel.overflow.setCurrentIndex(panel.overflow.findData("stop"))
    panel.overflow.activated.emit(panel.overflow.currentIndex())
    assert settings.settings.overflow == "stop"


def test_the_empty_panel_offers_an_example(panel: SamplingPanel, qtbot: QtBot) -> None:
    with qtbot.waitSignal(panel.example_requested):
        qtbot.mouseClick(panel.findChild(QPushButton, "samplingExample"), Qt.MouseButton.LeftButton)


def test_nothing_is_cut_off_at_the_inspectors_usual_width(panel: SamplingPanel) -> None:
    assert panel.widget().minimumSizeHint().width() <= panel.viewport().width()


def test_the_name_of_a_control_that_is_not_neutral_fits(panel: SamplingPanel) -> None:
    for field in panel.fields.values():
        field.set_value(field.spec.neutral + 1)
        assert field.label.sizeHint().width() <= field.label.width(), field.label.text()


def test_a_token_is_found_by_its_text_and_biased(
    panel: SamplingPanel, controls: ControlsModel, qtbot: QtBot
) -> None:
    finder = panel.bias.finder
    with qtbot.waitSignal(finder.wanted) as wanted:
        qtbot.keyClicks(finder, "cat")
    assert wanted.args == ["cat"]
    finder.show_matches("ca", [FoundToken(id=1, text="ca")])
    assert finder.matches == ()
    finder.show_matches("cat", [FoundToken(id=41, text=" cat"), FoundToken(id=7, text="catch")])
    with qtbot.waitSignal(finder.chosen) as chosen:
        qtbot.keyClick(finder, Qt.Key.Key_Return)
    assert chosen.args == [41, " cat"]
    qtbot.keyClick(panel.bias.bias, Qt.Key.Key_Return)
    assert controls.controls.logit_bias == ((41, -100.0),)
    assert controls.token_text(41) == " cat"
    qtbot.waitUntil(lambda: finder.text() == "")


def test_ids_that_the_model_does_not_have_cannot_be_typed(panel: SamplingPanel) -> None:
    panel.bias.set_vocabulary(100)
    panel.bias.token_id.setValue(5000)
    assert panel.bias.token_id.value() == 99


def turn_wheel(widget: QWidget) -> bool:
    """Turn the wheel by one notch towards the user, with the pointer over a widget; whether the widget took
    it (if not, Qt gives it to what is below).
    """
    middle = QPointF(widget.rect().center())
    event = QWheelEvent(
        middle,
        QPointF(widget.mapToGlobal(widget.rect().center())),
        QPoint(0, 0),
        QPoint(0, -120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(widget, event)
    return event.isAccepted()


@pytest.mark.parametrize(
    "name", ["temperatureSlider", "temperature", "maxNewTokens", "overflow", "logitBias"]
)
def test_the_wheel_scrolls_the_page_and_changes_nothing(
    panel: SamplingPanel, controls: ControlsModel, qtbot: QtBot, name: str
) -> None:
    panel.resize(340, 300)
    panel.show()
    qtbot.waitExposed(panel)
    widget = panel.findChild(QWidget, name)
    before = controls.controls, panel.overflow.currentIndex(), panel.bias.token_id.value()
    assert not turn_wheel(widget)
    assert (controls.controls, panel.overflow.currentIndex(), panel.bias.token_id.value()) == before
    assert not widget.hasFocus()


def test_a_control_with_the_keyboard_is_turned_by_the_wheel(
    panel: SamplingPanel, controls: ControlsModel, qtbot: QtBot
) -> None:
    number = panel.findChild(QWidget, "temperature")
    panel.activateWindow()
    number.setFocus()
    qtbot.waitUntil(number.hasFocus)
    before = controls.value("temperature")
    assert turn_wheel(number)
    assert controls.value("temperature") < before


def test_the_wheel_changes_no_control_that_came_later(panel: SamplingPanel, qtbot: QtBot) -> None:
    panel.resize(340, 300)
    late = QSpinBox()
    late.setValue(50)
    panel.column.insertWidget(0, late)
    qtbot.waitUntil(lambda: late.isVisible() and late.focusPolicy() == Qt.FocusPolicy.StrongFocus)
    assert not turn_wheel(late)
    assert late.value() == 50
