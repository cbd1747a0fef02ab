"""``make package-test``: installs what was built, starts it as a desktop would, uses it, and removes it.

    python packaging/bundle/try_out.py [dist/model-loupe_..._amd64.deb | FOLDER]

FOLDER is a root that holds the files of the package already. As root the package is installed with dpkg and
removed again; as anyone else it is unpacked into a temporary folder. The program gets a home of its own, no
Python on its PATH and no network (where the system lets us take it away). Needs Xvfb and xdotool. Prints a
line a step; exit status 1 if a step failed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DISPLAY = ":57"


class Trial:
    """One installed copy and one user of it.

    Args:
        deb: The package.
        scratch: An empty folder for the user's home, a runtime folder and results.
    """

    def __init__(self, deb: Path, scratch: Path) -> None:
        self.deb = deb
        self.installs = os.geteuid() == 0 and shutil.which("dpkg") is not None and deb.is_file()
        self.root = Path("/") if self.installs else deb if deb.is_dir() else scratch / "root"
        self.home = scratch / "Home of Zoë"
        self.results = scratch / "results"
        self.runtime = scratch / "runtime"
        for folder in (self.home, self.results, self.runtime):
            folder.mkdir(mode=0o700)
        self.environment = {
            "HOME": str(self.home), "PATH": str(self.root / "usr/bin/../../nowhere"), "DISPLAY": DISPLAY,
            "XDG_RUNTIME_DIR": str(self.runtime), "LANG": "C.UTF-8", "QT_QPA_PLATFORM": "xcb",
        }  # fmt: skip

    def install(self) -> None:
        """With dpkg, or unpacked."""
        if self.installs:
            _call("dpkg", "--install", str(self.deb))
        elif self.deb.is_file():
            _call("dpkg-deb", "--extract", str(self.deb), str(self.root))

    def remove(self) -> None:
        """The package goes; the user's data stays, and nothing else."""
        if self.installs:
            _call("dpkg", "--purge", "model-loupe")
            left = [
                path for path in (Path("/opt/model-loupe"), Path("/usr/bin/model-loupe")) if path.exists()
            ]
            assert not left, f"left behind: {left}"

    def command(self) -> list[str]:
        """What the desktop entry starts, without its field code."""
        entry = self.root / "usr/share/applications/org.modelloupe.ModelLoupe.desktop"
        line = next(text for text in entry.read_text().splitlines() if text.startswith("Exec="))
        name = line.removeprefix("Exec=").split()[0]
        target = self.root / "usr/bin" / name
        return [str(target if self.installs else self.root / str(target.readlink()).lstrip("/"))]

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start the program as this user, without a network where that is possible."""
        log = (self.results / "output.log").open("ab")
        command = [*without_network(), *self.command(), *arguments]
        return subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, start_new_session=True)


def without_network() -> list[str]:
    """A prefix that takes the network away from a command; empty where we may not."""
    tool = shutil.which("unshare")
    if tool is None:
        return []
    prefix = [tool, "--net"] if os.geteuid() == 0 else [tool, "--map-root-user", "--net"]
    allowed = subprocess.run([*prefix, "true"], capture_output=True).returncode == 0
    return prefix if allowed else []


def tour(trial: Trial) -> None:
    """The whole tour, every step of it green."""
    process = trial.start(
        "--tour", str(trial.results / "tour"), "--profile", str(trial.home / "tour profile")
    )
    assert process.wait(timeout=900) == 0, "the tour ended with a failure"
    report = json.loads((trial.results / "tour" / "tour.json").read_text())
    assert not report.get("failures"), report["failures"]
    print(f"    {len(list((trial.results / 'tour').glob('*.png')))} screenshots")


def window_and_second_start(trial: Trial) -> None:
    """The first start paints a window; a file opened from the desktop reaches it and adds no second one."""
    began = time.monotonic()
    first = trial.start()
    try:
        _wait(lambda: len(windows()) == 1, 60, "no window")
        print(f"    window after {time.monotonic() - began:.1f} s")
        second = trial.start(str(ROOT / "resources" / "documents" / "sample.pdf"))
        assert second.wait(timeout=60) == 0, "the second start did not hand over its file"
        assert first.poll() is None, "the first window is gone"
        assert len(windows()) == 1, "a second window was opened"
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()


def start_after_a_kill(trial: Trial) -> None:
    """What was killed starts again."""
    again = trial.start()
    try:
        _wait(lambda: len(windows()) == 1, 60, "no window after a kill")
        time.sleep(8)
        assert again.poll() is None, "it did not stay open"
        _call("import", "-display", DISPLAY, "-window", "root", str(trial.results / "after-a-kill.png"))
        again.send_signal(signal.SIGTERM)
        assert again.wait(timeout=15) == 0, "it did not end when it was told to"
    finally:
        if again.poll() is None:
            os.killpg(again.pid, signal.SIGKILL)


def headless(trial: Trial) -> None:
    """The engine's commands, from the bundle."""
    engine = Path(trial.command()[0]).with_name("model-loupe-engine")
    call = [
        str(engine),
        "generate",
        "--model",
        "builtin",
        "--chat",
        "Hello.",
        "--max-new-tokens",
        "5",
        "--json",
    ]
    done = subprocess.run([*without_network(), *call], env=trial.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1])["event"] == "finished"


def windows() -> list[str]:
    """The main windows on our display."""
    found = subprocess.run(
        ["xdotool", "search", "--onlyvisible", "--name", "Model Loupe"],
        env={"DISPLAY": DISPLAY, "PATH": os.environ["PATH"]}, capture_output=True, text=True,
    )  # fmt: skip
    return found.stdout.split()


@contextmanager
def display() -> Iterator[None]:
    """A display of our own."""
    server = subprocess.Popen(
        ["Xvfb", DISPLAY, "-screen", "0", "1440x900x24", "-nolisten", "tcp", "-noreset"]
    )
    try:
        time.sleep(1)
        yield
    finally:
        server.terminate()
        server.wait()


def main() -> int:
    """Try every step; returns 1 if one failed."""
    packages = sorted((ROOT / "dist").glob("*.deb"), key=lambda file: file.stat().st_mtime)
    deb = Path(sys.argv[1]) if len(sys.argv) > 1 else packages[-1]
    scratch = Path(tempfile.mkdtemp(prefix="model loupe "))
    trial = Trial(deb, scratch)
    failed = 0
    with display():
        steps = (tour, window_and_second_start, start_after_a_kill, headless)
        for name, step in (
            ("install", lambda _: trial.install()),
            *((step.__name__.replace("_", " "), step) for step in steps),
            ("remove", lambda _: trial.remove()),
        ):
            began = time.monotonic()
            try:
                step(trial)
                print(f"ok      {name} ({time.monotonic() - began:.0f} s)", flush=True)
            except (AssertionError, OSError, subprocess.SubprocessError, ValueError) as error:
                failed += 1
                print(f"FAILED  {name}: {error}", flush=True)
    print("results:", trial.results)
    return min(failed, 1)


def _call(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _wait(condition: Callable[[], bool], seconds: float, message: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, message
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
