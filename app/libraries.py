"""The libraries of a profile: folders whose names are the libraries' own."""

from __future__ import annotations

import re
from pathlib import Path

FIRST = "My documents"


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
            found = [path.name for path in self._root.iterdir() if path.is_dir()]
        except OSError:
            return ()
        return tuple(sorted(found, key=str.casefold))

    def folder(self, name: str) -> Path:
        """Where the library of this name is, or will be."""
        return self._root / name


def clean_name(name: str) -> str:
    """A name that can be a folder's on every system; may be empty."""
    plain = re.sub(r'[<>:"/\\|?*\x00-\x1f]+', " ", name)
    return " ".join(plain.split()).strip(". ")[:60]
