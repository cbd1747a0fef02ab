"""A session that did not end properly is noticed at the next start, and a report of it is written.

While a session runs, a mark lies in the folder of the logs; closing takes it away. The report is a text file
on this machine: versions, the stacks that Python's fault handler left, the last lines of the trail. It is
never sent.
"""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from app.trail import place

_TRAIL_LINES = 80
_STACK_BYTES = 60_000
_KEPT_REPORTS = 5
_HEAD = (
    "Model Loupe: report of a session that did not end properly",
    "Made on this machine and sent nowhere. It holds versions, places in the program and what it did,",
    "and nothing that you or a model wrote.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashReport:
    """What is known of a session that ended unexpectedly; ``file`` is None where it could not be written."""

    text: str
    file: Path | None

    def delete(self) -> bool:
        """Remove the file; returns whether it is gone."""
        if self.file is not None:
            try:
                self.file.unlink(missing_ok=True)
            except OSError:
                return False
        return True


class SessionMark:
    """Tells the next start whether this session ended properly; for the process that holds the profile.

    Args:
        logs: The folder of the logs.
    """

    def __init__(self, logs: Path) -> None:
        self._mark = logs / "session-runs.json"
        self._reports = logs / "reports"
        self.stacks_file = logs / "crash.log"
        self.trail_file = logs / "trail.log"
        self._begun = False

    def begin(self) -> CrashReport | None:
        """Mark the session as running.

        Returns:
            A report if the one before did not end properly. One that was running when the machine was
            switched off is none.
        """
        report = self._report()
        with suppress(OSError):
            self._mark.parent.mkdir(parents=True, exist_ok=True)
            self.stacks_file.write_text("", encoding="utf-8")
            self._mark.write_text(json.dumps({"pid": os.getpid(), "began": time.time()}), encoding="utf-8")
            self._begun = True
        return report

    def end(self) -> None:
        """The session ends properly."""
        if self._begun:
            self._begun = False
            with suppress(OSError):
                self._mark.unlink(missing_ok=True)

    def _report(self) -> CrashReport | None:
        stacks = _tail(self.stacks_file, _STACK_BYTES)
        if not stacks.strip() and (not self._mark.exists() or self._machine_ended()):
            return None
        text = self._text(stacks)
        file = self._reports / f"crash-{time.strftime('%Y%m%d-%H%M%S')}.txt"
        try:
            self._reports.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            for old in sorted(self._reports.glob("crash-*.txt"))[:-_KEPT_REPORTS]:
                old.unlink()
        except OSError:
            return CrashReport(text=text, file=file if file.exists() else None)
        return CrashReport(text=text, file=file)

    def _machine_ended(self) -> bool:
        """Whether the machine was started after the session was last heard of."""
        with suppress(OSError):
            seen = max(file.stat().st_mtime for file in (self._mark, self.trail_file) if file.exists())
            return psutil.boot_time() > seen
        return False

    def _text(self, stacks: str) -> str:
        from views.about_view import versions

        began = 0.0
        with suppress(OSError, ValueError, TypeError, AttributeError):
            began = float(json.loads(self._mark.read_text(encoding="utf-8")).get("began", 0.0))
        parts = ["\n".join(_HEAD)]
        if began:
            parts.append(f"The session began {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(began))}.")
        parts.append("\n".join(f"{name}  {version}" for name, version in versions()))
        parts.append("Stacks:\n" + (_with_short_places(stacks).strip() or "none: it was ended from outside"))
        trail = _tail(self.trail_file, _STACK_BYTES).splitlines()[-_TRAIL_LINES:]
        parts.append("Last lines of the log:\n" + "\n".join(trail or ["none"]))
        return "\n\n".join(parts) + "\n"


def _tail(file: Path, size: int) -> str:
    with suppress(OSError), file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - size))
        return opened.read(size).decode("utf-8", errors="replace")
    return ""


def _with_short_places(stacks: str) -> str:
    """Stacks as the fault handler writes them, without the folders of this machine."""
    return re.sub(r'File "([^"\n]*)"', lambda found: f'File "{place(found[1])}"', stacks)
