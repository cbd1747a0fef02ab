"""The settings file: kept, migrated, damaged, unwritable."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from app import settings
from app.controllers.remembering import RememberingController
from app.settings import Remembered, SettingsFile
from inference.events import AttentionControl, SamplingControls
from views.models.controls import ControlsModel, Preset
from views.models.settings import Settings, SettingsModel

EVERYTHING = Remembered(
    page=Settings(
        theme="dark", send_key="ctrl-enter", overflow="drop-oldest", candidates=5, model_folders=("/m", "/n")
    ),
    controls=SamplingControls(
        temperature=0.5,
        stop=("a", "b"),
        logit_bias=((3, -1.5),),
        attention=(AttentionControl(start=1, end=4, factor=0.5, message=2),),
    ),
    presets=(Preset(name="Mine", controls=SamplingControls(top_k=40)),),
    controls_chosen=True,
    quantization="nf4",
    context_length=4096,
    system_prompts=(("Pirate", "Arr."),),
    layout=b"\x00\xff",
    conversation=7,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config" / "settings.json"


def test_all_settings_come_back_as_they_were(path: Path, faults: Any) -> None:
    assert SettingsFile(path, faults).save(EVERYTHING)
    assert SettingsFile(path, faults).load() == EVERYTHING
    assert faults == []


def test_a_first_start_has_the_defaults_and_no_fault(path: Path, faults: Any) -> None:
    assert SettingsFile(path, faults).load() == Remembered()
    assert faults == []


def test_keys_of_another_version_are_kept(path: Path, faults: Any) -> None:
    path.parent.mkdir()
    path.write_text(json.dumps({"from_the_future": {"x": 1}, "conversation": 3}))
    file = SettingsFile(path, faults)
    remembered = file.load()
    assert remembered.conversation == 3
    file.save(remembered)
    assert json.loads(path.read_text())["from_the_future"] == {"x": 1}


def test_a_value_of_the_wrong_kind_costs_that_value_only(path: Path, faults: Any) -> None:
    SettingsFile(path, faults).save(EVERYTHING)
    values = json.loads(path.read_text())
    values["page"]["theme"] = "purple"
    values["page"]["candidates"] = "many"
    values["layout"] = 12
    path.write_text(json.dumps(values))
    remembered = SettingsFile(path, faults).load()
    assert (remembered.page.theme, remembered.page.candidates, remembered.layout) == ("system", 20, b"")
    assert remembered.page.send_key == "ctrl-enter"
    assert remembered.controls == EVERYTHING.controls
    assert faults.kinds == ["settings-damaged"]
    assert "layout, theme, candidates" in faults[0]["details"]


@pytest.mark.parametrize(
    "text", ["", "{", "[1, 2]", "\x00\x01", '{"version": "new"}', '{"version": 0}', "NaN"]
)
def test_a_damaged_file_is_set_aside(path: Path, faults: Any, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    assert SettingsFile(path, faults).load() == Remembered()
    (aside,) = path.parent.glob("settings.damaged-*.json")
    assert aside.read_text() == text
    assert faults.kinds == ["settings-damaged"]


def test_a_file_that_is_no_text_is_set_aside(path: Path, faults: Any) -> None:
    path.parent.mkdir()
    path.write_bytes(b"\xff\xfe\x80\x81")
    assert SettingsFile(path, faults).load() == Remembered()
    assert faults.kinds == ["settings-damaged"]


def test_an_older_file_is_migrated(path: Path, faults: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.mkdir()
    path.write_text(json.dumps({"version": 1, "open_conversation": 5, "page": {"theme": "dark"}}))

    def rename(values: dict[str, Any]) -> dict[str, Any]:
        return {
            ("conversation" if key == "open_conversation" else key): value for key, value in values.items()
        }

    monkeypatch.setattr(settings, "MIGRATIONS", (rename,))
    monkeypatch.setattr(settings, "VERSION", 2)
    file = SettingsFile(path, faults)
    remembered = file.load()
    assert (remembered.conversation, remembered.page.theme) == (5, "dark")
    file.save(remembered)
    assert json.loads(path.read_text())["version"] == 2
    assert "open_conversation" not in json.loads(path.read_text())


def test_a_full_disk_leaves_the_old_file_and_says_so(
    path: Path, faults: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = SettingsFile(path, faults)
    file.save(EVERYTHING)
    before = path.read_text()

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert not file.save(Remembered())
    assert path.read_text() == before
    assert list(path.parent.iterdir()) == [path]
    assert faults.kinds == ["settings-unwritable"]


def test_a_second_window_does_not_write(path: Path, faults: Any) -> None:
    SettingsFile(path, faults).save(EVERYTHING)
    second = SettingsFile(path, faults, read_only=True)
    second.load()
    assert not second.save(Remembered())
    assert SettingsFile(path, faults).load() == EVERYTHING


def test_folders_found_at_start_are_not_stored(path: Path, faults: Any) -> None:
    SettingsFile(path, faults).save(Remembered(page=Settings(log_file="/tmp/x.log", data_folder="/d")))
    assert SettingsFile(path, faults).load().page == Settings()


def test_a_preset_that_was_chosen_by_hand_stays_after_a_restart(path: Path, faults: Any) -> None:
    for chosen in (True, False):
        file = SettingsFile(path, faults)
        controls = ControlsModel()
        remembering = RememberingController(
            file=file, remembered=file.load(), settings=SettingsModel(), controls=controls, layout=bytes
        )
        if chosen:
            controls.apply_preset("Balanced")
        controls.suit_model(24_000_000)
        assert controls.current_preset() == "Balanced"
        remembering.save()
