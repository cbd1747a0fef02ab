"""Speed of indexing, by phase and against the bare embedder, and of search."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from inference.documents.embedding import Embedder
from inference.documents.indexing import index
from inference.documents.libraries import Libraries, Library
from inference.documents.reader_process import PageRead
from inference.documents.readers.document import UnreadableDocument
from inference.documents.reading import DocumentReader
from inference.documents.records import Record
from inference.documents.retrieval import fuse
from inference.documents.store import PassageStore
from inference.events import IndexRequest
from inference.running import RunHandle, new_run_id

_ROUNDS = 60
_WARMING = 5
_WORDS = 30_000
_EXACT = 10  # queries whose nearest passages are also looked for without the index
_DELETED = 3_000


def indexing(documents: Path, folder: Path, pages: int, rounds: int) -> dict[str, Any]:
    """Index about so many pages and compare with embedding the same text alone.

    Both are measured in turn, ``rounds`` times: on a machine that others use, only what is measured side by
    side can be compared. The ratio is the median of the rounds' ratios; that in processor time leaves out the
    processes that read, which take a core of their own.
    """
    began = time.perf_counter()
    files, records, read = _read(documents, pages)
    reading = time.perf_counter() - began
    texts = [record.embedded_text for record in records]
    embedder = Embedder()
    embedder.embed(texts[:8])
    bare, whole, bare_cpu, whole_cpu, readers_cpu = [], [], [], [], []
    for number in range(rounds):
        before, before_cpu = _measured(lambda: _embed(embedder, texts[::2]))
        library = Libraries().open(str(folder / str(number)))
        library.embedder.embed(["warm"])
        library.store.count()  # the libraries it needs are loaded once for an app, not for a run
        readers = _children_seconds()
        together, together_cpu = _measured(lambda library=library: list(_index(library, files)))
        whole.append(together)
        whole_cpu.append(together_cpu)
        readers_cpu.append(_children_seconds() - readers)
        after, after_cpu = _measured(lambda: _embed(embedder, texts[1::2]))
        bare.append(before + after)
        bare_cpu.append(before_cpu + after_cpu)
        library.close()
    writing = _timed(lambda: _write(folder.parent / "written", records, embedder.dimensions))
    ratios = [alone / together for alone, together in zip(bare, whole, strict=True)]
    return {
        "figure": "indexing",
        "files": len(files),
        "pages": read,
        "passages": len(records),
        "pages/s reading and cutting, alone": round(read / reading, 1),
        "pages/s embedding, alone": round(read / statistics.median(bare), 1),
        "pages/s writing, alone": round(read / writing, 1),
        "pages/s all together": round(read / statistics.median(whole), 1),
        "ratio to the bare embedder": round(statistics.median(ratios), 3),
        "ratios of the rounds": [round(ratio, 3) for ratio in ratios],
        "processor seconds, bare embedder": round(statistics.median(bare_cpu), 2),
        "processor seconds, all together without readers": round(statistics.median(whole_cpu), 2),
        "processor seconds, readers": round(statistics.median(readers_cpu), 2),
        "ratio in processor time": round(
            statistics.median(alone / all_ for alone, all_ in zip(bare_cpu, whole_cpu, strict=True)), 3
        ),
    }


def _children_seconds() -> float:
    """Processor seconds of the child processes that have ended."""
    times = psutil.Process().cpu_times()
    return float(times.children_user + times.children_system)


def _embed(embedder: Embedder, texts: list[str]) -> None:
    for at in range(0, len(texts), 512):
        embedder.embed(texts[at : at + 512])


def searching(folder: Path, passages: int) -> dict[str, Any]:
    """Search over made-up passages whose words and vectors are spread like those of real text.

    A folder that holds so many already is searched as it is. The clock's figures depend on who else uses the
    machine; those of the processor, which add up all threads, hardly do.
    """
    random = np.random.default_rng(0)
    store = PassageStore(str(folder), 384)
    centres = random.standard_normal((256, 384)).astype(np.float32)
    line: dict[str, Any] = {"figure": "search", "passages": passages}
    new = store.count() < passages
    if new:
        line["seconds to write"] = round(_timed(lambda: _fill(store, passages, centres)), 2)
        line["seconds to tidy and train"] = round(_timed(store.tidy), 2)
    queries = list(_queries(np.random.default_rng(1), centres))
    line["seconds to read the indices into memory"] = round(_timed(store.warm), 2)
    for one in queries[:_WARMING]:
        _search(store, *one)
    measured = queries[_WARMING:]
    looked = [_measured(lambda one=one: _search(store, *one)) for one in measured]
    for name, part in (
        ("vectors", lambda one: store.nearest(one[0], 120)),
        ("words", lambda one: store.matching(one[1], 120)),
    ):
        times = [_measured(lambda one=one, part=part: part(one))[0] for one in measured]
        line[f"median ms, {name} alone"] = round(statistics.median(times) * 1e3, 1)
    clock = sorted(seconds for seconds, _ in looked)
    line |= {
        "median ms": round(statistics.median(clock) * 1e3, 1),
        "p95 ms": round(clock[int(len(clock) * 0.95)] * 1e3, 1),
        "median ms of processor time": round(statistics.median(cpu for _, cpu in looked) * 1e3, 1),
        "memory of the process MB": round(psutil.Process().memory_info().rss / 2**20),
        "recall of the nearest 10 and 120 against exact search": _recall(store, measured[:_EXACT]),
    }
    if new:
        deleted = _timed(lambda: store.delete(["d0"]))
        line[f"seconds to delete a document of {_DELETED} passages"] = round(deleted, 3)
    return line


def _recall(store: PassageStore, queries: list[tuple[Any, list[str]]]) -> list[float]:
    """Which share of the truly nearest 10 and 120 passages a search finds."""
    shares = []
    for vector, _ in queries:
        found = [one.row for one in store.nearest(vector, 120)]
        exact = [one.row for one in store.nearest(vector, 120, exact=True)]
        shares.append([len({*found[:depth]} & {*exact[:depth]}) / depth for depth in (10, 120)])
    return [round(statistics.mean(share), 3) for share in zip(*shares, strict=True)]


def _fill(store: PassageStore, passages: int, centres: Any) -> None:
    random = np.random.default_rng(2)
    chances = _chances()
    for number in range(passages // _DELETED + 2):  # one more than is asked for: it is deleted in the end
        records = list(_made_up(random, chances, _DELETED))
        store.add(f"d{number}", records, _vectors(random, centres, _DELETED))


def _chances() -> Any:
    chances = 1 / np.arange(1, _WORDS + 1)
    return chances / chances.sum()


def _queries(random: np.random.Generator, centres: Any) -> Iterator[tuple[Any, list[str]]]:
    """A vector and eight words each, rarer ones than in the text."""
    chances = _chances() ** 0.5
    chances /= chances.sum()
    for _ in range(_WARMING + _ROUNDS):
        words = random.choice(_WORDS, 8, p=chances)
        yield _vectors(random, centres, 1)[0], [f"w{word}" for word in words]


def _measured(work: Any) -> tuple[float, float]:
    """Seconds by the clock, and of the processor in all threads."""
    began, busy = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - busy


def _search(store: PassageStore, vector: Any, words: list[str]) -> None:
    """What one query costs without its embedding: both lists, fused, and the best ones fetched."""
    best = fuse(store.nearest(vector, 120), store.matching(words, 120))
    store.fetch([one.row for one in best[:64]])


def _read(documents: Path, pages: int) -> tuple[list[str], list[Record], int]:
    files: list[str] = []
    records: list[Record] = []
    read = 0
    reader = DocumentReader()
    try:
        for file in sorted(documents.glob("*.pdf"), key=lambda file: file.stat().st_size):
            if read >= pages:
                break
            try:
                found = [step for step in reader.read(file) if isinstance(step, PageRead)]
            except UnreadableDocument:
                continue
            if any(step.records for step in found):
                files.append(str(file))
                records.extend(record for step in found for record in step.records)
                read += len(found)
    finally:
        reader.close()
    return files, records, read


def _index(library: Library, files: list[str]) -> Iterator[Any]:
    run_id = new_run_id()
    request = IndexRequest(run_id=run_id, library=str(library.folder), add=tuple(files))
    return index(library, request, RunHandle(run_id))


def _write(folder: Path, records: list[Record], dimensions: int) -> None:
    store = PassageStore(str(folder), dimensions)
    store.add("d0", records, np.ones((len(records), dimensions), dtype=np.float32))
    store.tidy()


def _made_up(random: np.random.Generator, chances: Any, count: int) -> Iterator[Record]:
    words = random.choice(_WORDS, size=(count, 70), p=chances)
    for number, row in enumerate(words):
        text = " ".join(f"w{word}" for word in row)
        yield Record(
            page=number,
            start=0,
            end=len(text),
            text=text,
            heading="",
            label="",
            unit="page",
            terms=text,
            places=b"",
        )


def _vectors(random: np.random.Generator, centres: Any, count: int) -> Any:
    vectors = centres[random.integers(0, len(centres), count)] + 0.8 * random.standard_normal((count, 384))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _timed(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
