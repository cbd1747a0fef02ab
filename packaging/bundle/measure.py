"""Figures of the installed program and of this checkout, in one run.

    python packaging/bundle/measure.py FOLDER|PACKAGE [--part cold|warm|sizes] [--starts N]
        [--archives DIR] [--json FILE]

FOLDER is a root that holds the files of the package. Run with the Python of an environment that holds Model
Loupe, on a machine that does nothing else; needs Xvfb and xdotool. A part takes less than 150 seconds on two
cores and adds what it found to FILE; without --part all are measured.

Measured for both in turn, each start on a profile of its own: seconds from the start of the process to the
painted window and to the loaded built-in model, seconds from sending a question to the first token, resident
memory 20 quiet seconds after the reply (all processes; "rss", and "pss", which counts shared pages once).
Before a cold start the system is told to forget what it has read: as root all of it (drop_caches), as anyone
else the files of the program and of the Python that runs it (posix_fadvise). Sizes by component are those of
the installed files; archives are those in DIR.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from trial import ROOT, Trial, display, kill, type_message, wait

_QUIET_SECONDS = 20.0
_QUESTION = "Why is the sky blue?"
_FIELDS = ("painted", "ready", "first_token", "rss", "pss")


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start. Seconds from the start of the process, but ``first_token``: from sending; memory in MB."""

    painted: float
    ready: float
    first_token: float
    rss: float
    pss: float


