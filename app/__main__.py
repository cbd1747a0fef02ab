"""``model-loupe``: opens the window, or drives it through a tour."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Run the app; returns the exit status."""
    options = _parser().parse_args(arguments)
    if sys.platform == "win32":
        # On Windows torch cannot load its libraries once Qt has loaded its own.
        import torch  # noqa: F401
    offscreen_if_headless(tour=options.tour is not None)
    from app.running import run, run_tour

    if options.tour is not None:
        return run_tour(Path(options.tour), profile=options.profile)
    return run(profile=options.profile, paths=tuple(options.paths), safe_mode=options.safe_mode)


def offscreen_if_headless(*, tour: bool) -> None:
    """Let the tour draw into memory where there is no display."""
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if tour and sys.platform.startswith("linux") and not display:
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="model-loupe",
        description="Run language models on your own machine and see why they say what they say.",
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="a model's folder or GGUF file to open")
    parser.add_argument("--profile", metavar="DIR", help="keep conversations, settings and logs in DIR")
    parser.add_argument("--safe-mode", action="store_true", help="start without the last layout and model")
    parser.add_argument(
        "--tour", metavar="DIR", help="visit every part; write screenshots and tour.json to DIR"
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
    return parser


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("model-loupe")
    except PackageNotFoundError:
        return "(from source)"


if __name__ == "__main__":
    sys.exit(main())
