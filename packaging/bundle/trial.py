"""One installed copy of the program and one user of it: what the trials and the measurements work with."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DISPLAY = ":57"
SAMPLE = ROOT / "resources" / "documents" / "sample.pdf"


class Trial:
    """One installed copy and one user of it.

    Args:
        place: The package, or a folder that holds its files already.
        scratch: An empty folder for the user's home, a runtime folder and results.
    """

    def __init__(self, place: Path, scratch: Path) -> None:
        self.place = place
        self.installs = os.geteuid() == 0 and shutil.which("dpkg") is not None and place.is_file()
        self.root = Path("/") if self.installs else place if place.is_dir() else scratch / "root"
        self.scratch = scratch
        self.home = scratch / "Home of Zoë"
        self.results = scratch / "results"
        self.installed: dict[str, int] = {}
        self.runtime = scratch / "runtime"
        for folder in (self.home, self.results, self.runtime):
            folder.mkdir(mode=0o700)
        self.environment = {
            "HOME": str(self.home), "PATH": "/nowhere", "DISPLAY": DISPLAY,
            "XDG_RUNTIME_DIR": str(self.runtime), "LANG": "C.UTF-8", "QT_QPA_PLATFORM": "xcb",
        }  # fmt: skip

    def install(self) -> None:
        """With dpkg, or unpacked."""
        if self.installs:
            call("dpkg", "--install", str(self.place))
        elif self.place.is_file():
            call("dpkg-deb", "--extract", str(self.place), str(self.root))
        self.installed = self.listing()

    def listing(self) -> dict[str, int]:
        """The files of the installed program and their sizes."""
        folder = self.root / "opt/model-loupe"
        return {str(path.relative_to(folder)): path.lstat().st_size for path in sorted(folder.rglob("*"))}

    def remove(self) -> None:
        """The package goes; the user's data stays, and nothing else."""
        if self.installs:
            listing = subprocess.run(["dpkg", "--listfiles", "model-loupe"], capture_output=True, text=True)
            files = [Path(line) for line in listing.stdout.splitlines()]
            call("dpkg", "--purge", "model-loupe")
            left = [path for path in files if path.is_symlink() or path.is_file()]
            left += [path for path in (Path("/opt/model-loupe"),) if path.exists()]
            assert not left, f"left behind: {left[:5]}"

    def command(self) -> list[str]:
        """What the desktop entry starts, without its field code."""
        entry = self.root / "usr/share/applications/org.modelloupe.ModelLoupe.desktop"
        line = next(text for text in entry.read_text().splitlines() if text.startswith("Exec="))
        name = line.removeprefix("Exec=").split()[0]
        target = self.root / "usr/bin" / name
        return [str(target if self.installs else self.root / str(target.readlink()).lstrip("/"))]

    def start(
        self, *arguments: str, user: int | None = None, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start the program as this user, without a network where that is possible."""
        log = (self.results / "output.log").open("ab")
        command = [*without_network(), *as_user(user), *self.command(), *arguments]
        return subprocess.Popen(
            command,
            env=self.environment if environment is None else environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    @contextmanager
    def running(self, *arguments: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
        """The program with its window open, until the end of the block at the latest."""
        before = len(windows())
        process = self.start(*arguments, **options)
        try:
            wait(lambda: len(windows()) > before, 300, "no window")
            yield process
        finally:
            kill(process)

    def output(self) -> str:
        """Everything that the program has written to its terminal."""
        return (self.results / "output.log").read_text(errors="replace")


def end(process: subprocess.Popen[bytes]) -> None:
    """Close the program as a desktop does at logout; it has to end by itself."""
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 0, "it did not end properly"


def kill(process: subprocess.Popen[bytes]) -> None:
    """End the program and its children at once."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def without_network() -> list[str]:
    """A prefix that takes the network away from a command; empty where we may not."""
    tool = shutil.which("unshare")
    if tool is None:
        return []
    prefix = [tool, "--net"] if os.geteuid() == 0 else [tool, "--map-root-user", "--net"]
    allowed = subprocess.run([*prefix, "true"], capture_output=True).returncode == 0
    return prefix if allowed else []


def as_user(user: int | None) -> list[str]:
    """A prefix that runs a command as another user; only for root."""
    tool = shutil.which("setpriv")
    if user is None or tool is None:
        return []
    return [tool, f"--reuid={user}", f"--regid={user}", "--clear-groups", "--"]


def windows() -> list[str]:
    """The main windows on our display."""
    return _on_display("xdotool", "search", "--onlyvisible", "--name", "Model Loupe").split()


def type_message(text: str) -> None:
    """Write into the input of the window and send."""
    window = windows()[-1]
    _on_display("xdotool", "windowfocus", window)
    time.sleep(0.5)
    _on_display("xdotool", "type", "--window", window, "--delay", "30", text)
    _on_display("xdotool", "key", "--window", window, "Return")


def picture(file: Path) -> None:
    """A picture of our display."""
    if shutil.which("import"):
        call("import", "-display", DISPLAY, "-window", "root", str(file))


def rows(database: Path, query: str) -> list[tuple[Any, ...]]:
    """What a query finds in a database of the program; empty while it is not there."""
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=2)) as opened:
            return opened.execute(query).fetchall()
    except sqlite3.Error:
        return []


@contextmanager
def display() -> Iterator[None]:
    """A display of our own."""
    server = subprocess.Popen(
        ["Xvfb", DISPLAY, "-ac", "-screen", "0", "1440x900x24", "-nolisten", "tcp", "-noreset"]
    )
    try:
        wait(lambda: Path(f"/tmp/.X11-unix/X{DISPLAY[1:]}").exists(), 20, "no display")
        time.sleep(0.5)
        yield
    finally:
        server.terminate()
        server.wait()


def call(*command: str) -> None:
    """Run a command that has to succeed."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def wait(condition: Callable[[], object], seconds: float, message: str) -> None:
    """Wait until a condition holds, or fail with a message."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, message
        time.sleep(0.05)


def _on_display(*command: str) -> str:
    environment = {"DISPLAY": DISPLAY, "PATH": os.environ["PATH"]}
    return subprocess.run(command, env=environment, capture_output=True, text=True).stdout
