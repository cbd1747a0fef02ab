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

_ROUNDS = 30
_WORDS = 30_000
_DELETED = 3_000


def indexing(documents: Path, folder: Path, pages: int, rounds: int) -> dict[str, Any]:
    """Index about so many pages and compare with embedding the same text alone.

    Both are measured in turn, ``rounds`` times: on a machine that others use, only what is measured side by
    side can be compared. The ratio is the median of the rounds' ratios.
    """
    began = time.perf_counter()
    files, records, read = _read(documents, pages)
    reading = time.perf_counter() - began
    texts = [record.embedded_text for record in records]
    embedder = Embedder()
    embedder.embed(texts[:8])
    bare, whole = [], []
    for number in range(rounds):
        before = _timed(lambda: _embed(embedder, texts[::2]))
        library = Libraries().open(str(folder / str(number)))
        library.embedder.embed(["warm"])
        whole.append(_timed(lambda library=library: list(_index(library, files))))
        bare.append(before + _timed(lambda: _embed(embedder, texts[1::2])))
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
    }


def _embed(embedder: Embedder, texts: list[str]) -> None:
    for at in range(0, len(texts), 512):
        embedder.embed(texts[at : at + 512])


def searching(folder: Path, passages: int) -> dict[str, Any]:
    """Search over made-up passages whose words and vectors are spread like those of real text."""
    random = np.random.default_rng(0)
    store = PassageStore(str(folder), 384)
    chances = 1 / np.arange(1, _WORDS + 1)
    chances /= chances.sum()
    centres = random.standard_normal((256, 384)).astype(np.float32)
    step = min(_DELETED, passages)
    began = time.perf_counter()
    for number, first in enumerate(range(0, passages, step)):
        count = min(step, passages - first)
        store.add(f"d{number}", list(_made_up(random, chances, count)), _vectors(random, centres, count))
    written = time.perf_counter() - began
    tidied = _timed(store.tidy)
    queries = [
        (
            _vectors(random, centres, 1)[0],
            [f"w{word}" for word in random.choice(_WORDS, 8, p=chances**0.5 / (chances**0.5).sum())],
        )
        for _ in range(_ROUNDS)
    ]
    times = [_timed(lambda one=one: _search(store, *one)) for one in queries[2:]]
    deleted = _timed(lambda: store.delete(["d0"]))
    return {
        "figure": "search",
        "passages": passages,
        "seconds to write": round(written, 2),
        "seconds to tidy and train": round(tidied, 2),
        "median ms": round(statistics.median(times) * 1e3, 1),
        "p95 ms": round(sorted(times)[int(len(times) * 0.95)] * 1e3, 1),
        f"seconds to delete a document of {step} passages": round(deleted, 3),
        "memory of the process MB": round(psutil.Process().memory_info().rss / 2**20),
    }


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
