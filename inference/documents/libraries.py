"""Open libraries: each a folder with its ledger, its store, and the embedder that it was made with."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import filelock

from inference.documents.embedding import BUILTIN, BUILTIN_SHA256, Embedder, embedder_folder
from inference.documents.ledger import FORMAT, Ledger
from inference.documents.passages import OVERLAP_TOKENS, PASSAGE_TOKENS
from inference.documents.store import ANN_FROM, TABLE, PassageStore
from inference.errors import InferenceError, InvalidRequest, ModelUnsupported, UnreadableFile

LEDGER_FILE = "library.db"
STORE_FOLDER = "store"


class Library:
    """One library, open. Any number of threads and processes may search it; one at a time may change it.

    Attributes:
        folder: Where it is.
        ledger: Its files.
        store: Its passages.
        embedder: What makes vectors, for passages and for questions.
    """

    def __init__(self, folder: Path, embedder: Embedder, *, uri: str = "") -> None:
        self.folder = folder
        self.embedder = embedder
        self.ledger = Ledger(folder / LEDGER_FILE)
        self._uri, self._table = self._place(uri)
        self._store: PassageStore | None = None
        self._lock = threading.Lock()
        self._check_facts()

    @property
    def store(self) -> PassageStore:
        """The passages; opened on first use."""
        with self._lock:
            if self._store is None:
                self._store = PassageStore(self._uri, self.embedder.dimensions, self._table)
            return self._store

    def warm(self) -> None:
        """Read the indices of a large library into memory, on a thread of its own: what is searched first
        would wait for them. A small one needs none of it.
        """
        if sum(row.passages for row in self.ledger.rows().values()) >= ANN_FROM:
            threading.Thread(target=self._warm, name="documents-warm", daemon=True).start()

    def _warm(self) -> None:
        with contextlib.suppress(InferenceError, OSError, RuntimeError):  # a search will tell
            self.store.warm()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the right to change the library.

        Raises:
            InvalidRequest: Someone else holds it.
        """
        lock = filelock.FileLock(self.folder / ".writing", timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise InvalidRequest(
                "The library is being indexed already.",
                hint="Wait until it is done, or stop it, and try again.",
            ) from None
        try:
            yield
        finally:
            lock.release()

    def close(self) -> None:
        """Close its files."""
        self.ledger.close()

    def drop_store(self) -> None:
        """Delete the passages where they are kept elsewhere."""
        if self._uri != str(self.folder / STORE_FOLDER):
            self.store.drop()

    def _place(self, uri: str) -> tuple[str, str]:
        """Where the passages are: URI and name of the table. A place that others share has one for each."""
        if self.ledger.fact("format") is None and uri:
            self.ledger.set_fact("store", uri)
            self.ledger.set_fact("table", f"passages-{secrets.token_hex(8)}")
        return self.ledger.fact("store") or str(self.folder / STORE_FOLDER), self.ledger.fact(
            "table"
        ) or TABLE

    def _check_facts(self) -> None:
        """Write down what a new library is made with; refuse one that was made in another way. What an
        earlier version read can be searched as it is, and is read again when the library is brought up to
        date.
        """
        facts = {
            "format": FORMAT,
            "embedder-print": fingerprint(self.embedder.name),
            "passages": f"{PASSAGE_TOKENS}/{OVERLAP_TOKENS}",
        }
        known = {name: self.ledger.fact(name) for name in facts}
        for name, value in facts.items():
            if known[name] is None:
                self.ledger.set_fact(name, value)
        if self.ledger.fact("embedder") is None:
            self.ledger.set_fact("embedder", self.embedder.name)
        if _is_newer(known["format"]):
            raise ModelUnsupported(
                "The library was made by a newer version of the app.",
                hint="Update the app, or index its documents into a new library.",
            )
        if known["embedder-print"] not in (None, facts["embedder-print"]):
            raise ModelUnsupported(
                "The library was made with another embedder.", hint="Index its documents into a new library."
            )


class Libraries:
    """The libraries that are open in this process, and one embedder for all that share it; safe between
    threads.
    """

    def __init__(self) -> None:
        self._open: dict[Path, Library] = {}
        self._embedders: dict[str, Embedder] = {}
        self._lock = threading.Lock()

    def open(self, folder: str, *, embedder: str = BUILTIN, store: str = "") -> Library:
        """The library in ``folder``, which is made if it is not there; an old one keeps the embedder and the
        place of its passages that it has.

        Raises:
            UnreadableFile: The folder can't be made or written.
            ModelNotFound: There is no such embedder.
        """
        path = Path(folder).expanduser().resolve()
        with self._lock:
            library = self._open.get(path)
            if library is None:
                name = known_embedder(path) or embedder
                embedder_folder(name)
                try:
                    path.mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    raise UnreadableFile(f"The library {path} can't be made: {error.strerror}.") from error
                library = self._open[path] = Library(path, self._embedder(name), uri=store)
            return library

    def forget(self, folder: str) -> None:
        """Close the library in ``folder``, if it is open."""
        with self._lock:
            library = self._open.pop(Path(folder).expanduser().resolve(), None)
        if library is not None:
            library.close()

    def delete(self, folder: str) -> None:
        """Delete the library in ``folder``, and its passages where they are kept elsewhere. A folder that
        holds no library is left alone.

        Raises:
            UnreadableFile: It can't be deleted.
        """
        path = Path(folder).expanduser().resolve()
        if not (path / LEDGER_FILE).is_file():
            return
        with contextlib.suppress(InferenceError):  # one that can't be opened can still be deleted
            self.open(folder).drop_store()
        self.forget(folder)
        try:
            shutil.rmtree(path)
        except OSError as error:
            raise UnreadableFile(f"The library {path} can't be deleted: {error.strerror}.") from error

    def adopt(self, library: Library) -> None:
        """Take in a library that is open already."""
        with self._lock:
            self._open[library.folder.resolve()] = library
            self._embedders.setdefault(library.embedder.name, library.embedder)

    def close(self) -> None:
        """Close all of them."""
        with self._lock:
            for library in self._open.values():
                library.close()
            self._open.clear()

    def _embedder(self, name: str) -> Embedder:
        return self._embedders.setdefault(name, Embedder(name))


def known_embedder(folder: Path) -> str | None:
    """The embedder that the library in a folder was made with; None for a new one."""
    if not (folder / LEDGER_FILE).is_file():
        return None
    ledger = Ledger(folder / LEDGER_FILE)
    try:
        return ledger.fact("embedder")
    finally:
        ledger.close()


def _is_newer(known: str | None) -> bool:
    return known is not None and not (known.isdecimal() and int(known) <= int(FORMAT))


def fingerprint(name: str) -> str:
    """What tells one embedder from another: the hash of its weights' size and head (the built-in's is
    published).
    """
    if name == BUILTIN:
        return BUILTIN_SHA256
    weights = embedder_folder(name) / "model.safetensors"
    with weights.open("rb") as file:
        digest = hashlib.sha256(file.read(2**20))
        file.seek(-min(2**20, weights.stat().st_size), 2)
        digest.update(file.read())
    return digest.hexdigest()
