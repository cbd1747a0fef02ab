"""``--install-desktop``: what a desktop needs to start the program and to open files with it."""

from __future__ import annotations

import shutil
import subprocess
import xml.etree.ElementTree as ET
from configparser import RawConfigParser
from pathlib import Path

import pytest

from app import launcher
from app.__main__ import main


def entry_of(share: Path) -> RawConfigParser:
    """The desktop entry as an ini file, which it is."""
    parser = RawConfigParser(delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(share / "applications" / f"{launcher.DESKTOP_ID}.desktop", encoding="utf-8")
    return parser


def test_the_entry_starts_this_program_with_the_files_it_is_given(tmp_path: Path) -> None:
    launcher.install(tmp_path, command=["/opt/Model Loupe/bin/start"])
    entry = entry_of(tmp_path)["Desktop Entry"]
    assert entry["Exec"] == '"/opt/Model Loupe/bin/start" %F'
    assert "TryExec" not in entry
    assert {"application/pdf", "application/x-gguf"} <= set(entry["MimeType"].split(";"))


def test_reserved_characters_of_a_path_are_escaped(tmp_path: Path) -> None:
    launcher.install(tmp_path, command=['/home/a$b/50% "x"/run'])
    assert entry_of(tmp_path)["Desktop Entry"]["Exec"] == '"/home/a\\\\$b/50%% \\\\"x\\\\"/run" %F'


def test_icon_and_file_types_are_well_formed(tmp_path: Path) -> None:
    written = launcher.install(tmp_path)
    assert all(file.is_file() for file in written)
    icon = tmp_path / "icons/hicolor/scalable/apps/model-loupe.svg"
    assert ET.parse(icon).getroot().tag.endswith("svg")
    types = ET.parse(tmp_path / f"mime/packages/{launcher.DESKTOP_ID}.xml").getroot()
    assert [kind.get("type") for kind in types] == ["application/x-gguf"]
    assert entry_of(tmp_path)["Desktop Entry"]["Icon"] == icon.stem


def test_removing_leaves_nothing_of_it(tmp_path: Path) -> None:
    written = launcher.install(tmp_path)
    assert sorted(launcher.remove(tmp_path)) == sorted(written)
    assert not any(file.exists() for file in written)
    assert launcher.remove(tmp_path) == []


def test_the_command_line_installs_and_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert main(["--install-desktop"]) == 0
    assert str(tmp_path / "applications") in capsys.readouterr().out
    assert main(["--remove-desktop"]) == 0
    assert not list(tmp_path.rglob("*.desktop"))


def test_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(blocked))
    assert main(["--install-desktop"]) == 1
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("display", "problem"),
    [("", "There is no display"), (":4711", "The display :4711 does not answer")],
    ids=["no display", "a dead display"],
)
def test_without_a_display_it_says_so_and_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], display: str, problem: str
) -> None:
    for name in ("WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.setattr("sys.platform", "linux")
    assert main([]) == 1
    told = capsys.readouterr().err
    assert problem in told
    assert "--tour DIR" in told


def test_desktop_files_are_valid(tmp_path: Path) -> None:
    """By the desktop's own tools, where they are installed."""
    for file in (Path(__file__).resolve().parents[2] / "resources" / "desktop").iterdir():
        filled = file.read_text(encoding="utf-8").replace("@VERSION@", "1.0").replace("@DATE@", "2026-01-02")
        (tmp_path / file.name).write_text(filled, encoding="utf-8")
    commands = (
        ["desktop-file-validate", f"{launcher.DESKTOP_ID}.desktop"],
        ["appstreamcli", "validate", "--no-net", f"{launcher.DESKTOP_ID}.metainfo.xml"],
    )
    found = [command for command in commands if shutil.which(command[0])]
    if not found:
        pytest.skip("neither desktop-file-validate nor appstreamcli is installed")
    for command in found:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "hint" not in done.stdout
