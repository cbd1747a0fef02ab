"""Questions that a model wrote about sentences of the prose (see question_writer.py), as a file beside it.

asked-00.jsonl.xz holds one row a document: {"document": key, "asked": [[begin, length, question], ...]} with
offsets in characters. Only documents of the given corpus are used, so held-out ones never are.
"""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Sequence
from pathlib import Path

from corpus import Document

Written = tuple[Document, list[tuple[int, int, str]]]  # a document, and (begin, length, question)
NAME = "asked-00.jsonl.xz"


def document_key(document: Document) -> str:
    """A short digest of the document's text."""
    return hashlib.blake2s(document.text.encode(), digest_size=6).hexdigest()


def read_written(folder: Path, prose: Sequence[Document]) -> list[Written]:
    """The written questions on `prose`; none where the file is missing."""
    path = folder / NAME
    if not path.exists():
        return []
    documents = {document_key(document): document for document in prose}
    found: list[Written] = []
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row["document"] in documents:
                found.append((documents[row["document"]], [(a, n, q) for a, n, q in row["asked"]]))
    return found
