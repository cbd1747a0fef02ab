"""Downloads from a small hub on this machine: what is fetched, how it is told, stopped and taken up again."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from inference.errors import DiskFull, DownloadRefused, InferenceError, NoNetwork, RunCancelled
from inference.events import Downloaded, DownloadRequest, Progress
from inference.models import download as downloads
from inference.models.download_files import choose_files
from inference.running import RunHandle, new_run_id

COMMIT = "0123456789abcdef0123456789abcdef01234567"
BIG = bytes(range(256)) * 20_000  # 5 MB


@dataclass
class Hub:
    """What the small hub holds and what was asked of it; ``stall`` and ``drop`` break transfers off."""

    files: dict[str, bytes] = field(default_factory=dict)
    status: int = 200
    error_code: str = ""
    ranges: bool = True
    drop_after: int | None = None
    drops: int = 0
    stall_after: int | None = None
    release: threading.Event = field(default_factory=threading.Event)
    requested: list[tuple[str, str, str]] = field(default_factory=list)
    url: str = ""

    def fetched(self, name: str) -> list[str]:
        """The Range headers of the requests for a file's content."""
        return [span for method, path, span in self.requested if method == "GET" and path.endswith(name)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: Any) -> None:
        """Stay quiet."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        hub, path = self.hub, urlsplit(self.path).path
        hub.requested.append((self.command, path, self.headers.get("Range", "")))
        if hub.status != 200:
            self._send(hub.status, b"{}", {"X-Error-Code": hub.error_code}, body=body)
        elif path.startswith("/api/models/"):
            listing = {"id": "owner/name", "modelId": "owner/name", "sha": COMMIT}
            content = json.dumps(listing | {"siblings": [{"rfilename": name} for name in hub.files]}).encode()
            self._send(200, content, {"Content-Type": "application/json"}, body=body)
        else:
            self._send_file(path.rpartition("/")[2], body=body)

    def _send_file(self, name: str, *, body: bool) -> None:
        hub = self.hub
        content = hub.files[name]
        if len(content) > 1000:  # a large file: named by its SHA-256
            etag = hashlib.sha256(content).hexdigest()
        else:
            etag = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        start, status = 0, 200
        if (span := self.headers.get("Range")) and hub.ranges:
            start, status = int(span.removeprefix("bytes=").rstrip("-")), 206
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._send(status, content[start:], headers, body=body)

    def _send(self, status: int, content: bytes, headers: dict[str, str], *, body: bool) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if not body:
            return
        try:
            for position in range(0, len(content), 65536):
                if len(content) > 100_000 and self._breaks_off(position):
                    self.close_connection = True
                    return
                self.wfile.write(content[position : position + 65536])
        except OSError:
            self.close_connection = True

    def _breaks_off(self, position: int) -> bool:
        hub = self.hub
        if hub.stall_after is not None and position >= hub.stall_after:
            hub.release.wait(30)
        if hub.drop_after is not None and position >= hub.drop_after and hub.drops > 0:
            hub.drops -= 1
            return True
        return False


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub on the loopback with one model of two files of weights."""
    state = Hub(
        files={
            "config.json": b'{"model_type": "llama"}',
            "tokenizer.json": b"{}",
            "README.md": b"---\nlicense: mit\n---\n",
            "model.safetensors": BIG,
            "pytorch_model.bin": BIG,
            "modeling_own.py": b"raise SystemExit",
            "training_args.bin": b"x",
        }
    )
    handler = type("Handler", (_Handler,), {"hub": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield state
    state.release.set()
    server.shutdown()
    thread.join()
    server.server_close()
    for left in threading.enumerate():
        if left.name == "download":
            left.join(timeout=30)


Fetch = Callable[..., tuple[list[Progress], Downloaded]]


@pytest.fixture
def fetch(hub: Hub, tmp_path: Path) -> Fetch:
    """``fetch()``: download the model; ``stop_at`` cancels when that many bytes have been told."""

    def run(repo: str = "owner/name", stop_at: int | None = None) -> tuple[list[Progress], Downloaded]:
        handle = RunHandle(new_run_id())
        told: list[Progress] = []
        request = DownloadRequest(run_id=handle.run_id, repo=repo)
        for event in downloads.download(request, handle, endpoint=hub.url, cache=tmp_path / "hub"):
            if isinstance(event, Downloaded):
                return told, event
            told.append(event)
            if stop_at is not None and event.done >= stop_at:
                handle.cancel()
        raise AssertionError("a download ends in Downloaded or an error")

    return run


def test_what_a_model_needs_is_fetched_and_nothing_else(hub: Hub, fetch: Fetch) -> None:
    told, done = fetch()
    folder = Path(done.folder)
    names = {path.name for path in folder.iterdir()}
    assert names == {"config.json", "tokenizer.json", "README.md", "model.safetensors"}
    assert (folder / "model.safetensors").read_bytes() == BIG
    assert told[-1].done == told[-1].total == sum(len(hub.files[name]) for name in names)
    assert [event.done for event in told] == sorted(event.done for event in told)
    assert {event.unit for event in told} == {"bytes"}


def test_the_cache_is_the_librarys_own(hub: Hub, fetch: Fetch, tmp_path: Path) -> None:
    from huggingface_hub import scan_cache_dir, try_to_load_from_cache

    fetch()
    found = try_to_load_from_cache("owner/name", "model.safetensors", cache_dir=tmp_path / "hub")
    assert isinstance(found, str)
    assert Path(found).read_bytes() == BIG
    (repo,) = scan_cache_dir(tmp_path / "hub").repos
    assert (repo.repo_id, repo.nb_files, {ref for r in repo.revisions for ref in r.refs}) == (
        "owner/name",
        4,
        {"main"},
    )


def test_a_second_download_fetches_nothing_again(hub: Hub, fetch: Fetch) -> None:
    fetch()
    before = len(hub.fetched("model.safetensors"))
    told, _ = fetch()
    assert len(hub.fetched("model.safetensors")) == before == 1
    assert told[-1].done == told[-1].total


def test_a_cancelled_download_goes_on_where_it_stopped(hub: Hub, fetch: Fetch) -> None:
    hub.stall_after = 2_000_000
    with pytest.raises(RunCancelled):
        fetch(stop_at=1_000_000)
    hub.stall_after = None
    hub.release.set()
    told, done = fetch()
    first, second = hub.fetched("model.safetensors")
    assert first == ""
    assert int(second.removeprefix("bytes=").rstrip("-")) >= 1_000_000 - 2 * (1 << 18)
    assert (Path(done.folder) / "model.safetensors").read_bytes() == BIG
    assert told[-1].done == told[-1].total


def test_a_cancel_does_not_wait_for_the_network(hub: Hub, fetch: Fetch) -> None:
    hub.stall_after = 1_000_000
    with pytest.raises(RunCancelled):
        fetch(stop_at=100_000)
    assert not hub.release.is_set()


def test_a_connection_that_breaks_off_is_taken_up_again(hub: Hub, fetch: Fetch) -> None:
    hub.drop_after, hub.drops = 1_500_000, 2
    _, done = fetch()
    assert len(hub.fetched("model.safetensors")) == 3
    assert (Path(done.folder) / "model.safetensors").read_bytes() == BIG


def test_a_connection_that_keeps_breaking_off_is_told_and_keeps_what_came(hub: Hub, fetch: Fetch) -> None:
    hub.drop_after, hub.drops = 0, 1000
    with pytest.raises(NoNetwork):
        fetch()
    hub.drops = 0
    fetch()


def test_a_server_without_ranges_begins_again(hub: Hub, fetch: Fetch) -> None:
    hub.drop_after, hub.drops, hub.ranges = 1_500_000, 1, False
    _, done = fetch()
    assert (Path(done.folder) / "model.safetensors").read_bytes() == BIG


def test_a_file_that_arrives_damaged_is_thrown_away(hub: Hub, fetch: Fetch, tmp_path: Path) -> None:
    hub.stall_after = 2_000_000
    with pytest.raises(RunCancelled):
        fetch(stop_at=1_000_000)
    hub.stall_after = None
    hub.release.set()
    (part,) = (tmp_path / "hub").rglob("*.part")
    part.write_bytes(b"\0" * part.stat().st_size)
    with pytest.raises(NoNetwork, match="damaged"):
        fetch()
    assert list((tmp_path / "hub").rglob("*.part")) == []
    _, done = fetch()
    assert (Path(done.folder) / "model.safetensors").read_bytes() == BIG


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (404, "RepoNotFound", "no model owner/name"),
        (401, "RepoNotFound", "no model owner/name"),
        (403, "GatedRepo", "must be asked for"),
        (404, "RevisionNotFound", "no such revision"),
        (403, "", "refused"),
    ],
)
def test_what_the_hub_refuses_is_told(hub: Hub, fetch: Fetch, status: int, code: str, words: str) -> None:
    hub.status, hub.error_code = status, code
    with pytest.raises(DownloadRefused, match=words):
        fetch()


