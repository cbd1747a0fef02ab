"""Which files belong to a library, and which of them have to be read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from inference.documents.ledger import Row
from inference.documents.readers.formats import SUFFIXES

#: Reasons that may have gone away although the file is the same.
_PASSING = frozenset(["missing", "forbidden"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What stands under the roots of a library.

    Attributes:
        files: Every document, in order.
        gone: Files of the ledger that are no longer there.
        empty: Roots without any document, which are listed with their reason.
    """

    files: tuple[str, ...]
    gone: tuple[str, ...]
    empty: tuple[str, ...]


def scan(roots: Iterable[str], known: Iterable[str]) -> Scan:
    """Look for the documents of a library.

    A file that was added itself counts whatever its name is; of a folder, files of known formats do. When a
    whole folder is missing (a drive that is not plugged in), what is known of it stays.
    """
    files: dict[str, None] = {}
    empty: list[str] = []
    absent: list[str] = []
    for root in roots:
        path = Path(root)
        if path.is_dir():
            found = list(_documents_below(path))
            files.update(dict.fromkeys(found))
            if not found:
                empty.append(root)
        elif os.path.lexists(path):
            files[root] = None
        else:
            absent.append(root)
    gone = []
    for file in known:
        if file in files or file in empty:
            continue
        if any(file.startswith(root.rstrip("/\\") + os.sep) for root in absent):
            continue
        gone.append(file)
    files.update((root, None) for root in absent if root not in gone and not _is_known_folder(root, known))
    return Scan(files=tuple(sorted(files)), gone=tuple(gone), empty=tuple(empty))


def _is_known_folder(root: str, known: Iterable[str]) -> bool:
    below = root.rstrip("/\\") + os.sep
    return any(file.startswith(below) for file in known)


def _documents_below(folder: Path) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                yield os.path.join(place, name)


def looks_unchanged(row: Row | None, stat: os.stat_result, *, has_password: bool) -> bool:
    """Whether a file need not even be opened: same size and time as when its row was written."""
    if row is None or row.reason in _PASSING or (row.reason == "password" and has_password):
        return False
    return row.size == stat.st_size and row.modified == stat.st_mtime_ns


def content_hash(file: Path, cancelled: Callable[[], bool]) -> str:
    """SHA-256 of a file's content; the empty string when cancelled."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(2**20):
            if cancelled():
                return ""
            digest.update(block)
    return digest.hexdigest()


def document_name(file: str, digest: str) -> str:
    """The name of a document in the store: another one for another content and for another place."""
    return f"{digest[:32]}-{hashlib.sha256(file.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"
