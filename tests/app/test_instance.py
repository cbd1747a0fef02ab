"""A second start on one profile hands its files to the first window and ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtNetwork import QLocalSocket

from app.instance import Instance, _name, hand_over
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
    socket.connectToServer(_name(profile))
    assert socket.waitForConnected(1000)
    socket.write(words)
    qtbot.waitUntil(lambda: socket.state() == QLocalSocket.LocalSocketState.UnconnectedState)
    assert calls == []
