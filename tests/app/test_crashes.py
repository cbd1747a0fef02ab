"""A session that ended unexpectedly: noticed, described without a word of the user's, offered, restored."""

from __future__ import annotations

import ast
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QPushButton, QWidget

from app.controllers.crashes import CrashesController
from app.crashes import CrashReport, SessionMark
from app.faults import FaultReporter, start_log
from app.trail import start_trail
from views.crash_view import CrashView
from views.models.faults import FaultsModel
from views.offer_bar import OfferBar
from views.theme import Theme

ROOT = Path(__file__).resolve().parents[2]
SECRET = "my diary of 1987"

#: A process that uses the log as the app does and ends in a crash of the interpreter.
_CRASHING = """
import faulthandler, logging, sys
from pathlib import Path
from app.crashes import SessionMark
from app.faults import Hooks, FaultReporter, start_log
from app.trail import start_trail
from PySide6.QtCore import QCoreApplication
from views.models.faults import FaultsModel
qt = QCoreApplication([])
logs = Path(sys.argv[1])
start_log(logs / "model-loupe.log")
start_trail(logs / "trail.log")
mark = SessionMark(logs)
mark.begin()
hooks = Hooks(FaultReporter(FaultsModel()))
hooks.install(mark.stacks_file)
logging.getLogger("app.x").info("Opened %s with %d pages", {secret!r}, 12)
def where_it_ends(text):
    faulthandler._sigsegv()
where_it_ends({secret!r})
"""


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def both_logs(logs: Path) -> Iterator[Path]:
    """The log and the trail, as the app opens them."""
    root = logging.getLogger()
    level = root.level
    trail = start_trail(logs / "trail.log")
    handlers = [handler for handler in (start_log(logs / "model-loupe.log"), trail) if handler is not None]
    yield logs
    root.setLevel(level)
    for handler in handlers:
        root.removeHandler(handler)
        handler.close()


def test_a_session_that_ends_properly_leaves_no_report(logs: Path) -> None:
    first = SessionMark(logs)
    assert first.begin() is None
    first.end()
    assert SessionMark(logs).begin() is None
    assert not list(logs.rglob("crash-*.txt"))


def test_a_killed_session_is_reported_once(logs: Path) -> None:
    SessionMark(logs).begin()
    second = SessionMark(logs)
    report = second.begin()
    assert report is not None
    assert report.file is not None
    assert report.file.read_text(encoding="utf-8") == report.text
    assert "it was ended from outside" in report.text
    assert "torch" in report.text
    second.end()
    assert SessionMark(logs).begin() is None


def test_a_crash_tells_where_and_nothing_of_the_user(logs: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CRASHING.format(secret=SECRET), str(logs)],
        capture_output=True,
        cwd=ROOT,
        env=os.environ | {"QT_QPA_PLATFORM": "offscreen"},
        timeout=120,
        check=False,
    )
    assert done.returncode < 0, done.stderr
    report = SessionMark(logs).begin()
    assert report is not None
    assert "Segmentation fault" in report.text
    assert "where_it_ends" in report.text
    assert "Opened … with 12 pages" in report.text
    assert SECRET not in report.text
    assert str(Path.home()) not in report.text