def main() -> int:
    """Measure both and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("place", type=Path)
    parser.add_argument("--archives", type=Path, default=ROOT / "dist")
    parser.add_argument("--part", choices=("cold", "warm", "sizes"))
    parser.add_argument("--starts", type=int, default=2, help="warm starts of each")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="model loupe "))
    scratch.chmod(0o755)
    trial = Trial(options.place.resolve(), scratch)
    trial.install()
    found: dict[str, Any] = {"bundle": {}, "source": {}}
    if options.json and options.json.exists():
        found = json.loads(options.json.read_text(encoding="utf-8"))
    found["cores"] = os.cpu_count()
    if options.part in (None, "cold"):
        _measure_cold(trial, found)
    if options.part in (None, "warm"):
        _measure_warm(trial, found, options.starts)
    if options.part in (None, "sizes"):
        found["installed_mb"] = sizes(trial.root / "opt/model-loupe")
        found["archives_mb"] = {
            file.name: round(file.stat().st_size / 1e6, 1)
            for file in sorted(options.archives.glob("*-loupe[-_]*.*"))
        }
    if not options.place.is_dir():
        trial.remove()
    _print(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def _measure_cold(trial: Trial, found: dict[str, Any]) -> None:
    found["load before cold"] = os.getloadavg()[0]
    with display():
        for name, start in _both(trial):
            found["cold means"] = _forget_files((trial.root / "opt/model-loupe", ROOT, Path(sys.prefix)))
            found[name]["cold"] = asdict(_measured(trial, start, f"{name}-cold"))


def _measure_warm(trial: Trial, found: dict[str, Any], starts: int) -> None:
    found["load before warm"] = os.getloadavg()[0]
    measured: dict[str, list[Start]] = {"bundle": [], "source": []}
    with display():
        for number in range(starts):
            for name, start in _both(trial):
                measured[name].append(_measured(trial, start, f"{name}-{number}"))
    for name, all_starts in measured.items():
        found[name]["warm"] = {
            field: round(statistics.median(getattr(one, field) for one in all_starts), 3) for field in _FIELDS
        }


def _both(trial: Trial) -> tuple[tuple[str, Starter], ...]:
    return (("bundle", _of_bundle(trial)), ("source", _of_source(trial)))


Starter = Callable[[list[str], Path], "subprocess.Popen[bytes]"]


def _of_bundle(trial: Trial) -> Starter:
    def start(arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
        return _started([*trial.command(), *arguments], trial.environment, log)

    return start


def _of_source(trial: Trial) -> Starter:
    environment = {**trial.environment, "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}

    def start(arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
        return _started([sys.executable, "-m", "app", *arguments], environment, log)

    return start


def _started(command: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, start_new_session=True, cwd=log.parent
        )


def _measured(trial: Trial, start: Starter, name: str) -> Start:
    """One start on a profile of its own, a question, a pause, the end."""
    profile = trial.scratch / name
    began = time.monotonic()
    process = start(["--profile", str(profile)], trial.results / f"{name}.log")
    try:
        log = profile / "logs" / "trail.log"
        painted = _said(log, r"Painted ([\d.]+) s")
        waited = time.monotonic() - began
        assert painted <= waited + 0.02, f"it says {painted} s and was painted within {waited:.2f} s"
        ready = _said(log, r"Model loaded ([\d.]+) s")
        time.sleep(1)
        type_message(_QUESTION)
        first_token = _said(log, r"First token after ([\d.]+) s")
        time.sleep(_QUIET_SECONDS)
        rss, pss = _memory(process.pid)
    finally:
        kill(process)
    return Start(painted=painted, ready=ready, first_token=first_token, rss=rss, pss=pss)


def _said(log: Path, pattern: str) -> float:
    """What the program wrote to its log about itself, as soon as it is there."""

    def found() -> re.Match[str] | None:
        return re.search(pattern, log.read_text(encoding="utf-8")) if log.exists() else None

    wait(found, 300, f"the log has no {pattern!r}")
    said = found()
    assert said is not None
    return float(said[1])


def _forget_files(folders: tuple[Path, ...]) -> str:
    """Let the next start read from the disk; returns how."""
    os.sync()
    with suppress(OSError):
        Path("/proc/sys/vm/drop_caches").write_text("3", encoding="utf-8")
        return "page cache dropped"
    for folder in folders:
        for file in folder.rglob("*"):
            if file.is_file():
                with file.open("rb") as opened:
                    os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return "files given up with posix_fadvise; the system's own libraries stay"


def _memory(process: int) -> tuple[float, float]:
    """Resident memory of a process and its children in MB; the second counts shared pages once."""
    family = [psutil.Process(process), *psutil.Process(process).children(recursive=True)]
    infos = [one.memory_full_info() for one in family]
    return round(sum(one.rss for one in infos) / 1e6, 1), round(sum(one.pss for one in infos) / 1e6, 1)


def sizes(folder: Path, most: int = 15) -> dict[str, float]:
    """Installed MB by component, the largest first."""
    found: Counter[str] = Counter()
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            place = file.relative_to(folder).parts
            name = place[1] if len(place) > 2 else place[-1]
            found[re.sub(r"(-[\d.]+.*)?\.(dist-info|libs)$", "", name)] += file.stat().st_size
    whole = {"all": sum(found.values()), **dict(found.most_common(most))}
    return {name: round(size / 1e6, 1) for name, size in whole.items()}


def _print(found: dict[str, Any]) -> None:
    loads = [f"{key} {value:.2f}" for key, value in found.items() if key.startswith("load")]
    print(f"{found['cores']} cores; {', '.join(loads)}; cold: {found.get('cold means', 'not measured')}")
    print(f"{'':24}{'painted':>9}{'ready':>9}{'token':>9}{'rss':>9}{'pss':>9}")
    for name in ("bundle", "source"):
        for kind, one in sorted(found[name].items()):
            row = "".join(f"{one[field]:9.2f}" for field in _FIELDS[:3])
            print(f"{name + ', ' + kind:24}{row}{one['rss']:9.0f}{one['pss']:9.0f}")
    for heading in ("installed_mb", "archives_mb"):
        print(heading.replace("_mb", ", MB"))
        for name, size in found.get(heading, {}).items():
            print(f"  {name:<44}{size:9.1f}")


if __name__ == "__main__":
    sys.exit(main())
