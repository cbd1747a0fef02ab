"""Bad circumstances for the installed program, each made for real. Some can only be made as root."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from trial import Trial, call, end, picture, rows, type_message, windows

#: Users that every system has and that own nothing: "nobody" and "daemon" on Debian.
_NOBODY, _DAEMON = 65534, 1


class Skipped(Exception):
    """This circumstance cannot be made here."""


def no_display(trial: Trial) -> None:
    """A terminal without a display gets a sentence and status 1, and no files."""
    for display in ("", ":4711"):
        environment = {**trial.environment, "DISPLAY": display}
        del environment["QT_QPA_PLATFORM"]
        folder = trial.scratch / f"nowhere {display.strip(':')}"
        folder.mkdir()
        done = subprocess.run(trial.command(), env=environment, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 1, done
        assert "isplay" in done.stderr, done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        assert not list(folder.iterdir())


def read_only_home(trial: Trial) -> None:
    """The window opens, answers and closes; nothing can be kept, and that is said."""
    _need_root()
    home = trial.scratch / "read-only home"
    home.mkdir()
    home.chmod(0o555)
    with trial.running(user=_NOBODY, environment=_home(trial, home)) as process:
        time.sleep(12)
        type_message("Hello there.")
        time.sleep(6)
        picture(trial.results / "read-only-home.png")
        assert process.poll() is None, "it did not stay open"
        end(process)
    assert not list(home.iterdir())
    assert "Traceback" not in trial.output()


def full_disk(trial: Trial) -> None:
    """On a disk without a byte left the window opens, answers and closes; with room again it keeps things."""
    _need_root()
    home = trial.scratch / "full disk"
    home.mkdir()
    call("mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(home))
    try:
        with (home / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(bytes(1024))
        with trial.running(environment=_home(trial, home)) as process:
            time.sleep(12)
            type_message("Hello there.")
            time.sleep(6)
            picture(trial.results / "full-disk.png")
            assert process.poll() is None, "it did not stay open"
            (home / "filler").unlink()
            end(process)
        history = home / ".local/share/model-loupe/history.sqlite3"
        print("    kept once there was room:", rows(history, "SELECT count(*) FROM messages"))
        assert "Traceback" not in trial.output()
    finally:
        call("umount", "--lazy", str(home))


def two_users(trial: Trial) -> None:
    """Two users at once, without runtime folders, each with a window; then both on one profile."""
    _need_root()
    shared = trial.scratch / "shared profile"
    shared.mkdir()
    shared.chmod(0o777)
    environments = []
    for user in (_NOBODY, _DAEMON):
        home = trial.scratch / f"home of {user}"
        home.mkdir()
        os.chown(home, user, user)
        environments.append(_home(trial, home))
    for arguments in ((), ("--profile", str(shared))):
        with (
            trial.running(*arguments, user=_NOBODY, environment=environments[0]) as first,
            trial.running(*arguments, user=_DAEMON, environment=environments[1]) as second,
        ):
            assert len(windows()) == 2
            time.sleep(3)
            for process in (first, second):
                assert process.poll() is None, "it did not stay open"
                end(process)


def a_profile_of_a_newer_version(trial: Trial) -> None:
    """Opened to be read: not a byte of its tables changes."""
    history = trial.home / ".local/share/model-loupe/history.sqlite3"
    with closing(sqlite3.connect(history)) as opened:
        (version,) = opened.execute("PRAGMA user_version").fetchone()
        opened.execute("PRAGMA user_version = 99")
    before = _print_of(history)
    try:
        with trial.running() as process:
            time.sleep(10)
            type_message("Is this kept?")
            time.sleep(4)
            picture(trial.results / "newer-profile.png")
            end(process)
        assert _print_of(history) == before, "the history was changed"
    finally:
        with closing(sqlite3.connect(history)) as opened:
            opened.execute(f"PRAGMA user_version = {int(version)}")


def without_a_gpu_driver(trial: Trial) -> None:
    """The variant for CUDA works on the CPU where there is no driver."""
    if not list((trial.root / "opt/model-loupe/_internal/torch/lib").glob("libtorch_cuda*")):
        raise Skipped("this is the variant for CPUs")
    if Path("/dev/nvidiactl").exists():
        raise Skipped("there is a driver")
    engine = Path(trial.command()[0]).with_name("model-loupe-engine")
    arguments = ["generate", "--model", "builtin", "--chat", "Hello.", "--max-new-tokens", "5", "--json"]
    done = subprocess.run([str(engine), *arguments], env=trial.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


CIRCUMSTANCES: tuple[Callable[[Trial], None], ...] = (
    no_display, read_only_home, full_disk, two_users, a_profile_of_a_newer_version, without_a_gpu_driver,
)  # fmt: skip


def _home(trial: Trial, home: Path) -> dict[str, str]:
    environment = {**trial.environment, "HOME": str(home)}
    del environment["XDG_RUNTIME_DIR"]
    return environment


def _need_root() -> None:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        raise Skipped("only root can make it")


def _print_of(database: Path) -> str:
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as opened:
        tables = "\n".join(line for line in opened.iterdump() if "message_index" not in line)
        version = opened.execute("PRAGMA user_version").fetchone()[0]
    return hashlib.sha256(f"{version}\n{tables}".encode()).hexdigest()
