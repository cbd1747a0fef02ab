"""``python -m app.bench``: what the window costs, in figures and in ratios to a reference of the same run.

What is compared runs in turn, so that a busy machine disturbs both alike.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

_ENVIRONMENT = {"QT_QPA_PLATFORM": "offscreen"} if sys.platform.startswith("linux") else {}


def measure(module: str, *arguments: str) -> dict[str, Any]:
    """Run a part in a process of its own and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=_ENVIRONMENT | dict(os.environ),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{module} {' '.join(arguments)} failed:\n{done.stderr}")
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def in_window(part: str, *arguments: str) -> dict[str, Any]:
    """Run a part of the window's benchmarks; its clock starts here."""
    return measure("app.bench.in_window", part, "--launched", str(time.time()), *arguments)


def decode(options: argparse.Namespace) -> dict[str, Any]:
    """Decode speed with the window open and streaming against the same loop without a listener, in turn in
    one process, and against a bare script of its own; stalls of the GUI thread meanwhile.

    ``window_to_bare`` is the median of the pairs in one process. ``window_to_other_process`` is the ratio to
    the script, which differs by up to 9 % from one start to the next.
    """
    sizes = ("--tokens", str(options.tokens), "--repeats", str(options.repeats))
    bare: list[float] = []
    alone: list[float] = []
    window: list[float] = []
    watched: list[float] = []
    shares: list[float] = []
    stalls: list[dict[str, float]] = []
    for _ in range(options.rounds):
        bare += measure("app.bench.bare", *sizes)["rates"]
        figures = in_window("decode", *sizes)
        alone += figures["rates_alone"]
        window += figures["rates"]
        watched += figures["rates_with_heartbeat"]
        shares.append(figures["gui_cpu_share"])
        stalls.append(figures["generating"])
    script, loop, shown, ticked = (statistics.median(rates) for rates in (bare, alone, window, watched))
    pairs = [streamed / silent for streamed, silent in zip(window, alone, strict=True)]
    return {
        "tokens_per_second": {
            "bare": round(loop, 1),
            "bare_script": round(script, 1),
            "window": round(shown, 1),
            "window_with_heartbeat": round(ticked, 1),
        },
        "window_to_bare": round(statistics.median(pairs), 3),
        "window_to_other_process": round(shown / script, 3),
        "goal": 0.95,
        "gui_cpu_share": round(statistics.median(shares), 3),
        "stalls_ms": worst(stalls),
        "stalls_goal_ms": {"p99": 16, "longest": 100},
    }


def start(options: argparse.Namespace) -> dict[str, Any]:
    """From the launch to the painted window, the model and the first token; stalls; memory."""
    runs = [in_window("start") for _ in range(options.rounds)]
    median = {
        name: round(statistics.median(run[name] for run in runs), 3)
        for name in (
            "painted_seconds",
            "loaded_seconds",
            "first_token_seconds",
            "first_token_after_send_seconds",
            "close_seconds",
        )
    }
    memory = {
        name: round(statistics.median(run[name] for run in runs) / 1e6)
        for name in ("window_memory", "idle_memory")
    }
    return {
        **median,
        "painted_goal_seconds": 1.5,
        "painted_to_goal": round(median["painted_seconds"] / 1.5, 3),
        "torch_at_paint": any(run["torch_at_paint"] for run in runs),
        "memory_mb": memory,
        "stalls_ms": worst([run["start_and_load"] for run in runs]),
        "stalls_goal_ms": {"longest": 400},
    }


def long(options: argparse.Namespace) -> dict[str, Any]:
    """Stalls while a scripted reply grows to 20,000 tokens, against those while it grows to the first
    2,000.
    """
    short = in_window("long", "--tokens", "2000", "--per-second", str(options.per_second))
    whole = in_window("long", "--tokens", str(options.length), "--per-second", str(options.per_second))
    few, many = short["long_transcript"], whole["long_transcript"]
    return {
        "tokens": options.length,
        "tokens_per_second": options.per_second,
        "stalls_ms": worst([many]),
        "stalls_ms_of_2000_tokens": worst([few]),
        "p99_to_short": round(many["p99"] / max(few["p99"], 0.1), 2),
        "change_of_view_ms": worst([whole["long_transcript_switch"]]),
        "stalls_goal_ms": {"p99": 16, "longest": 100},
    }


def reading(options: argparse.Namespace) -> dict[str, Any]:
    """Stalls of the GUI thread while documents are read and embedded."""
    run = in_window("reading", "--documents", options.documents)
    return {
        "documents": run["documents"],
        "passages": run["passages"],
        "seconds": round(run["reading"]["seconds"], 1),
        "gui_cpu_share": round(run["reading"]["cpu_seconds"] / run["reading"]["seconds"], 3),
        "stalls_ms": worst([run["reading"]]),
        "stalls_goal_ms": {"longest": 100},
    }


def worst(stalls: list[dict[str, float]]) -> dict[str, float]:
    """The worst figures of several runs, in milliseconds."""
    names = ("p50", "p99", "longest", "cpu_p99", "cpu_longest")
    return {name: round(max(stall[name] for stall in stalls), 1) for name in names}


def main() -> None:
    """Run the chosen parts and print one JSON object."""
    parts = {"decode": decode, "start": start, "long": long, "reading": reading}
    needing = {"reading"}  # what is named by --documents
    parser = argparse.ArgumentParser(prog="python -m app.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(parts)}; default: all")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each kind (default 3)")
    parser.add_argument("--repeats", type=int, default=3, help="replies a run (default 3)")
    parser.add_argument("--tokens", type=int, default=200, help="longest reply (default 200)")
    parser.add_argument("--length", type=int, default=20_000, help="tokens of the long reply")
    parser.add_argument("--per-second", type=float, default=200.0, help="speed of the long reply")
    parser.add_argument("--documents", metavar="DIR", help="the folder that the part reading reads")
    options = parser.parse_args()
    if unknown := set(options.parts) - parts.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    figures: dict[str, Any] = {"cores": os.cpu_count(), "load_before": round(os.getloadavg()[0], 2)}
    if options.documents is None and "reading" in options.parts:
        parser.error("reading needs --documents")
    for name in options.parts or [name for name in parts if name not in needing or options.documents]:
        print(f"{name} ...", file=sys.stderr)
        figures[name] = parts[name](options)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
