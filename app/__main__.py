"""``model-loupe``: opens the window, or drives it through a tour."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

_WITHOUT_DISPLAY = """\
Without one: model-loupe --tour DIR writes pictures of every part to DIR, and the same engine has commands for
scripts: model-loupe-engine in the desktop package, python -m inference elsewhere."""


def main(arguments: list[str] | None = None) -> int:
    """Run the app; returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.install_desktop or options.remove_desktop:
        return _change_launcher(install=options.install_desktop)
    if sys.platform == "win32":
        # On Windows torch cannot load its libraries once Qt has loaded its own.
        import torch  # noqa: F401
    tour: str | None = options.tour
    if problem := display_problem():
        instead: str | None = options.tour_without_display
        if tour is None and instead is None:
            print(problem, _WITHOUT_DISPLAY, sep="\n", file=sys.stderr)
            return 1
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
        if tour is None:
            print(f"{problem} The tour runs offscreen instead, into {instead}/.")
            tour = instead
    if options.safe_mode:
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    from app.running import run, run_tour

    if tour is not None:
        return run_tour(Path(tour), profile=options.profile)
    paths = tuple(str(Path(path).resolve()) for path in options.paths)
    return run(profile=options.profile, paths=paths, safe_mode=options.safe_mode)


def _change_launcher(*, install: bool) -> int:
    """Write or remove this user's desktop entry; returns the exit status."""
    from app import launcher

    try:
        files = launcher.install() if install else launcher.remove()
    except OSError as error:
        print(
            f"The launcher was not changed: {error.filename} cannot be written ({error.strerror}).",
            file=sys.stderr,
        )
        return 1
    for file in files:
        print("Wrote" if install else "Removed", file)
    return 0


def display_problem() -> str:
    """Why a window cannot be opened on Linux; empty if it can, or if something else was chosen for Qt.

    Qt itself would abort the process where the display does not answer.
    """
    if not sys.platform.startswith("linux") or os.environ.get("QT_QPA_PLATFORM"):
        return ""
    if os.environ.get("WAYLAND_DISPLAY"):
        return ""
    display = os.environ.get("DISPLAY")
    if not display:
        return "There is no display to open a window on."
    number = display.removeprefix("unix").removeprefix(":").split(".")[0]
    if display.startswith((":", "unix:")) and number.isdigit() and not _answers(number):
        return f"The display {display} does not answer."
    return ""


def _answers(number: str) -> bool:
    """Whether an X server of this machine listens, at its file or at its abstract name."""
    path = f"/tmp/.X11-unix/X{number}"
    for address in (path, f"\0{path}"):
        with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
            probe.connect(address)
            return True
    return False


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="model-loupe",
        description="Run language models on your own machine and see why they say what they say.",
    )
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="a model's folder, a GGUF file or documents to open"
    )
    parser.add_argument("--profile", metavar="DIR", help="keep conversations, settings and logs in DIR")
    parser.add_argument(
        "--safe-mode",
        action="store_true",
        help="start with default settings, without a GPU and the last model",
    )
    parser.add_argument(
        "--tour", metavar="DIR", help="visit every part; write screenshots and tour.json to DIR"
    )
    parser.add_argument(
        "--tour-without-display",
        metavar="DIR",
        help="do --tour DIR if there is no display to open a window on",
    )
    parser.add_argument(
        "--install-desktop",
        action="store_true",
        help="write a launcher and file types for this user, and end",
    )
    parser.add_argument("--remove-desktop", action="store_true", help="remove them, and end")
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
