"""How long the app says it has been running."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: /proc counts in hundredths.
TICK = 0.02

CHILD = """
import sys
from app.milestones import seconds_since_start
print("ready", flush=True)
sys.stdin.readline()
print(seconds_since_start(), flush=True)
"""


def test_the_age_of_the_process_is_the_time_since_it_was_started() -> None:
    before = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    there = time.monotonic()
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    asked = time.monotonic()
    child.stdin.write("\n")
    child.stdin.flush()
    age = float(child.stdout.readline())
    answered = time.monotonic()
    child.communicate()
    assert asked - there - TICK <= age <= answered - before + TICK
