"""``model-loupe --install-desktop``: a launcher, an icon and file types for this user, and their removal.

For installations that no package manager looks after (pipx, uv, a checkout, the unpacked archive). Follows
the freedesktop.org base directory, desktop entry, icon theme and shared MIME-info specifications.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path

DESKTOP_ID = "org.modelloupe.ModelLoupe"


def install(share: Path | None = None, *, command: Sequence[str] | None = None) -> list[Path]:
    """Write the launcher; returns the files that were written.

    Args:
        share: The data folder; ``$XDG_DATA_HOME`` if not given.
        command: What starts the program; the running one if not given.

    Raises:
        OSError: The folder cannot be written.
    """
    share = share or data_home()
    source = resources.files("resources")
    quoted = " ".join(_quoted(part) for part in command or running_command())
    entry = []
    for line in source.joinpath("desktop", f"{DESKTOP_ID}.desktop").read_text(encoding="utf-8").splitlines():
        if line.startswith("TryExec="):
            continue
        entry.append(f"Exec={quoted} %F" if line.startswith("Exec=") else line)
    texts = {
        share / "applications" / f"{DESKTOP_ID}.desktop": "\n".join(entry) + "\n",
        share / "mime" / "packages" / f"{DESKTOP_ID}.xml": source.joinpath(
            "desktop", f"{DESKTOP_ID}.xml"
        ).read_text(encoding="utf-8"),
        share / "icons" / "hicolor" / "scalable" / "apps" / "model-loupe.svg": source.joinpath(
            "icons", "model-loupe.svg"
        ).read_text(encoding="utf-8"),
    }
    for file, text in texts.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    _refresh(share)
    return list(texts)


def remove(share: Path | None = None) -> list[Path]:
    """Remove what :func:`install` wrote; returns the files that were there."""
    share = share or data_home()
    files = [
        share / "applications" / f"{DESKTOP_ID}.desktop",
        share / "mime" / "packages" / f"{DESKTOP_ID}.xml",
        share / "icons" / "hicolor" / "scalable" / "apps" / "model-loupe.svg",
    ]
    found = [file for file in files if file.exists()]
    for file in found:
        file.unlink()
    _refresh(share)
    return found


def data_home() -> Path:
    """Where a user's desktop entries belong."""
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser()


def running_command() -> list[str]:
    """What starts this program again: the bundle, the installed command, or Python with the module."""
    if getattr(sys, "frozen", False):
        return [sys.executable]
    installed = Path(sys.executable).with_name("model-loupe")
    if installed.exists():
        return [str(installed)]
    return [sys.executable, "-m", "app"]


def _quoted(argument: str) -> str:
    """An argument as an ``Exec`` line wants it: in quotes, with its reserved characters escaped."""
    for character in ("\\", '"', "`", "$"):
        argument = argument.replace(character, "\\" + character)
    # The value of a key is unescaped once more when the file is read; a percent sign begins a field code.
    return '"' + argument.replace("\\", "\\\\").replace("%", "%%") + '"'


def _refresh(share: Path) -> None:
    """Let the desktop see the change now, where its tools are there; it will at the next login otherwise."""
    for tool, folder in (("update-desktop-database", "applications"), ("update-mime-database", "mime")):
        if shutil.which(tool) and (share / folder).is_dir():
            with suppress(OSError, subprocess.SubprocessError):
                subprocess.run([tool, str(share / folder)], check=False, capture_output=True, timeout=20)
