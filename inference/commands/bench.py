"""Benchmarks; each prints its figures with their ratio to a reference that was measured in the same run.

Each is a module of :mod:`inference.bench` with ``add_arguments(parser)`` and ``run(arguments) -> int``.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil

from inference import bench


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One subcommand for each benchmark."""
    subparsers = parser.add_subparsers(dest="benchmark", required=True, metavar="BENCHMARK")
    for module_info in sorted(pkgutil.iter_modules(bench.__path__), key=lambda each: each.name):
        module = importlib.import_module(f"inference.bench.{module_info.name}")
        if not hasattr(module, "add_arguments"):
            continue
        subparser = subparsers.add_parser(
            module_info.name, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.add_arguments(subparser)
        subparser.set_defaults(benchmark_run=module.run)


def run(arguments: argparse.Namespace) -> int:
    """Run the benchmark that was named; returns the exit status."""
    return int(arguments.benchmark_run(arguments))
