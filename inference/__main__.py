"""``python -m inference COMMAND ... --json``: the session without a window, for scripts and benchmarks.

One JSON object a line, one for each event, fields as in :mod:`inference.events`. A failure goes to stderr as
``{"event": "failed", ...}`` with exit status 1; bad arguments exit 2; Ctrl+C cancels the run (130). Each
command is a module of :mod:`inference.commands` with ``add_arguments(parser)`` and ``run(arguments) -> int``;
``arguments.refuse(message)`` ends it as argparse would, for arguments that do not go together.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Sequence

from inference import commands


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    names = sorted(module.name for module in pkgutil.iter_modules(commands.__path__))
    parser = argparse.ArgumentParser(
        prog="python -m inference",
        description="Models without a window.",
        epilog=f"Commands: {', '.join(names)}. COMMAND --help tells what each does.",
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    # Only the named command's module is imported, so that each starts as fast as it can.
    named = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name in names:
        subparser = subparsers.add_parser(name, allow_abbrev=False)
        if name == named:
            module = importlib.import_module(f"inference.commands.{name}")
            subparser.description = module.__doc__
            subparser.formatter_class = argparse.RawDescriptionHelpFormatter
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run, refuse=subparser.error)
    parsed = parser.parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except BrokenPipeError:  # the reader has seen enough
        sys.stderr.close()
        return 1


if __name__ == "__main__":
    sys.exit(main())
