"""A second start on one profile hands its files to the first window and ends."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtNetwork import QLocalSocket

from app.instance import Instance, _name, _own_folder, hand_over
from app.profile import Profile

_SECOND = """
import sys
from pathlib import Path
from PySide6.QtCore import QCoreApplication
from app.instance import hand_over
from app.profile import Profile
qt = QCoreApplication([])
print(hand_over(Profile.under(Path(sys.argv[1])), tuple(sys.argv[2:])))
"""


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    return Profile.under(tmp_path)


@pytest.fixture
def first(profile: Profile, qtbot: Any) -> Iterator[Instance]:
    instance = Instance(profile)
    assert instance.listen()
    yield instance
    instance.close()


def second(qtbot: Any, *arguments: str) -> str:
    """What a second process is told."""
    with subprocess.Popen(
        [sys.executable, "-c", _SECOND, *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        qtbot.waitUntil(lambda: process.poll() is not None, timeout=20_000)
        assert process.stdout is not None
        return process.stdout.read().strip()


def test_the_first_window_is_called_with_the_files(first: Instance, tmp_path: Path, qtbot: Any) -> None:
    with qtbot.waitSignal(first.called, timeout=20_000) as called:
        assert second(qtbot, str(tmp_path), "/a model.gguf", "/über.pdf") == "True"
    assert called.args == [["/a model.gguf", "/über.pdf"]]


def test_another_profile_is_another_window(first: Instance, tmp_path: Path, qtbot: Any) -> None:
    assert second(qtbot, str(tmp_path / "other"), "/a.gguf") == "False"


def test_without_a_window_a_start_is_on_its_own(profile: Profile, qtbot: Any) -> None:
    assert not hand_over(profile, ("/a.gguf",))


def test_what_a_killed_window_left_behind_is_taken_over(profile: Profile, qtbot: Any) -> None:
    crashed = Instance(profile)
    assert crashed.listen()
    after = Instance(profile)
    assert after.listen()
    crashed.close()
    after.close()


@pytest.mark.parametrize("words", [b"hello\n", b'{"open": "x"}\n', b'{"open": [1]}\n', b"[]\n"])
def test_anything_else_is_hung_up_on(first: Instance, profile: Profile, qtbot: Any, words: bytes) -> None:
    calls: list[list[str]] = []
    first.called.connect(calls.append)
    socket = QLocalSocket()
    socket.connectToServer(_name(profile) or "")
    assert socket.waitForConnected(1000)
    socket.write(words)
    qtbot.waitUntil(lambda: socket.state() == QLocalSocket.LocalSocketState.UnconnectedState)
    assert calls == []


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files of a machine without a runtime folder for its users."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_each_user_has_a_folder_for_sockets(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = _own_folder()
    assert own is not None
    assert own.stat().st_mode & 0o777 == 0o700
    assert _own_folder() == own
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    assert own.name not in str(_own_folder())


@pytest.mark.parametrize("kind", ["open to others", "somebody else's", "a link", "a file"])
def test_a_folder_that_others_could_use_is_not_used(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, qtbot: Any, profile: Profile, kind: str
) -> None:
    user = os.getuid() if kind != "somebody else's" else os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: user)
    folder = temporary / f"model-loupe-{user}"
    if kind == "a file":
        folder.write_text("")
    elif kind == "a link":
        folder.symlink_to(temporary)
    else:
        folder.mkdir()
        folder.chmod(0o777 if kind == "open to others" else 0o700)
    assert _own_folder() is None
    assert not Instance(profile).listen()
    assert not hand_over(profile, ("/a.gguf",))
