"""The passages of a library in LanceDB: vectors, index terms, text and places in one table."""

from __future__ import annotations

import math
import multiprocessing
import os
import re
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psutil

from inference.documents.embedding import Vectors
from inference.documents.records import Record
from inference.errors import DiskFull, InferenceError, UnreadableFile

TABLE = "passages"
ANN_FROM = 20_000  # passages: below, scanning all vectors is as quick and exact
_BY_DOCUMENT = "document_idx"
_PROBES = 24  # partitions of the index of vectors that a search looks at
_ANN_GROWTH = 4  # a new index is trained when there are this many times as many
_POLL = 0.05  # seconds between two looks at a process that tidies
_MOST_OF_IDF = 1.8  # what BM25 makes of a term's rarity in the passage that holds it best, about
_DETAILS = ["document", "ordinal", "page", "start", "end", "text", "heading", "label", "unit", "places"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A passage as a search gives it. ``row`` holds until the next :meth:`PassageStore.refresh`; ``score`` is
    a cosine or a BM25 score.
    """

    row: int
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPassage:
    """A passage with all that is kept of it."""

    document: str
    ordinal: int
    page: int
    start: int
    end: int
    text: str
    heading: str
    label: str
    unit: str
    places: bytes


class PassageStore:
    """The table of one library. ``uri`` is a folder, an object store or a LanceDB server; several libraries
    may share it, each with a table of its own.
    """

    def __init__(self, uri: str, dimensions: int, table: str = TABLE) -> None:
        # Its hints about small tables are for developers; read when the library is loaded.
        os.environ.setdefault("LANCEDB_LOG", "error")
        import lancedb
        import pyarrow as pa

        self._uri = uri
        self._dimensions = dimensions
        self._name = table
        self._schema = pa.schema(
            [
                pa.field("document", pa.string()),
                pa.field("ordinal", pa.int32()),
                pa.field("page", pa.int32()),
                pa.field("start", pa.int32()),
                pa.field("end", pa.int32()),
                pa.field("text", pa.string()),
                pa.field("heading", pa.string()),
                pa.field("label", pa.string()),
                pa.field("unit", pa.string()),
                pa.field("terms", pa.string()),
                pa.field("places", pa.binary()),
                pa.field("vector", pa.list_(pa.float32(), dimensions)),
            ]
        )
        try:
            self._db = lancedb.connect(uri)
            self._table: Any = self._db.create_table(table, schema=self._schema, exist_ok=True)
            if not self._indices():
                self._index_terms()
        except (OSError, RuntimeError, ValueError) as error:
            raise UnreadableFile(
                f"The library's passages can't be reached at {uri}.", hint=_hint(uri), details=repr(error)
            ) from error

    def drop(self) -> None:
        """Delete the table."""
        self._db.drop_table(self._name)

    def refresh(self) -> None:
        """See what others have written."""
        self._table.checkout_latest()

    def count(self) -> int:
        """How many passages are stored, searchable or not."""
        return int(self._table.count_rows())

    def documents(self) -> set[str]:
        """The documents that passages are stored of."""
        batches = self._table.search().select(["document"]).limit(max(self.count(), 1)).to_arrow()
        return set(batches["document"].unique().to_pylist())

    def add(self, document: str, records: Sequence[Record], vectors: Vectors) -> None:
        """Store the passages of a document, all in one commit."""
        import pyarrow as pa

        count = len(records)
        columns: dict[str, Any] = {
            "document": pa.array([document] * count, pa.string()),
            "ordinal": pa.array(range(count), pa.int32()),
            **{
                field.name: pa.array([getattr(record, field.name) for record in records], field.type)
                for field in self._schema
                if field.name not in ("document", "ordinal", "vector")
            },
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), self._dimensions),
        }
        try:
            self._table.add(pa.table(columns, schema=self._schema))
        except (OSError, RuntimeError) as error:
            if "space" in str(error).lower():
                raise DiskFull("There is no room to write the library.", details=repr(error)) from error
            raise

    def delete(self, documents: Collection[str]) -> None:
        """Remove the passages of documents."""
        if documents:
            self._table.delete(_is_one_of(documents))

    def nearest(
        self, vector: Vectors, limit: int, documents: Collection[str] | None = None, *, exact: bool = False
    ) -> list[Found]:
        """The passages whose vectors have the largest cosine with a unit vector, best first; ``exact`` looks
        at all of them even where there is an index.
        """
        query = self._table.search(vector, vector_column_name="vector").distance_type("dot").limit(limit)
        if exact:
            query = query.bypass_vector_index()
        elif self._has_ann():
            query = query.nprobes(_PROBES)
        return [
            Found(row=row, score=1.0 - distance) for row, distance in self._run(query, "_distance", documents)
        ]

    def matching(
        self, terms: Iterable[str], limit: int, documents: Collection[str] | None = None
    ) -> list[Found]:
        """The passages with the largest BM25 score for index terms, best first."""
        words = " ".join(dict.fromkeys(terms))
        if not words:
            return []
        query = self._table.search(words, query_type="fts", fts_columns="terms").limit(limit)
        return [Found(row=row, score=score) for row, score in self._run(query, "_score", documents)]

    def weights(self, terms: Iterable[str]) -> dict[str, float]:
        """How much each term says: the largest BM25 score that it alone gives a passage. A term that no
        passage holds says as much as the rarest could.
        """
        rarest = _MOST_OF_IDF * math.log(1 + (self.count() + 0.5) / 0.5)
        found = {term: self.matching([term], 1) for term in terms}
        return {term: best[0].score if best else rarest for term, best in found.items()}

    def fetch(self, rows: Collection[int]) -> dict[int, StoredPassage]:
        """The passages in these rows; rows that are gone are left out."""
        if not rows:
            return {}
        found = self._table.take_row_ids(list(rows)).select(_DETAILS).with_row_id().to_arrow().to_pylist()
        return {row["_rowid"]: StoredPassage(**{name: row[name] for name in _DETAILS}) for row in found}

    def places(self, document: str, page: int, start: int) -> bytes:
        """The packed places of the passage that begins at an offset of a page; empty if it is not there."""
        where = f"document = {_quoted(document)} AND page = {int(page)} AND start = {int(start)}"
        rows = self._table.search().where(where).select(["places"]).limit(1).to_list()
        return bytes(rows[0]["places"]) if rows else b""

    def around(self, passages: Collection[tuple[str, int, int]], reach: int) -> list[StoredPassage]:
        """Passages of the same pages that begin at most ``reach`` characters away, in the order of the text.

        Args:
            passages: Of each its document, its page and the offset where it begins.
            reach: In characters.
        """
        if not passages:
            return []
        near = [
            f"(document = {_quoted(document)} AND page = {int(page)} "
            f"AND start BETWEEN {int(start) - reach} AND {int(start) + reach})"
            for document, page, start in sorted(passages)
        ]
        # The documents first, on their own: of alternatives alone LanceDB asks no index.
        where = f"{_is_one_of({document for document, _, _ in passages})} AND ({' OR '.join(near)})"
        query = self._table.search().where(where).select(_DETAILS).limit(self.count())
        found = [StoredPassage(**row) for row in query.to_list()]
        return sorted(found, key=lambda one: (one.document, one.page, one.start))

    def warm(self) -> None:
        """Read the indices into memory, where there is one of vectors: a search takes some ten milliseconds
        then. What a search meets first is read from the disk and taken apart meanwhile, which takes ten times
        as long. Left out where it would take more than a quarter of the memory that is free.
        """
        found = self._indices()
        vectors = found.get("vector_idx")
        if vectors is None or (vectors.size_bytes or 0) > psutil.virtual_memory().available // 4:
            return
        for name in found:
            self._table.prewarm_index(name)

    def tidy(self, check: Callable[[], None] = lambda: None) -> None:
        """Merge small files and new rows into the indices, train an index of vectors where size warrants it.

        Args:
            check: Looked at many times a second where it takes long; what it raises breaks the work off and
                leaves the indices as they were.
        """
        self.refresh()
        if self.count() < ANN_FROM or self._uri.startswith("memory:"):
            self.tidy_here()
        else:
            tidy_apart(self._uri, self._dimensions, self._name, check)
            self.refresh()

    def tidy_here(self) -> None:
        """:meth:`tidy` in this process, where nothing can break it off."""
        rows = self.count()
        if rows >= ANN_FROM and rows >= _ANN_GROWTH * self._ann_rows():
            self._index_vectors(rows)
        if rows >= ANN_FROM and _BY_DOCUMENT not in self.indices():
            self._index_documents()
        self._table.optimize(cleanup_older_than=timedelta(minutes=10))

    def _run(self, query: Any, score: str, documents: Collection[str] | None) -> list[tuple[int, float]]:
        if documents is not None:
            query = query.where(_is_one_of(documents), prefilter=True)
        found = query.select([score]).with_row_id(True).to_arrow()
        return list(zip(found["_rowid"].to_pylist(), found[score].to_pylist(), strict=True))

    def indices(self) -> frozenset[str]:
        """The names of the table's indices."""
        return frozenset(self._indices())

    def _indices(self) -> dict[str, Any]:
        return {index.name: index for index in self._table.list_indices()}

    def _has_ann(self) -> bool:
        return "vector_idx" in self._indices()

    def _ann_rows(self) -> int:
        if not self._has_ann():
            return 0
        stats = self._table.index_stats("vector_idx")
        return int(stats.num_indexed_rows) if stats is not None else 0

    def _index_terms(self) -> None:
        from lancedb.index import FTS

        config = FTS(
            base_tokenizer="whitespace",
            language="English",
            with_position=False,
            max_token_length=None,
            lower_case=False,
            stem=False,
            remove_stop_words=False,
            ascii_folding=False,
        )
        self._table.create_index("terms", config=config, replace=True)

    def _index_documents(self) -> None:
        """So that looking up the passages of a document does not go through the whole table."""
        from lancedb.index import BTree

        self._table.create_index("document", config=BTree(), replace=True)

    def _index_vectors(self, rows: int) -> None:
        from lancedb.index import IvfFlat

        partitions = max(round(rows**0.5), 16)
        self._table.create_index(
            "vector",
            config=IvfFlat(distance_type="dot", num_partitions=partitions, sample_rate=64),
            replace=True,
        )


def _is_one_of(documents: Collection[str]) -> str:
    return f"document IN ({', '.join(_quoted(document) for document in sorted(documents))})"


def _quoted(document: str) -> str:
    if not re.fullmatch(r"[0-9a-z-]+", document):
        raise ValueError(f"{document!r} is no name of a document")
    return f"'{document}'"


def _hint(uri: str) -> str:
    """What to look at when a place can't be reached."""
    if uri.startswith("db://"):
        return "Set LANCEDB_API_KEY to the server's key, and check the address and the network."
    if "://" in uri:
        return (
            "Check the address, the network, and that the store's credentials are in the environment (for "
            "S3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION)."
        )
    return "Check that the folder is there, can be written and is not full."


def tidy_apart(uri: str, dimensions: int, table: str, check: Callable[[], None]) -> None:
    """Tidy a table in a process of its own, which is killed when ``check`` raises: LanceDB's work can't be
    interrupted, but what it writes counts only once it is all there.

    Raises:
        InferenceError: The process failed.
    """
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_tidy, args=(uri, dimensions, table), daemon=True)
    process.start()
    try:
        while process.exitcode is None:
            check()
            process.join(_POLL)
        if process.exitcode:
            raise InferenceError(
                "The library's index could not be brought up to date.",
                hint="Its documents are kept and can be searched. Index it again to try once more.",
                details=f"exit status {process.exitcode}",
            )
    finally:
        process.kill()
        process.join()
        process.close()


def _tidy(uri: str, dimensions: int, table: str) -> None:
    from inference.documents.reader_process import end_with_parent

    threading.Thread(target=end_with_parent, daemon=True).start()
    PassageStore(uri, dimensions, table).tidy_here()
