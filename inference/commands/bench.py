"""Benchmarks; each prints its figures with their ratio to a reference that was measured in the same run.

Each is a module of :mod:`inference.bench` with ``add_arguments(parser)`` and ``run(arguments) -> int``;
only the one that is named is imported.
"""

from __future__ import annotations

import argparse
import importlib

#: The modules that are benchmarks; the others are parts of theirs.
BENCHMARKS = ("decode", "evidence", "explain", "families", "index", "kernels")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which benchmark, and its own arguments."""
    parser.add_argument("benchmark", choices=BENCHMARKS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="see: bench BENCHMARK --help")


def run(arguments: argparse.Namespace) -> int:
    """Run the benchmark that was named; returns the exit status."""
    module = importlib.import_module(f"inference.bench.{arguments.benchmark}")
    parser = argparse.ArgumentParser(
        prog=f"python -m inference bench {arguments.benchmark}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    return int(module.run(parser.parse_args(arguments.arguments)))
