"""The reader process: nothing that a file does reaches the parent, and nothing stays behind."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from inference.documents.reader_process import Opened, PageRead
from inference.documents.readers.document import UnreadableDocument
from inference.documents.reading import DocumentReader, ReadingLimits


@pytest.fixture
def reader() -> DocumentReader:
    return DocumentReader()


def readers_alive() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


@pytest.fixture(autouse=True)
def nothing_left(reader: DocumentReader):  # type: ignore[no-untyped-def]
    yield
    reader.close()
    assert readers_alive() == []


def test_pages_come_with_passages_and_one_process_reads_many_files(
    reader: DocumentReader, prose_pdf: Callable[..., Path]
) -> None:
    files = [prose_pdf(f"{name}.pdf", [f"All about {name}.", "More."]) for name in ("ants", "bees")]
    seen = []
    for file in files:
        opened, *pages = reader.read(file)
        assert opened == Opened(title="", pages=2)
        assert [page.number for page in pages if isinstance(page, PageRead)] == [1, 2]
        seen.append(pages[0].records[0].text)  # type: ignore[union-attr]
        assert len(readers_alive()) == 1
    assert seen == ["All about ants.", "All about bees."]


def test_a_file_that_kills_the_reader_is_refused_and_the_next_one_is_read(
    reader: DocumentReader, prose_pdf: Callable[..., Path]
) -> None:
    long = prose_pdf("long.pdf", ["A page of text. " * 40] * 300)
    steps = reader.read(long)
    next(steps)
    (process,) = readers_alive()
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(UnreadableDocument) as refused:
        list(steps)
    assert refused.value.reason == "crashed"
    assert list(reader.read(prose_pdf("short.pdf", ["Fine."])))


def test_a_reader_that_cannot_start_is_told_and_the_next_file_is_read(
    reader: DocumentReader, prose_pdf: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(process: object) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    file = prose_pdf("plain.pdf", ["Fine."])
    with monkeypatch.context() as patch:
        patch.setattr("multiprocessing.context.SpawnProcess.start", refuse)
        with pytest.raises(UnreadableDocument, match="Resource temporarily unavailable"):
            list(reader.read(file))
        reader.close()
    assert list(reader.read(file))


def test_a_file_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    file = tmp_path / "slow.html"
    file.write_text("<p>word</p>" * 600_000)  # seconds of work: the limit is met before any answer
    hasty = DocumentReader(ReadingLimits(seconds_to_open=0.0))
    with pytest.raises(UnreadableDocument) as refused:
        list(hasty.read(file))
    assert refused.value.reason == "timeout"
    assert readers_alive() == []


def test_a_file_that_takes_too_much_memory_is_given_up(tmp_path: Path) -> None:
    file = tmp_path / "large.html"
    file.write_text("<p>word</p>" * 600_000)
    small = DocumentReader(ReadingLimits(memory=150 * 2**20))
    with pytest.raises(UnreadableDocument) as refused:
        list(small.read(file))
    assert refused.value.reason == "memory"
    small.close()


def test_cancelling_stops_in_the_middle(reader: DocumentReader, prose_pdf: Callable[..., Path]) -> None:
    stop = threading.Event()
    steps = reader.read(prose_pdf("long.pdf", ["Some text. " * 50] * 200), cancelled=stop.is_set)
    next(steps)
    stop.set()
    assert len(list(steps)) < 200
    assert readers_alive() == []


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda folder: folder / "none.pdf", "missing"),
        (lambda folder: (folder / "x.pdf").mkdir() or folder / "x.pdf", "unsupported"),
        (lambda folder: (folder / "e.pdf").touch() or folder / "e.pdf", "empty"),
    ],
)
def test_what_is_no_file(
    reader: DocumentReader, tmp_path: Path, make: Callable[[Path], Path], reason: str
) -> None:
    with pytest.raises(UnreadableDocument) as refused:
        list(reader.read(make(tmp_path)))
    assert refused.value.reason == reason


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_does_not_hang(reader: DocumentReader, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pdf")
    with pytest.raises(UnreadableDocument) as refused:
        list(reader.read(tmp_path / "pipe.pdf"))
    assert refused.value.reason == "unsupported"


def test_the_process_ends_with_its_parent(tmp_path: Path, prose_pdf: Callable[..., Path]) -> None:
    import subprocess
    import sys

    file = prose_pdf("a.pdf", ["Text. " * 50] * 50)
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys, time, psutil\n"
        "from pathlib import Path\n"
        "from inference.documents.reading import DocumentReader\n"
        "if __name__ == '__main__':\n"
        f"    steps = DocumentReader().read(Path({str(file)!r}))\n"
        "    next(steps)\n"
        "    print(*[child.pid for child in psutil.Process().children()], flush=True)\n"
        "    time.sleep(60)\n"
    )
    root = Path(__file__).resolve().parents[3]
    parent = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert parent.stdout is not None
    children = [int(pid) for pid in parent.stdout.readline().split()]
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert children
    deadline = time.monotonic() + 20
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in children):
        assert time.monotonic() < deadline, "a reader outlived its parent"
        time.sleep(0.05)
