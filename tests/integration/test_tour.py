"""The whole tour, with the network cut off and a guard that notices any attempt to use it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from resources import BUILTIN_MODEL

HIDDEN = ("QT_QPA_PLATFORM", "DISPLAY", "WAYLAND_DISPLAY")

#: Runs Python code (argument 1) and writes to a file (argument 2) what Python asked of the network, and how
#: many packets or connections of the namespace (native code and child processes, too) had nowhere to go.
_GUARDED = """
import json, socket, sys
from pathlib import Path
asked = []
names = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr",
         "socket.sendto", "socket.sendmsg"}
def guard(event, arguments):
    if event in names and getattr(arguments[0], "family", None) != getattr(socket, "AF_UNIX", -1):
        asked.append(f"{event} {arguments[1:] if event.startswith('socket.s') else arguments}")
        raise PermissionError(asked[-1])
sys.addaudithook(guard)
def unroutable():
    try:
        names, values = [line.split() for line in open("/proc/net/snmp") if line.startswith("Ip:")]
    except OSError:
        return 0
    return int(values[names.index("OutNoRoutes")])
before = unroutable()
_, code, result, *rest = sys.argv
sys.argv = ["guarded", *rest]
status = 0
try:
    exec(code)
except SystemExit as end:
    status = end.code
Path(result).write_text(json.dumps({"asked": asked, "unroutable": unroutable() - before}))
sys.exit(status)
"""

_TOUR = "from app.__main__ import main; sys.exit(main(sys.argv[1:]))"

#: Asks from Python, from native code, and from a child process.
_TALKATIVE = """
import ctypes, struct, subprocess
for ask in (lambda: socket.create_connection(("127.0.0.1", 9), timeout=1),
            lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9))):
    try:
        ask()
    except OSError:
        pass
c = ctypes.CDLL(None)
address = struct.pack("=H", socket.AF_INET) + struct.pack(">H", 9) + bytes([127, 0, 0, 1]) + bytes(8)
c.connect(c.socket(socket.AF_INET, socket.SOCK_STREAM, 0), address, len(address))
child = "import socket; socket.socket().connect_ex(('127.0.0.1', 9))"
subprocess.run([sys.executable, "-c", child], check=True)
"""


def without_network() -> list[str]:
    """A prefix that gives a command a network without any device that is up; empty where we may not."""
    tool = shutil.which("unshare")
    if tool is None:
        return []
    prefix = [tool, "--map-root-user", "--net"]
    allowed = subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
    return prefix if allowed else []


def guarded(
    code: str, result: Path, *arguments: str
) -> tuple[subprocess.CompletedProcess[str], dict[str, object]]:
    """Run code under the guard; returns how it ended and what the guard saw."""
    done = subprocess.run(
        [*without_network(), sys.executable, "-c", _GUARDED, code, str(result), *arguments],
        env={name: value for name, value in os.environ.items() if name not in HIDDEN},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    return done, json.loads(result.read_text()) if result.exists() else {}


def test_the_guard_notices_every_kind_of_attempt(tmp_path: Path) -> None:
    done, seen = guarded(_TALKATIVE, tmp_path / "seen.json")
    assert done.returncode == 0, done.stderr
    asked = seen["asked"]
    assert isinstance(asked, list)
    assert [entry.split()[0] for entry in asked] == ["socket.getaddrinfo", "socket.sendto"]
    if without_network():
        assert seen["unroutable"] == 2


@pytest.mark.builtin
@pytest.mark.skipif(
    not (BUILTIN_MODEL / "model.safetensors").exists(), reason="the built-in model is not there"
)
def test_the_tour_visits_everything_and_asks_nothing_of_the_network(tmp_path: Path) -> None:
    folder = tmp_path / "tour"
    done, seen = guarded(_TOUR, tmp_path / "seen.json", "--tour", str(folder))
    account = json.loads((folder / "tour.json").read_text())
    assert (done.returncode, account["failures"]) == (0, []), done.stderr
    assert seen == {"asked": [], "unroutable": 0}
    for step in account["steps"]:
        for name in step["screenshots"]:
            assert (folder / name).stat().st_size > 10_000
