"""``make package-test``: installs what was built, starts it as a desktop would, uses it, and removes it.

    python packaging/bundle/try_out.py [dist/model-loupe_..._amd64.deb | FOLDER] [--only WORD]

FOLDER is a root that holds the files of the package already. As root the package is installed with dpkg and
removed again; as anyone else it is unpacked into a temporary folder. The program gets a home of its own, no
Python on its PATH and no network (where the system lets us take it away). Run with the Python of an
environment that holds Model Loupe: the tour is run from source, too, and the pictures of both are compared.
Needs Xvfb and xdotool. Prints a line a step and a summary; exit status 1 if a step failed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from circumstances import CIRCUMSTANCES, Skipped
from pictures import differences
from trial import (
    ROOT,
    SAMPLE,
    Trial,
    display,
    end,
    kill,
    picture,
    rows,
    type_message,
    wait,
    windows,
    without_network,
)


def install(trial: Trial) -> None:
    """Put the program where it belongs."""
    trial.install()


def tour(trial: Trial) -> None:
    """The whole tour, every step of it green."""
    folder = trial.results / "tour"
    process = trial.start("--tour", str(folder), "--profile", str(trial.home / "tour profile"))
    try:
        status = process.wait(timeout=3600)
    finally:
        kill(process)
    report = json.loads((folder / "tour.json").read_text())
    assert status == 0, f"the tour ended with a failure: {report['failures']}"
    assert not report["failures"], report["failures"]
    print(f"    {len(report['steps'])} stops, {len(list(folder.glob('*.png')))} pictures")


def same_pictures_as_from_source(trial: Trial) -> None:
    """The tour from this checkout, on the same display: every picture the same (see ``pictures``)."""
    folder = trial.results / "tour from source"
    command = [*without_network(), sys.executable, "-m", "app", "--tour", str(folder)]
    environment = {**trial.environment, "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stderr[-2000:]
    found = differences(trial.results / "tour", folder)
    worst = sorted(found, key=lambda one: -one.share)[:3]
    print("    largest differences:", ", ".join(f"{one.name} {one.share:.1%}" for one in worst))
    other = [f"{one.name} ({one.share:.1%} of the blocks)" for one in found if not one.same]
    assert not other, f"not the same: {', '.join(other)}"


def a_file_for_the_running_window(trial: Trial) -> None:
    """The first start paints a window; a PDF opened from the desktop is read there, in the same one."""
    began = time.monotonic()
    with trial.running() as first:
        print(f"    window after {time.monotonic() - began:.1f} s")
        second = trial.start(str(SAMPLE))
        assert second.wait(timeout=300) == 0, "the second start did not hand over its file"
        assert first.poll() is None, "the first window is gone"
        assert len(windows()) == 1, "a second window was opened"
        ledger = trial.home / ".local/share/model-loupe/libraries/My documents/library.db"
        read = "SELECT count(*) FROM documents WHERE state = 'indexed' AND file LIKE '%sample.pdf'"
        wait(lambda: rows(ledger, read) == [(1,)], 900, "the PDF was not read")
        picture(trial.results / "pdf.png")
        end(first)


def killed_in_mid_reply_and_restored(trial: Trial) -> None:
    """Half a reply is there again after ``kill -9``, and a report of the crash that holds none of it."""
    history = trial.home / ".local/share/model-loupe/history.sqlite3"
    half = "SELECT length(text) FROM messages WHERE state = 'streaming' AND role = 'assistant'"
    with trial.running() as first:
        time.sleep(10)
        type_message("Please tell me a very long story about a lighthouse keeper and the sea.")
        wait(lambda: (rows(history, half) or [(0,)])[0][0] > 40, 300, "no reply was begun")
        kill(first)
    kept = rows(history, half)[0][0]
    reports = trial.home / ".local/state/model-loupe/log/reports"
    with trial.running() as again:
        time.sleep(8)
        assert again.poll() is None, "it did not stay open"
        texts = [file.read_text() for file in reports.glob("crash-*.txt")]
        assert len(texts) == 1, "no report of the crash"
        assert "lighthouse" not in texts[0], "the report holds what was typed"
        assert rows(history, half)[0][0] >= kept, "the half reply is gone"
        picture(trial.results / "after-a-kill.png")
        end(again)
    print(f"    {kept} characters of the reply kept")


def headless(trial: Trial) -> None:
    """The engine's commands, from the bundle."""
    engine = str(Path(trial.command()[0]).with_name("model-loupe-engine"))
    calls = (
        ["generate", "--model", "builtin", "--chat", "Hello.", "--max-new-tokens", "5", "--json"],
        ["ask", "--library", str(trial.home / "library"), "--add", str(SAMPLE), "--question",
         "When does the observatory open?", "--model", "builtin", "--json"],
    )  # fmt: skip
    for arguments in calls:
        call = [*without_network(), engine, *arguments]
        done = subprocess.run(call, env=trial.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        last = json.loads(done.stdout.splitlines()[-1])["event"]
        assert last in ("finished", "answer"), last
    version = subprocess.run(
        [*trial.command(), "--version"], env=trial.environment, capture_output=True, text=True
    )
    assert version.stdout.startswith("model-loupe "), version


def unchanged_by_use(trial: Trial) -> None:
    """Using the program has written nothing beside it."""
    assert trial.listing() == trial.installed


def remove(trial: Trial) -> None:
    """Uninstall; what the user made stays."""
    history = trial.home / ".local/share/model-loupe/history.sqlite3"
    there = history.exists()  # with --only nothing may have been said
    trial.remove()
    assert history.exists() == there, "the user's conversations are gone"


STEPS: tuple[Callable[[Trial], None], ...] = (
    install, tour, same_pictures_as_from_source, a_file_for_the_running_window,
    killed_in_mid_reply_and_restored, headless, *CIRCUMSTANCES,
    unchanged_by_use, remove,
)  # fmt: skip


def main() -> int:
    """Try every step; returns 1 if one failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("place", nargs="?", type=Path, help="a .deb, or a root with its files")
    parser.add_argument("--only", metavar="WORD", help="only the steps with this word in their name")
    options = parser.parse_args()
    place = options.place
    if place is None:
        place = max((ROOT / "dist").glob("*.deb"), key=lambda file: file.stat().st_mtime)
    trial = Trial(place.resolve(), Path(tempfile.mkdtemp(prefix="model loupe ")))
    trial.scratch.chmod(0o755)
    chosen = [
        step
        for step in STEPS
        if options.only is None or options.only in step.__name__ or step in (install, remove)
    ]
    with display():
        outcomes = [(step.__name__.replace("_", " "), _tried(step, trial)) for step in chosen]
    failed = [name for name, outcome in outcomes if outcome == "failed"]
    counts = Counter(outcome for _, outcome in outcomes)
    print(f"{place.name}: {', '.join(f'{count} {outcome}' for outcome, count in counts.items())}", end="")
    print(f" ({', '.join(failed)})" if failed else "")
    print("results:", trial.results)
    return 1 if failed else 0


def _tried(step: Callable[[Trial], None], trial: Trial) -> str:
    name, began = step.__name__.replace("_", " "), time.monotonic()
    try:
        step(trial)
    except Skipped as reason:
        print(f"skipped {name}: {reason}", flush=True)
        return "skipped"
    except (AssertionError, OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        print(f"FAILED  {name}: {error}", flush=True)
        return "failed"
    print(f"ok      {name} ({time.monotonic() - began:.0f} s)", flush=True)
    return "ok"


if __name__ == "__main__":
    sys.exit(main())
