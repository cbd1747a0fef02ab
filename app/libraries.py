"""The libraries of a profile: folders whose names are the libraries' own."""

from __future__ import annotations

import re
import time
from pathlib import Path

FIRST = "My documents"
_ASIDE = ".deleted-"


class LibraryFolders:
    """Names and places.

    Args:
        root: The folder that holds them; made when the first library is.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self) -> tuple[str, ...]:
        """All libraries, by name."""
        try:
            found = [path.name for path in self._root.iterdir() if path.is_dir() and path.name[0] != "."]
        except OSError:
            return ()
        return tuple(sorted(found, key=str.casefold))

    def folder(self, name: str) -> Path:
        """Where the library of this name is, or will be."""
        return self._root / name

    def rename(self, old: str, new: str) -> None:
        """Give a library another name.

        Raises:
            OSError: It can't be moved.
        """
        self.folder(old).rename(self.folder(new))

    def set_aside(self, name: str) -> Path:
        """Take a library out of sight, so that it can still be brought back; returns its folder.

        Raises:
            OSError: It can't be moved.
        """
        aside = self._root / f"{_ASIDE}{time.time_ns()}-{name}"
        self.folder(name).rename(aside)
        return aside

    def bring_back(self, aside: Path, name: str) -> None:
        """Put a library back that was set aside.

        Raises:
            OSError: It can't be moved.
        """
        aside.rename(self.folder(name))

    def aside(self) -> tuple[Path, ...]:
        """Folders of libraries that were set aside and not brought back."""
        return tuple(sorted(self._root.glob(f"{_ASIDE}*")))


def clean_name(name: str) -> str:
    """A name that can be a folder's on every system; may be empty."""
    plain = re.sub(r'[<>:"/\\|?*\x00-\x1f]+', " ", name)
    return " ".join(plain.split()).strip(". ")[:60]
