"""Indexing that is killed at random moments, and a file of very many pages."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from inference.documents.indexing import index
from inference.documents.libraries import Libraries
from inference.documents.retrieval import retrieve
from inference.events import DocumentIndexed, IndexProgress, IndexRequest
from inference.running import RunHandle, new_run_id

_FILES, _SECTIONS = 8, 40
_CHILD = """
import sys
from inference.documents.indexing import index
from inference.documents.libraries import Libraries
from inference.events import IndexRequest
from inference.running import RunHandle

if __name__ == "__main__":
    library, *files = sys.argv[1:]
    request = IndexRequest(run_id=1, library=library, add=tuple(files))
    for event in index(Libraries().open(library), request, RunHandle(1)):
        print(event.event, flush=True)
"""


def kills(folder: Path, count: int) -> dict[str, Any]:
    """Kill indexing (SIGKILL) at moments spread over a whole run and look at what is left each time."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [_prose(folder / f"book{number}.md") for number in range(_FILES)]
    script = folder / "child.py"
    script.write_text(_CHILD)
    began = time.perf_counter()
    _run(script, folder / "whole", files, None)
    whole = time.perf_counter() - began
    moments = random.Random(20)
    lost = again = half = 0
    done: set[str] = set()
    staged = 0
    for _ in range(count):
        _run(script, folder / "killed", files, whole * moments.random())
        libraries = Libraries()
        library = libraries.open(str(folder / "killed"))
        rows = {row.file: row for row in library.ledger.rows().values() if row.state == "indexed"}
        lost += len(done - set(rows))
        kept = sum(row.passages for row in rows.values()) + sum(
            len(library.ledger.staged(document)) for document in library.ledger.staged_documents()
        )
        again += kept < staged
        hits = retrieve(library, "what is written in the section", limit=200).hits
        half += sum(hit.file not in rows for hit in hits)
        done, staged = set(rows), kept
        libraries.close()
    libraries = Libraries()
    library = libraries.open(str(folder / "killed"))
    request = IndexRequest(run_id=new_run_id(), library="", add=tuple(files))
    events = list(index(library, request, RunHandle(request.run_id)))
    read = {event.entry.file for event in events if isinstance(event, DocumentIndexed)}
    whole_library = Libraries().open(str(folder / "whole"))
    figure = {
        "figure": "kill -9",
        "kills": count,
        "seconds of an undisturbed run": round(whole, 1),
        "documents done at the last kill": len(done),
        "documents lost": lost,
        "documents read again though done": len(read & done),
        "kills after which vectors were lost": again,
        "passages of half documents found": half,
        "passages in the end": library.store.count(),
        "passages of an undisturbed run": whole_library.store.count(),
    }
    libraries.close()
    whole_library.close()
    return figure


def long_file(folder: Path, pages: int) -> dict[str, Any]:
    """Index one PDF of so many pages; memory is that of this process and of the one that reads."""
    folder.mkdir(parents=True, exist_ok=True)
    file = _many_pages(folder / "long.pdf", pages)
    library = Libraries().open(str(folder / "library"))
    library.embedder.embed(["warm"])
    request = IndexRequest(run_id=new_run_id(), library="", add=(str(file),))
    process, most, most_reader = psutil.Process(), 0, 0
    began = time.perf_counter()
    for number, event in enumerate(index(library, request, RunHandle(request.run_id))):
        if isinstance(event, IndexProgress) and number % 200 == 0:
            most = max(most, process.memory_info().rss)
            most_reader = max(
                [most_reader, *(child.memory_info().rss for child in process.children(recursive=True))]
            )
    seconds = time.perf_counter() - began
    (row,) = library.ledger.rows().values()
    last = retrieve(library, f"stone number {pages}", limit=5).hits
    library.close()
    return {
        "figure": "long file",
        "pages": row.pages,
        "state": row.state,
        "MB of the file": round(file.stat().st_size / 2**20, 1),
        "seconds": round(seconds, 1),
        "pages/s": round(pages / seconds, 1),
        "memory of the process MB": round(most / 2**20),
        "memory of the reader MB": round(most_reader / 2**20),
        "its last page is found": any(hit.page == pages for hit in last),
    }


def _run(script: Path, library: Path, files: Sequence[str], kill_after: float | None) -> None:
    """Index in a process of its own, which is killed after so many seconds."""
    root = str(Path(__file__).resolve().parents[2])
    process = subprocess.Popen(
        [sys.executable, str(script), str(library), *files],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": root},
    )
    try:
        process.wait(kill_after)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _prose(file: Path) -> str:
    sections = (
        f"# Section {number}\n\nThis is written in section {number} of {file.stem}. "
        + " ".join(f"Its sentence {line} tells of stone {number * line}." for line in range(12))
        for number in range(_SECTIONS)
    )
    file.write_text("\n\n".join(sections), encoding="utf-8")
    return str(file)


def _many_pages(file: Path, pages: int) -> Path:
    """A PDF written by hand: one line of Helvetica on each page."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(pages))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {pages} /MediaBox [0 0 595 842] >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number in range(1, pages + 1):
        content = f"BT /F1 12 Tf 72 700 Td (On this page stands stone number {number} of the wall.) Tj ET"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /Contents {3 + 2 * number} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>"
        )
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    with file.open("wb") as out:
        out.write(b"%PDF-1.4\n")
        places = []
        for number, body in enumerate(objects, start=1):
            places.append(out.tell())
            out.write(f"{number} 0 obj\n{body}\nendobj\n".encode())
        table = out.tell()
        out.write(f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode())
        out.write("".join(f"{place:010d} 00000 n \n" for place in places).encode())
        out.write(
            f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n".encode()
        )
    return file
