"""A library follows its files: what is unchanged is skipped, what is done is kept, nothing is half
searchable.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.documents.indexing import index, library_opened
from inference.documents.libraries import Libraries, Library
from inference.documents.readers.document import (
    NO_TEXT_LAYER,
    NOTHING_RECOGNISED,
    UnreadableDocument,
    can_recognise,
)
from inference.documents.records import Record
from inference.documents.retrieval import retrieve
from inference.documents.store import PassageStore
from inference.documents.terms import terms
from inference.errors import InvalidRequest, ModelNotFound, ModelUnsupported, RunCancelled, UnreadableFile
from inference.events import DocumentIndexed, IndexProgress, IndexRequest, LibraryOpened
from inference.running import RunHandle
from inference.session import Session

ROOT = Path(__file__).resolve().parents[3]
Names = Callable[..., list[str]]


def pages_found(library: Library, query: str) -> set[tuple[str, int]]:
    return {(Path(hit.file).name, hit.page) for hit in retrieve(library, query, limit=20).hits}


def test_documents_are_found_by_page_after_indexing(shelf, prose_pdf, indexed_names: Names) -> None:  # type: ignore[no-untyped-def]
    rivers = prose_pdf("rivers.pdf", ["The Nile is long.", "The Amazon carries much water."])
    events = shelf.bring_up_to_date(rivers)
    assert indexed_names(events) == ["rivers.pdf"]
    assert isinstance(events[-1], LibraryOpened)
    assert events[-1].passages == 2
    assert pages_found(shelf.library, "How much water does the Amazon carry?") >= {("rivers.pdf", 2)}


def test_unchanged_files_are_neither_read_nor_embedded_again(
    shelf, prose_pdf, embedder, indexed_names: Names
) -> None:  # type: ignore[no-untyped-def]
    file = prose_pdf("a.pdf", ["The first text."])
    shelf.bring_up_to_date(file)
    embedder.seen.clear()
    assert indexed_names(shelf.bring_up_to_date()) == []
    os.utime(file, ns=(1, 1))  # touched, but the content is the same
    assert indexed_names(shelf.bring_up_to_date()) == []
    assert embedder.seen == []


def test_a_changed_file_is_read_again_and_its_old_text_is_gone(
    shelf, prose_pdf, indexed_names: Names
) -> None:  # type: ignore[no-untyped-def]
    file = prose_pdf("a.pdf", ["Badgers dig burrows."])
    shelf.bring_up_to_date(file)
    prose_pdf("a.pdf", ["Herons stand in shallow water, waiting."])
    assert indexed_names(shelf.bring_up_to_date()) == ["a.pdf"]
    texts = [hit.text for hit in retrieve(shelf.library, "badgers", limit=5).hits]
    assert texts == ["Herons stand in shallow water, waiting."]
    assert shelf.library.store.count() == 1


@pytest.fixture
def old_shelf(tmp_path: Path, shelf, prose_pdf):  # type: ignore[no-untyped-def]
    """A library of two documents as an earlier version of the app left it, opened by this one."""
    shelf.bring_up_to_date(
        prose_pdf("a.pdf", ["Badgers dig burrows."]), prose_pdf("b.pdf", ["Herons wait in the water."])
    )
    ledger, store = shelf.library.ledger, shelf.library.store
    for row in ledger.rows().values():
        unnamed = "-".join(row.document.split("-")[:2])
        store._table.update(where=f"document = '{row.document}'", values={"document": unnamed})
        ledger.put(replace(row, document=unnamed))
    ledger.set_fact("format", "2")
    shelf.library.close()
    shelf.library = Library(shelf.library.folder, shelf.library.embedder)
    yield shelf
    shelf.library.close()


def test_what_an_earlier_version_read_is_searched_until_it_has_been_read_again(
    old_shelf, embedder, indexed_names: Names
) -> None:  # type: ignore[no-untyped-def]
    library = old_shelf.library
    assert library_opened(library, 1).outdated == 2
    assert pages_found(library, "herons") >= {("b.pdf", 1)}
    run = index(library, IndexRequest(run_id=1, library=str(library.folder)), RunHandle(1))
    for event in run:
        assert pages_found(library, "badgers herons") == {("a.pdf", 1), ("b.pdf", 1)}, event
    opened = event
    assert isinstance(opened, LibraryOpened)
    assert (opened.outdated, opened.passages, library.store.count()) == (0, 2, 2)
    embedder.seen.clear()
    assert indexed_names(old_shelf.bring_up_to_date()) == []
    assert embedder.seen == []


def test_reading_an_old_library_again_goes_on_where_it_was_broken_off(
    old_shelf, indexed_names: Names
) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RunCancelled):
        old_shelf.bring_up_to_date(cancel_after=6)
    left = library_opened(old_shelf.library, 1).outdated
    assert 0 < left < 2
    assert pages_found(old_shelf.library, "badgers herons") == {("a.pdf", 1), ("b.pdf", 1)}
    assert len(indexed_names(old_shelf.bring_up_to_date())) == left
    assert old_shelf.library.store.count() == 2


def test_what_can_no_longer_be_read_of_an_old_library_is_kept(old_shelf, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    def refuse(*_: object, **__: object) -> None:
        raise UnreadableDocument("password", "It is protected.")

    monkeypatch.setattr("inference.documents.reading.DocumentReader.read", refuse)
    old_shelf.bring_up_to_date()
    assert {entry.state for entry in old_shelf.entries().values()} == {"indexed"}
    assert pages_found(old_shelf.library, "badgers") >= {("a.pdf", 1)}
    assert library_opened(old_shelf.library, 1).outdated == 2


def test_a_library_of_a_newer_version_is_refused(shelf) -> None:  # type: ignore[no-untyped-def]
    shelf.library.ledger.set_fact("format", "999")
    with pytest.raises(ModelUnsupported, match="newer version"):
        Library(shelf.library.folder, shelf.library.embedder)


def test_pages_that_are_read_anew_replace_what_was_stored(shelf, make_pdf, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    able = False
    for place in ("scanning", "readers.pdf"):
        monkeypatch.setattr(f"inference.documents.{place}.can_recognise", lambda: able)
    shelf.bring_up_to_date(make_pdf("a.pdf", [[(72, 700, 11, "Herons wait.")], []], image=True))
    (row,) = shelf.library.ledger.rows().values()
    shelf.library.ledger.put(replace(row, problems=(f"page 2: {NO_TEXT_LAYER}",)))
    able = True
    shelf.bring_up_to_date()
    assert shelf.library.store.count() == 1, "the page with text is there once"


def test_deleted_and_removed_files_leave_the_library(shelf, prose_pdf, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("a.pdf", "b.pdf", "c.pdf"):
        prose_pdf(name, [f"The text of {name}."]).rename(folder / name)
    shelf.bring_up_to_date(folder)
    (folder / "a.pdf").unlink()
    shelf.bring_up_to_date(remove=(str(folder / "b.pdf"),))
    assert set(shelf.entries()) == {"c.pdf"}
    assert shelf.library.store.count() == 1
    shelf.bring_up_to_date(folder / "b.pdf")
    assert set(shelf.entries()) == {"b.pdf", "c.pdf"}


def test_a_folder_that_is_not_there_for_now_keeps_its_documents(shelf, prose_pdf, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "drive"
    folder.mkdir()
    prose_pdf("a.pdf", ["Text."]).rename(folder / "a.pdf")
    shelf.bring_up_to_date(folder)
    folder.rename(tmp_path / "unplugged")
    shelf.bring_up_to_date()
    assert set(shelf.entries()) == {"a.pdf"}


def test_what_cannot_be_read_is_listed_with_its_reason_and_the_rest_goes_on(
    shelf, prose_pdf, make_pdf, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    (tmp_path / "empty.pdf").touch()
    (tmp_path / "x.pdf").mkdir()
    make_pdf("scan.pdf", [[]], image=True)
    files = [tmp_path / name for name in ("broken.pdf", "empty.pdf", "x.pdf", "scan.pdf", "missing.pdf")]
    shelf.bring_up_to_date(*files, prose_pdf("good.pdf", ["Good text."]))
    reasons = {name: entry.reason for name, entry in shelf.entries().items()}
    assert reasons == {
        "broken.pdf": "damaged",
        "empty.pdf": "empty",
        "x.pdf": "empty",
        "scan.pdf": "no-text",
        "missing.pdf": "missing",
        "good.pdf": "",
    }
    assert all(entry.message.endswith(".") for entry in shelf.entries().values() if entry.reason)


def test_pages_without_text_are_named(shelf, make_pdf) -> None:  # type: ignore[no-untyped-def]
    shelf.bring_up_to_date(make_pdf("a.pdf", [[(72, 700, 11, "Text.")], [], []], image=True))
    said = NOTHING_RECOGNISED if can_recognise() else NO_TEXT_LAYER
    assert shelf.entries()["a.pdf"].problems == (f"pages 2-3: {said}",)


def test_a_cancelled_run_goes_on_where_it_stopped(shelf, prose_pdf, embedder) -> None:  # type: ignore[no-untyped-def]
    file = prose_pdf("long.pdf", [f"Page {number} tells of animal number {number}." for number in range(100)])
    with pytest.raises(RunCancelled):
        shelf.bring_up_to_date(file, cancel_after=105)
    embedded = len(embedder.seen)
    assert 0 < embedded < 100
    assert retrieve(shelf.library, "animal", limit=5).hits == (), "half a document is not searchable"
    embedder.seen.clear()
    shelf.bring_up_to_date()
    assert len(embedder.seen) == 100 - embedded, "nothing that was embedded is embedded again"
    assert shelf.entries()["long.pdf"].passages == 100


def test_nothing_is_kept_of_a_file_that_went_before_it_was_finished(shelf, prose_pdf) -> None:  # type: ignore[no-untyped-def]
    file = prose_pdf("long.pdf", [f"Page {number} tells of animal number {number}." for number in range(100)])
    with pytest.raises(RunCancelled):
        shelf.bring_up_to_date(file, cancel_after=105)
    assert shelf.library.ledger.staged_documents()
    file.unlink()
    shelf.bring_up_to_date()
    assert shelf.library.ledger.staged_documents() == []


def test_progress_counts_up_to_all_files_and_pages(shelf, prose_pdf) -> None:  # type: ignore[no-untyped-def]
    files = [prose_pdf(f"{n}.pdf", ["One page.", "Another page."]) for n in range(3)]
    steps = [event for event in shelf.bring_up_to_date(*files) if isinstance(event, IndexProgress)]
    assert steps[0].stage == "scanning"
    assert (steps[-1].files_done, steps[-1].files_total) == (3, 3)
    assert (steps[-1].pages_done, steps[-1].passages_done) == (6, 6)
    assert max(step.page for step in steps) < 6  # of one file
    assert all(step.page <= step.file_pages for step in steps if step.file_pages)
    assert [step.pages_done for step in steps] == sorted(step.pages_done for step in steps)


def test_libraries_can_keep_their_passages_in_one_other_place(tmp_path: Path, prose_pdf) -> None:  # type: ignore[no-untyped-def]
    libraries, place = Libraries(), str(tmp_path / "elsewhere")
    opened = [libraries.open(str(tmp_path / name), store=place) for name in ("one", "two")]
    for library, animal in zip(opened, ("fox", "owl"), strict=True):
        file = prose_pdf(f"{animal}.pdf", [f"The {animal} lives in the forest."])
        list(index(library, IndexRequest(run_id=1, library="", add=(str(file),)), RunHandle(1)))
    libraries.close()
    again = libraries.open(str(tmp_path / "one"))  # it remembers the place
    assert [hit.text for hit in retrieve(again, "forest", limit=5).hits] == ["The fox lives in the forest."]
    assert not (tmp_path / "one" / "store").exists()
    libraries.delete(str(tmp_path / "one"))
    assert not (tmp_path / "one").exists()
    left = libraries.open(str(tmp_path / "two"))
    assert [hit.text for hit in retrieve(left, "forest", limit=5).hits] == ["The owl lives in the forest."]
    assert len(list(Path(place).glob("*.lance"))) == 1
    libraries.close()


def test_only_libraries_are_deleted(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").touch()
    Libraries().delete(str(tmp_path))
    assert (tmp_path / "letters.txt").exists()


def test_a_library_is_not_made_with_an_embedder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound):
        Libraries().open(str(tmp_path / "new"), embedder=str(tmp_path / "nothing"))
    assert not (tmp_path / "new").exists()


def test_two_runs_at_once_are_refused(shelf, prose_pdf) -> None:  # type: ignore[no-untyped-def]
    with shelf.library.writing(), pytest.raises(InvalidRequest, match="already"):
        shelf.bring_up_to_date(prose_pdf("a.pdf", ["Text."]))


def test_passages_that_a_crash_left_are_not_searched_and_are_cleared_away(shelf, prose_pdf) -> None:  # type: ignore[no-untyped-def]
    shelf.bring_up_to_date(prose_pdf("a.pdf", ["The only true text."]))
    store = shelf.library.store
    ghost = Record(
        page=1,
        start=0,
        end=4,
        text="true ghost",
        heading="",
        label="",
        unit="page",
        terms=" ".join(terms("true ghost")),
        places=b"",
    )
    store.add("dead-beef", [ghost], np.full((1, 384), 384**-0.5, dtype=np.float32))
    assert [hit.text for hit in retrieve(shelf.library, "true", limit=5).hits] == ["The only true text."]
    shelf.bring_up_to_date()
    assert store.count() == 1


#: Loads torch once and forks for each line on its stdin: a run that is killed costs no start of its own.
NURSERY = """
import os
import sys