def test_a_hub_that_is_not_there_is_no_network(
    hub: Hub, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.url = "http://127.0.0.1:9"
    with pytest.raises(NoNetwork):
        fetch()


def test_offline_mode_is_respected(hub: Hub, fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(NoNetwork, match="Offline"):
        fetch()
    assert hub.requested == []


@pytest.mark.parametrize("repo", ["a b/c", "", "../up", "-x/-y"])
def test_a_name_that_is_none_is_refused(hub: Hub, fetch: Fetch, repo: str) -> None:
    with pytest.raises(DownloadRefused):
        fetch(repo)


def test_a_repository_without_a_model_is_refused(hub: Hub, fetch: Fetch) -> None:
    del hub.files["model.safetensors"], hub.files["pytorch_model.bin"]
    with pytest.raises(DownloadRefused, match="no weights"):
        fetch()


def test_too_little_room_is_told_before_anything_is_fetched(
    hub: Hub, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    import collections
    import shutil

    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1))
    with pytest.raises(DiskFull, match="are free"):
        fetch()
    assert hub.fetched("model.safetensors") == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full disk to write to")
def test_a_disk_that_fills_up_on_the_way_is_told(
    hub: Hub, fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Path.open

    def full(path: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        if (
            path.suffix == ".part"
            and "b" in mode
            and mode != "rb"
            and path.stem == hashlib.sha256(BIG).hexdigest()
        ):
            return original(Path("/dev/full"), "wb", buffering=0)
        return original(path, mode, *args, **options)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(DiskFull):
        fetch()
    monkeypatch.undo()
    _, done = fetch()
    assert (Path(done.folder) / "model.safetensors").read_bytes() == BIG


def test_every_error_says_what_to_do(hub: Hub, fetch: Fetch) -> None:
    hub.status = 404
    with pytest.raises(InferenceError) as caught:
        fetch()
    assert caught.value.hint


# --- choosing files ---------------------------------------------------------------------------------


def test_sharded_safetensors_are_taken_with_their_index() -> None:
    shards = [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
    ]
    names = [
        "config.json",
        *shards,
        "consolidated.safetensors",
        "original/consolidated.00.pth",
        "onnx/model.onnx",
    ]
    assert choose_files(names) == ["config.json", *shards]


def test_pickles_are_taken_only_where_there_is_nothing_else() -> None:
    assert choose_files(["config.json", "pytorch_model.bin"]) == ["config.json", "pytorch_model.bin"]
    assert choose_files(["config.json", "model.safetensors", "pytorch_model.bin", "tf_model.h5"]) == [
        "config.json",
        "model.safetensors",
    ]


def test_one_gguf_is_chosen_of_many() -> None:
    names = ["m-Q8_0.gguf", "m-Q4_K_M.gguf", "m-Q2_K.gguf", "mmproj-f16.gguf", "README.md", "config.json"]
    assert choose_files(names) == ["README.md", "m-Q4_K_M.gguf"]
    assert choose_files(names, "m-Q2_K.gguf") == ["m-Q2_K.gguf"]
    assert choose_files(names, "m-Q3_K.gguf") == []
