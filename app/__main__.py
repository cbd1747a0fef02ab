"""``model-loupe``: opens the window, or drives it through a tour."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Run the app; returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.install_desktop or options.remove_desktop:
        return _change_launcher(install=options.install_desktop)
    if sys.platform == "win32":
        # On Windows torch cannot load its libraries once Qt has loaded its own.
        import torch  # noqa: F401
    tour: str | None = options.tour
    if has_no_display():
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
        if tour is None:
            print("There is no display to open a window on. The tour runs offscreen instead, into tour/.")
            tour = "tour"
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


def has_no_display() -> bool:
    """Whether a window cannot be opened (Linux without X11 and Wayland) and nothing else was chosen for
    Qt.
    """
    names = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    return sys.platform.startswith("linux") and not any(os.environ.get(name) for name in names)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="model-loupe",
        description="Run language models on your own machine and see why they say what they say.",
    )
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="a model's folder, a GGUF file or documents to open"
    )
    parser.add_argument("--profile", metavar="DIR", help="keep conversations, settings and logs in DIR")
    parser.add_argument("--safe-mode", action="store_true", help="start without the last layout and model")
    parser.add_argument(
        "--tour", metavar="DIR", help="visit every part; write screenshots and tour.json to DIR"
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
