"""Fetching a model from the Hugging Face hub into its cache: the one place that touches the network.

The hub's library gives metadata, sign-in and the layout of the cache. The bytes are fetched here, because the
library (2.x) throws away the beginning of a file when a download is stopped; here the next goes on from it.
"""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.background import Reporter, in_background
from inference.errors import DiskFull, DownloadRefused, InferenceError, NoNetwork, RunCancelled
from inference.events import Downloaded, DownloadRequest, Progress
from inference.models.download_errors import is_interruption, translate
from inference.models.download_files import choose_files
from inference.running import RunHandle

ASKING = "Asking the hub"
FETCHING = "Downloading"

_CHUNK = 1 << 18
_ATTEMPTS = 4
_MARGIN = 64 * 2**20  # room that a download leaves on the disk
_LOCK_LOOK = 0.1
_TIMEOUT = 20.0  # seconds without a byte


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """One file of a repository at a fixed commit."""

    name: str
    size: int
    etag: str
    url: str
    commit: str


def download(
    request: DownloadRequest, handle: RunHandle, *, endpoint: str | None = None, cache: Path | None = None
) -> Generator[Progress | Downloaded, None, None]:
    """Fetch a model's files -> Progress ..., Downloaded. What has arrived stays when it stops or fails.

    Args:
        request: The repository ("owner/name", or "owner/name/file.gguf" for one GGUF file) and revision.
        handle: Cancels it.
        endpoint: Another hub; None: the usual one (``HF_ENDPOINT``).
        cache: Another cache folder; None: the usual one (``HF_HUB_CACHE``).

    Raises:
        NoNetwork: The hub can't be reached, or offline mode is set.
        DownloadRefused: The hub does not give the files: missing, private, gated, or no model in them.
        DiskFull: There is no room.
        RunCancelled: The run was cancelled.
    """
    fetch = _Fetch(request, endpoint, cache)
    folder = yield from in_background(fetch.run, handle, name="download")
    yield Downloaded(run_id=request.run_id, repo=request.repo, folder=str(folder))


