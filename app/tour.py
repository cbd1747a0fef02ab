"""The tour: drives the real window through its parts, writes numbered screenshots and what was measured."""

from __future__ import annotations

import json
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from PySide6.QtCore import qVersion
from PySide6.QtWidgets import QApplication, QWidget

from app.bootstrap import App, Options
from app.driving import Driver
from app.faults import Hooks, start_log
from app.profile import Profile
from app.settings import write_whole
from views.models.faults import Fault


@dataclass(frozen=True, slots=True)
class Step:
    """One stop of the tour: ``name`` is part of its screenshots' names, ``run`` does it."""

    name: str
    title: str
    run: Callable[[Visit], None]


@dataclass(slots=True, kw_only=True)
class Account:
    """What is written down of a step; ``failure`` is empty if it went well."""

    number: int
    name: str
    title: str
    seconds: float = 0.0
    screenshots: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    failure: str = ""


class Visit(Driver):
    """What steps work with: the app, ways to wait, and a place for figures and screenshots."""

    def __init__(self, app: App, folder: Path) -> None:
        super().__init__(app)
        self.folder = folder
        self.account = Account(number=0, name="", title="")
        self.fault_expected = False

    def expect_fault(self) -> None:
        """This step shows how the app fails."""
        self.fault_expected = True

    def note(self, **figures: Any) -> None:
        """Write figures down."""
        self.account.figures |= figures

    def check(self, holds: object, what: str) -> None:
        """Fail the step unless ``holds``."""
        if not holds:
            raise AssertionError(f"not so: {what}")

    def shoot(self, suffix: str = "", widget: QWidget | None = None) -> None:
        """Take a screenshot of the window."""
        self.nap(0.25)
        name = f"{self.account.number:02d}-{self.account.name}{'-' + suffix if suffix else ''}.png"
        self.check(
            (widget or self.app.widgets.window).grab().save(str(self.folder / name)), f"{name} is saved"
        )
        self.account.screenshots.append(name)


class Tour:
    """Runs the steps on an empty profile; a step that fails does not keep the next ones from running.

    Args:
        qt: The application.
        folder: Where screenshots and ``tour.json`` go.
        profile: A folder to keep the profile in; None: a temporary one.
        steps: What to visit; None: everything.
    """

    def __init__(
        self,
        qt: QApplication,
        folder: Path,
        profile: str | None = None,
        steps: tuple[Step, ...] | None = None,
    ) -> None:
        from app.tour_steps import STEPS

        self._qt = qt
        self._folder = folder
        self._profile = profile
        self._steps = STEPS if steps is None else steps
        self._accounts: list[Account] = []
        self._faults: list[Fault] = []

    def run(self) -> int:
        """Visit everything; returns the exit status."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
            profile = Profile.under(Path(self._profile or temporary))
            log = start_log(profile.log_file)
            began = time.perf_counter()
            app = App(self._qt, Options(profile=profile))
            hooks = Hooks(app.faults)
            hooks.install()
            app.models.faults.added.connect(self._faults.append)
            ended: list[bool] = []
            app.closed.connect(ended.append)
            visit = Visit(app, self._folder)
            for number, step in enumerate(self._steps, start=1):
                self._visit(visit, number, step)
            closing = time.perf_counter()
            app.widgets.window.close()
            seconds = {"total": time.perf_counter() - began, "close": time.perf_counter() - closing}
            hooks.remove()
            log.close()
            return self._write(seconds, threads_ended=ended == [True])

    def _visit(self, visit: Visit, number: int, step: Step) -> None:
        account = visit.account = Account(number=number, name=step.name, title=step.title)
        visit.fault_expected = False
        began, faults = time.perf_counter(), len(self._faults)
        try:
            step.run(visit)
            unexpected = self._faults[faults:]
            if unexpected and not visit.fault_expected:
                account.failure = f"{unexpected[0].kind}: {unexpected[0].message}\n{unexpected[0].details}"
        except Exception:
            account.failure = traceback.format_exc()
        account.seconds = round(time.perf_counter() - began, 3)
        self._accounts.append(account)
        print(f"{'FAILED' if account.failure else 'ok':6} {number:2d} {step.title} ({account.seconds:.1f} s)")
        if account.failure:
            print(account.failure, file=sys.stderr)

    def _write(self, seconds: dict[str, float], *, threads_ended: bool) -> int:
        failures = [account.name for account in self._accounts if account.failure]
        if not threads_ended:
            failures.append("close")
        whole = {
            "app": "model-loupe",
            "python": platform.python_version(),
            "qt": qVersion(),
            "platform": f"{platform.system()} {platform.machine()}, {QApplication.platformName()}",
            "seconds": {name: round(value, 3) for name, value in seconds.items()},
            "threads_ended": threads_ended,
            "failures": failures,
            "steps": [asdict(account) for account in self._accounts],
        }
        write_whole(self._folder / "tour.json", json.dumps(whole, indent=1) + "\n")
        return 1 if failures else 0
