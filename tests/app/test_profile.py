"""One window writes to a profile; a second one is noticed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.profile import Profile, hub_cache

_CLAIM_AND_WAIT = """
import sys
from pathlib import Path
import pytest

from app.profile import Profile, hub_cache
lock, taken = Profile.under(Path(sys.argv[1])).claim()
print(taken, flush=True)
sys.stdin.read()
"""


def test_a_second_process_sees_that_the_profile_is_taken_and_a_killed_one_leaves_it_free(
    tmp_path: Path,
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _CLAIM_AND_WAIT, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "False\n"
        assert Profile.under(tmp_path).claim()[1]
        other.kill()
        other.wait()
    lock, taken = Profile.under(tmp_path).claim()
    assert not taken
    lock.unlock()


def test_a_folder_that_cannot_be_made_is_not_taken_for_a_second_window(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert not Profile.under(tmp_path / "file" / "profile").claim()[1]


@pytest.mark.parametrize(
    "environment",
    [{}, {"HF_HOME": "/somewhere/hf"}, {"HF_HUB_CACHE": "/elsewhere/hub"}, {"XDG_CACHE_HOME": "/cache"}],
    ids=["nothing set", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME"],
)
def test_the_hubs_cache_is_where_the_hubs_library_looks(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    code = "from huggingface_hub.constants import HF_HUB_CACHE; print(HF_HUB_CACHE)"
    theirs = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert str(hub_cache()) == theirs.stdout.strip()