if __name__ == "__main__":
    import torch
    from inference.documents.embedding import Embedder
    from inference.documents.libraries import Libraries
    from inference.events import IndexRequest
    from inference.running import RunHandle
    from inference.session import Session

    library, *files = sys.argv[1:]
    torch.set_num_threads(1)
    embedder = Embedder()
    assert embedder.dimensions == 384
    for line in sys.stdin:
        child = os.fork()
        if not child:
            session = Session()
            session.libraries = Libraries()
            session.libraries._embedders["builtin"] = embedder
            request = IndexRequest(run_id=1, library=library, add=tuple(files))
            print("child", os.getpid(), flush=True)
            for event in session.run(request, RunHandle(1)):
                print(event.event, getattr(event, "stage", ""), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        print("gone", flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the runs are forked from one that is warm")
@pytest.mark.timeout(600)
def test_kill_at_any_moment_loses_nothing_that_was_done(
    tmp_path: Path, prose_pdf, libraries, indexed_names: Names
) -> None:  # type: ignore[no-untyped-def]
    files = [
        prose_pdf(f"{name}.pdf", [f"On page {n} we meet {name} again, number {n}." for n in range(40)])
        for name in ("ants", "bees", "cats", "dogs", "eels", "fish")
    ]
    folder = tmp_path / "library"
    script = tmp_path / "run.py"
    script.write_text(NURSERY)
    command = [sys.executable, str(script), str(folder), *map(str, files)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as nursery:
        done: set[str] = set()
        moments = random.Random(6)
        for _ in range(8):
            _index_and_kill(nursery, moments.randrange(2, 60), moments.random() * 0.05)
            done = _check_what_is_left(libraries, folder, done)
        assert nursery.stdin is not None
        nursery.stdin.close()
    session = Session()
    session.libraries = libraries
    events = list(
        session.run(IndexRequest(run_id=9, library=str(folder), add=tuple(map(str, files))), RunHandle(9))
    )
    again = [event.entry.file for event in events if isinstance(event, DocumentIndexed)]
    assert set(again) == set(map(str, files)) - done
    library = libraries.open(str(folder))
    assert library.store.count() == 6 * 40


def _index_and_kill(nursery: subprocess.Popen[str], lines: int, seconds: float) -> None:
    """Let a run go on until it has told so much, and a moment longer; then SIGKILL."""
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    nursery.stdin.write("index\n")
    nursery.stdin.flush()
    _, child = nursery.stdout.readline().split()
    for _ in range(lines):
        if nursery.stdout.readline() in ("gone\n", ""):
            return
    time.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(child), signal.SIGKILL)
    while nursery.stdout.readline() not in ("gone\n", ""):
        pass


def _check_what_is_left(libraries: Libraries, folder: Path, done: set[str]) -> set[str]:
    library = libraries.open(str(folder))
    rows = {row.file: row for row in library.ledger.rows().values() if row.state == "indexed"}
    assert done <= set(rows), "what was done stays done"
    assert all(row.passages == 40 for row in rows.values())
    for hit in retrieve(library, "number", limit=20).hits:
        assert hit.file in rows, "only whole documents are searchable"
    libraries.close()
    return set(rows)


@pytest.mark.parametrize("place", ["memory://", "file://{}/elsewhere"])
def test_passages_can_be_kept_in_a_place_with_an_address(
    place: str, tmp_path: Path, prose_pdf, embedder, libraries
) -> None:  # type: ignore[no-untyped-def]
    folder = str(tmp_path / "library")
    libraries._embedders["builtin"] = embedder
    library = libraries.open(folder, store=place.format(tmp_path))
    file = prose_pdf("owl.pdf", ["The owl sleeps in the day."])
    request = IndexRequest(run_id=1, library=folder, add=(str(file),))
    list(index(library, request, RunHandle(1)))
    assert pages_found(library, "When does the owl sleep?") == {("owl.pdf", 1)}
    assert not (tmp_path / "library" / "store").exists()
    libraries.delete(folder)
    assert not (tmp_path / "library").exists()


@pytest.mark.parametrize(
    ("uri", "said"),
    [("db://nowhere", "LANCEDB_API_KEY"), ("nonsense://bucket/x", "address"), ("s3://no-such/x", "AWS_")],
)
def test_a_place_that_can_not_be_reached_is_named_with_what_to_do(
    uri: str, said: str, tmp_path: Path, embedder, libraries, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "none")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
    libraries._embedders["builtin"] = embedder
    folder = tmp_path / "library"
    library = libraries.open(str(folder), store=uri)
    with pytest.raises(UnreadableFile) as raised:
        library.store.count()
    assert uri in raised.value.message
    assert said in raised.value.hint
    libraries.delete(str(folder))
    assert not folder.exists(), "it can be deleted all the same"


def test_work_on_the_index_can_be_broken_off_and_leaves_the_library_whole(
    shelf, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    store = shelf.library.store
    record = Record(
        page=1, start=0, end=4, text="true", heading="", label="", unit="page", terms="true", places=b""
    )
    store.add("d0", [record] * 300, np.random.default_rng(0).standard_normal((300, 384)).astype(np.float32))
    monkeypatch.setattr("inference.documents.store.ANN_FROM", 256)
    looked = 0

    def stop() -> None:
        nonlocal looked
        looked += 1
        if looked == 3:
            raise RunCancelled

    with pytest.raises(RunCancelled):
        store.tidy(stop)
    assert looked == 3
    assert not multiprocessing.active_children(), "its process is gone"
    assert len(store.matching(["true"], 500)) == 300
    store.tidy()
    assert len(store.nearest(np.full(384, 384**-0.5, dtype=np.float32), 10)) == 10


def test_passages_of_like_length_are_embedded_together(shelf, prose_pdf, embedder) -> None:  # type: ignore[no-untyped-def]
    pages = [f"Page {n} tells of stones. " * (1 if n % 2 else 6) for n in range(80)]
    shelf.bring_up_to_date(prose_pdf("stones.pdf", pages))
    lengths = [len(text) for text in embedder.seen]
    assert len(lengths) == 80
    assert lengths == sorted(lengths, reverse=True)


def test_the_index_of_a_large_library_is_read_into_memory_and_leaves_what_is_found(
    tmp_path: Path, monkeypatch
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("inference.documents.store.ANN_FROM", 256)
    store = PassageStore(str(tmp_path / "store"), 8)
    vectors = np.random.default_rng(0).standard_normal((400, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    record = Record(
        page=1, start=0, end=1, text="a", heading="", label="", unit="page", terms="a", places=b""
    )
    store.add("d0", [record] * 400, vectors)
    store.warm()  # nothing to do yet
    store.tidy_here()
    store.warm()
    best = [one.score for one in store.nearest(vectors[0], 5, exact=True)]
    assert best == pytest.approx(sorted(vectors @ vectors[0], reverse=True)[:5], abs=1e-5)
    assert [one.score for one in store.nearest(vectors[0], 5)] == pytest.approx(best, abs=1e-5)


def test_a_large_library_looks_up_the_neighbours_of_a_passage_by_an_index_of_its_documents(
    tmp_path: Path, monkeypatch
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("inference.documents.store.ANN_FROM", 256)
    store = PassageStore(str(tmp_path / "store"), 8)
    vectors = np.random.default_rng(0).standard_normal((300, 8)).astype(np.float32)
    for document, first in (("d0", 0), ("d1", 150)):
        records = [
            Record(
                page=1 + place // 5, start=10 * (place % 5), end=10 * (place % 5) + 9,
                text=f"{document} {place}",
                heading="", label="", unit="page", terms="a", places=b"",
            )
            for place in range(150)
        ]  # fmt: skip
        store.add(document, records, vectors[first : first + 150])
    wanted = {("d0", 2, 10), ("d1", 30, 40)}
    before = store.around(wanted, 10)
    store.tidy_here()
    assert "document_idx" in store.indices()
    assert store.around(wanted, 10) == before
    assert [one.text for one in before] == ["d0 5", "d0 6", "d0 7", "d1 148", "d1 149"]
    store.delete(["d0"])
    assert [one.text for one in store.around(wanted, 10)] == ["d1 148", "d1 149"]
    store.add("d2", [replace(records[0], text="new")], vectors[:1])
    assert [one.text for one in store.around({("d2", 1, 0)}, 5)] == ["new"], "not yet in the index"
