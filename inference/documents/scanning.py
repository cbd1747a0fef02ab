"""Which files belong to a library, and which of them have to be read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from inference.documents.ledger import Row, edition
from inference.documents.readers.document import NO_TEXT_LAYER, can_recognise
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


def scan(roots: Iterable[str], known: Iterable[str], excluded: Iterable[str] = ()) -> Scan:
    """Look for the documents of a library.

    A file that was added itself counts whatever its name is; of a folder, files of known formats do. When a
    whole folder is missing (a drive that is not plugged in), what is known of it stays. What lies at or below
    an ``excluded`` path was taken out by the user.
    """
    known, excluded = list(known), list(excluded)
    files: dict[str, None] = {}
    empty: list[str] = []
    absent_folders: list[str] = []
    for root in roots:
        path = Path(root)
        if path.is_dir():
            found = [file for file in _documents_below(path) if not _is_below(file, excluded)]
            files.update(dict.fromkeys(found))
            if not found:
                empty.append(root)
        elif os.path.lexists(path):
            files[root] = None
        elif any(file != root and _is_below(file, [root]) for file in known):
            absent_folders.append(root)
        elif root not in known:  # never seen: listed as missing; seen before: deleted, so it goes
            files[root] = None
    gone = [
        file
        for file in known
        if file not in files
        and file not in empty
        and (_is_below(file, excluded) or not _is_below(file, absent_folders))
    ]
    return Scan(files=tuple(sorted(files)), gone=tuple(gone), empty=tuple(empty))


def _is_below(file: str, roots: Iterable[str]) -> bool:
    """Whether a path is one of the roots or lies below one."""
    return any(file == root or file.startswith(root.rstrip("/\\") + os.sep) for root in roots)


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
    if must_be_read_again(row):
        return False
    return row.size == stat.st_size and row.modified == stat.st_mtime_ns


def must_be_read_again(row: Row) -> bool:
    """Whether reading the same file gives something better than what is stored of it."""
    return row.outdated or can_read_more(row)


def can_read_more(row: Row) -> bool:
    """Whether a file has pictures of text that could not be read when its row was written, and now can."""
    return can_recognise() and any(NO_TEXT_LAYER in said for said in (row.message, *row.problems))


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
    """The name of a document in the store: another one for another content, for another place, and for
    another way of reading it.
    """
    place = hashlib.sha256(file.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{digest[:32]}-{place}-{edition(recognised=can_recognise())}"