class _Fetch:
    """One download, on its own thread."""

    def __init__(self, request: DownloadRequest, endpoint: str | None, cache: Path | None) -> None:
        from huggingface_hub import constants

        parts = request.repo.strip().strip("/").split("/")
        self.repo = "/".join(parts[:2])
        self.wanted = "/".join(parts[2:])
        self.revision = request.revision or "main"
        self.endpoint = endpoint or constants.ENDPOINT
        self.cache = cache or Path(constants.HF_HUB_CACHE)
        self.root = self.cache / f"models--{self.repo.replace('/', '--')}"
        self.done = self.total = 0

    def run(self, reporter: Reporter) -> Path:
        """Fetch all files; returns the snapshot's folder."""
        try:
            return self._run(reporter)
        except (InferenceError, RunCancelled):
            raise
        except Exception as error:
            failure = translate(error, self.repo)
        raise failure

    def _run(self, reporter: Reporter) -> Path:
        reporter.report(ASKING, 0, 0, "bytes")
        files = self._list(reporter)
        self.total = sum(file.size for file in files)
        self._require_room(files)
        for file in files:
            self._fetch(file, reporter)
        self._point_revision_to(files[0].commit)
        return self.root / "snapshots" / files[0].commit

    def _list(self, reporter: Reporter) -> list[RemoteFile]:
        from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url

        info = HfApi(endpoint=self.endpoint).model_info(self.repo, revision=self.revision)
        names = choose_files([sibling.rfilename for sibling in info.siblings or []], self.wanted)
        if not names or info.sha is None:
            raise DownloadRefused(
                f"{self.repo} holds no weights that can be loaded (safetensors, GGUF or .bin)."
            )
        files = []
        for name in names:
            reporter.check()
            url = hf_hub_url(self.repo, name, revision=info.sha, endpoint=self.endpoint)
            found = get_hf_file_metadata(url, endpoint=self.endpoint)
            if found.etag is None or found.size is None or not re.fullmatch(r"[\w.-]+", found.etag):
                raise DownloadRefused(f"The hub does not describe {name} of {self.repo} properly.")
            files.append(RemoteFile(name=name, size=found.size, etag=found.etag, url=url, commit=info.sha))
        return files

    def _require_room(self, files: list[RemoteFile]) -> None:
        blobs = self.root / "blobs"
        blobs.mkdir(parents=True, exist_ok=True)
        missing = sum(max(0, file.size - self._there(file)) for file in files)
        free = shutil.disk_usage(blobs).free
        if missing and missing + _MARGIN > free:
            raise DiskFull(
                f"{missing / 1e9:.2f} GB are still to be fetched; {free / 1e9:.2f} GB are free on the disk."
            )

    def _blob(self, file: RemoteFile) -> Path:
        return self.root / "blobs" / file.etag

    def _partial(self, file: RemoteFile) -> Path:
        return self.root / "blobs" / f"{file.etag}.part"

    def _there(self, file: RemoteFile) -> int:
        """Bytes of the file that have arrived."""
        for path in (self._blob(file), self._partial(file)):
            if path.is_file():
                return path.stat().st_size
        return 0

    def _fetch(self, file: RemoteFile, reporter: Reporter) -> None:
        """Make one file part of the snapshot, fetching what is not there."""
        from huggingface_hub import hf_hub_download

        pointer = self.root / "snapshots" / file.commit / file.name
        with self._locked(file, reporter):
            if not pointer.exists() and not self._blob(file).exists():
                self._fetch_blob(file, reporter)
        if not pointer.exists():  # the library links the blob into the snapshot, in its own way
            hf_hub_download(
                self.repo, file.name, revision=file.commit, endpoint=self.endpoint, cache_dir=self.cache
            )
        self.done += file.size
        reporter.report(FETCHING, self.done, self.total, "bytes")

    @contextmanager
    def _locked(self, file: RemoteFile, reporter: Reporter) -> Iterator[None]:
        """Keep two downloads (one that was cancelled may not have ended yet) from writing one file."""
        from filelock import FileLock, Timeout

        lock = FileLock(self.root / "blobs" / f"{file.etag}.part.lock")
        while True:
            try:
                lock.acquire(timeout=_LOCK_LOOK)
                break
            except Timeout:
                reporter.check()
        try:
            yield
        finally:
            lock.release()

    def _fetch_blob(self, file: RemoteFile, reporter: Reporter) -> None:
        for attempt in range(_ATTEMPTS):
            before = self._there(file)
            try:
                self._stream(file, reporter)
                break
            except (InferenceError, RunCancelled):
                raise
            except Exception as error:
                progressed = self._there(file) > before
                if not is_interruption(error) or (attempt == _ATTEMPTS - 1 and not progressed):
                    raise
            reporter.check()
            time.sleep(min(2.0, 0.25 * 2**attempt))
        self._verify(file, reporter)
        self._partial(file).replace(self._blob(file))

    def _stream(self, file: RemoteFile, reporter: Reporter) -> None:
        """Append to the partial file until it is whole."""
        import huggingface_hub.utils

        hub: Any = huggingface_hub.utils

        start = self._there(file)
        if start > file.size:
            self._partial(file).unlink()
            start = 0
        if start == file.size and self._partial(file).exists():
            return
        headers: dict[str, Any] = hub.build_hf_headers() | {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        with hub.get_session().stream(
            "GET", file.url, headers=headers, follow_redirects=True, timeout=_TIMEOUT
        ) as response:
            hub.hf_raise_for_status(response)
            if response.status_code != 206:  # the server begins again
                start = 0
            with self._partial(file).open("ab" if start else "wb") as stream:
                for chunk in response.iter_bytes(_CHUNK):
                    reporter.check()
                    self._write(stream, chunk)
                    start += len(chunk)
                    reporter.report(FETCHING, self.done + start, self.total, "bytes")
        if start < file.size:
            raise ConnectionResetError(f"{file.name} ended after {start} of {file.size} bytes")

    @staticmethod
    def _write(stream: Any, chunk: bytes) -> None:
        try:
            stream.write(chunk)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull("The disk is full.") from None
            raise

    def _verify(self, file: RemoteFile, reporter: Reporter) -> None:
        """Compare with the checksum: SHA-256 for large files, git's SHA-1 for small ones."""
        partial = self._partial(file)
        size = partial.stat().st_size
        if len(file.etag) == 64:
            digest = hashlib.sha256()
        elif len(file.etag) == 40:
            digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        else:
            digest = None  # another hub's etag says nothing of the content
        if digest is not None:
            with partial.open("rb") as stream:
                while chunk := stream.read(1 << 20):
                    reporter.check()
                    digest.update(chunk)
        if size != file.size or (digest is not None and digest.hexdigest() != file.etag):
            partial.unlink()
            raise NoNetwork(
                f"{file.name} arrived damaged and was thrown away.", hint="Download the model again."
            )

    def _point_revision_to(self, commit: str) -> None:
        """Let the branch or tag name lead to the snapshot, as the library does."""
        if self.revision != commit:
            ref = self.root / "refs" / self.revision
            ref.parent.mkdir(parents=True, exist_ok=True)
            ref.write_text(commit, "utf-8")