def test_when_the_machine_was_switched_off_nothing_is_offered(
    logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SessionMark(logs).begin()
    monkeypatch.setattr(psutil, "boot_time", lambda: time.time() + 60)
    assert SessionMark(logs).begin() is None


@pytest.mark.parametrize("mark", ["", "{", "[]", '{"began": "x"}'])
def test_a_mark_that_was_cut_short_is_still_a_mark(logs: Path, mark: str) -> None:
    logs.mkdir()
    (logs / "session-runs.json").write_text(mark)
    assert SessionMark(logs).begin() is not None


def test_only_the_newest_reports_are_kept(logs: Path) -> None:
    (logs / "reports").mkdir(parents=True)
    for number in range(9):
        (logs / "reports" / f"crash-2020010{number}-000000.txt").write_text("")
    SessionMark(logs).begin()
    report = SessionMark(logs).begin()
    assert report is not None
    kept = sorted((logs / "reports").iterdir())
    assert len(kept) == 5
    assert kept[-1] == report.file


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    blocked = tmp_path / "file" / "logs"
    mark = SessionMark(blocked)
    assert mark.begin() is None
    mark.end()
    assert start_trail(blocked / "trail.log") is None


def test_the_trail_keeps_kinds_and_places_and_no_texts(both_logs: Path, qapp: Any) -> None:
    FaultReporter(FaultsModel()).report(kind="disk-full", message=SECRET, hint=SECRET, details=SECRET)
    logging.getLogger("transformers").warning("%s", SECRET)
    logging.getLogger("httpx").warning(f"GET {SECRET}")
    try:
        raise ValueError(SECRET)
    except ValueError:
        logging.getLogger("inference.x").exception("A step failed after %.1f s: %s", 2.5, SECRET)
    trail = (both_logs / "trail.log").read_text(encoding="utf-8")
    assert SECRET in (both_logs / "model-loupe.log").read_text(encoding="utf-8")
    assert SECRET not in trail
    assert "disk-full" in trail
    assert "A step failed after 2.5 s: …" in trail
    assert "builtins.ValueError" in trail
    assert "app/test_crashes.py" in trail


def test_what_is_logged_is_a_constant_sentence() -> None:
    """The trail trusts the first argument of a log call: it must not be put together at run time."""
    bad = []
    for file in (path for part in ("app", "inference", "views") for path in (ROOT / part).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Attribute) and getattr(called.value, "id", "") in ("logger", "logging"):
                names = {"debug", "info", "warning", "error", "exception", "critical"}
                first = node.args[0] if isinstance(node, ast.Call) and node.args else None
                if called.attr in names and not isinstance(first, ast.Constant):
                    bad.append(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert bad == []


class Offered:
    """A report with the bar and the sheet that show it."""

    def __init__(self, theme: Theme, report: CrashReport | None, faults: Any) -> None:
        self.window = QWidget()
        self.window.resize(900, 700)
        self.bar, self.sheet = OfferBar("crashBar", theme, self.window), CrashView(theme, self.window)
        self.window.show()
        self.controller = CrashesController(report=report, bar=self.bar, sheet=self.sheet, faults=faults)

    def press(self, qtbot: Any, name: str) -> None:
        for widget in (self.bar, self.sheet):
            if (button := widget.findChild(QPushButton, name)) is not None:
                qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
                return
        raise AssertionError(name)


@pytest.fixture
def offered(qtbot: Any, qapp: Any, faults: Any, tmp_path: Path) -> Iterator[Offered]:
    file = tmp_path / "crash.txt"
    file.write_text("what happened")
    theme = Theme(qapp, "light")
    made = Offered(theme, CrashReport(text="what happened", file=file), faults)
    qtbot.addWidget(made.window)
    yield made
    theme.deleteLater()


def test_the_report_is_viewed_copied_and_saved(offered: Offered, qtbot: Any, tmp_path: Path) -> None:
    offered.controller.offer()
    assert offered.bar.isVisible()
    offered.press(qtbot, "crashBar-view")
    assert not offered.bar.isVisible()
    assert offered.sheet.text.toPlainText() == "what happened"
    offered.press(qtbot, "copyCrashReport")
    assert QGuiApplication.clipboard().text() == "what happened"
    assert offered.controller.save(tmp_path / "copy.txt")
    assert (tmp_path / "copy.txt").read_text() == "what happened"


def test_deleting_removes_the_file(offered: Offered, qtbot: Any, tmp_path: Path) -> None:
    offered.controller.offer()
    offered.press(qtbot, "crashBar-delete")
    assert not (tmp_path / "crash.txt").exists()
    assert not offered.bar.isVisible()


def test_a_copy_that_cannot_be_written_is_told(offered: Offered, faults: Any, tmp_path: Path) -> None:
    assert not offered.controller.save(tmp_path / "crash.txt" / "copy.txt")
    assert faults.kinds == ["export-failed"]


def test_without_a_report_nothing_is_offered(qtbot: Any, qapp: Any, faults: Any) -> None:
    theme = Theme(qapp, "light")
    made = Offered(theme, None, faults)
    qtbot.addWidget(made.window)
    made.controller.offer()
    assert not made.bar.isVisible()
    theme.deleteLater()
