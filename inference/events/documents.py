"""Requests and events of documents: libraries, indexing, search, pages, answers with sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from inference.events.base import Event, Request
from inference.events.chat import Message
from inference.events.controls import SamplingControls

SearchMode = Literal["both", "vectors", "words"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryRequest(Request):
    """What is in a library of documents -> :class:`LibraryOpened`. ``library`` is its folder, made if it is
    new.

    ``embedder`` ("builtin" or a sentence-transformers folder) and ``store`` are fixed once a library is made;
    ``store`` is where its passages are kept: a folder, the URI of an object store (s3://...) or of a LanceDB
    server (db://...); empty: in the library's own folder.
    """

    library: str
    embedder: str = "builtin"
    store: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseLibraryRequest(Request):
    """Let go of a library's files, so that its folder can be moved -> nothing."""

    library: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteLibraryRequest(Request):
    """Delete a library with all that was made of its documents, which stay where they are -> nothing."""

    library: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRequest(Request):
    """Bring a library up to date -> :class:`IndexProgress` and :class:`DocumentIndexed` ...,
    :class:`LibraryOpened`.

    Files and folders in ``add`` become part of the library, those in ``remove`` leave it; new and changed
    files are read, deleted ones go. Cancelling keeps all that was done, and the same request goes on from
    there: pausing is cancelling and asking again. ``passwords`` are (file, password) pairs; they are not
    kept. ``embedder`` is "builtin" or a sentence-transformers folder and fixed once the library is made.
    ``drop_unread`` takes out what was found and not read yet: cancelling for good.
    """

    library: str
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    passwords: tuple[tuple[str, str], ...] = ()
    embedder: str = "builtin"
    drop_unread: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest(Request):
    """Find passages -> :class:`Hits`. ``rerank`` compares the best ones word by word with the query, which
    takes about half a second more. ``files`` restricts the search.
    """

    library: str
    query: str
    limit: int = 10
    mode: SearchMode = "both"
    rerank: bool = False
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderPageRequest(Request):
    """A page of a PDF as a picture -> :class:`PageRendered`.

    ``page`` counts from 1; ``width`` is that of the picture in pixels. Fails with kind "password" where the
    file is protected and ``password`` is missing or wrong.
    """

    file: str
    page: int
    width: int = 800
    password: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AskRequest(Request):
    """Answer a question from a library -> [:class:`QuestionRewritten`], :class:`SourcesChosen`,
    :class:`Started`, :class:`Token` ..., :class:`Answer`, then the end of the generation.

    ``history`` holds the earlier turns, without sources; a follow-up question is rewritten into one that
    stands alone. ``limit`` is the most sources that the model reads (None: as many as suit it: a small one is
    distracted by more than one), ``token_budget`` the most tokens that they take together (None: half of the
    model's context). ``answer_anyway`` asks the model even where nothing good enough was found.
    ``whole_sentences`` asks for the whole sentence that holds the answer, and not its bare words.
    """

    library: str
    question: str
    history: tuple[Message, ...] = ()
    limit: int | None = None
    token_budget: int | None = None
    controls: SamplingControls = SamplingControls(temperature=0.0, max_new_tokens=200)
    candidates: int = 5
    files: tuple[str, ...] = ()
    answer_anyway: bool = False
    whole_sentences: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentEntry:
    """A file of a library.

    ``state`` is "indexed", "waiting" or "unreadable"; ``reason`` ("password", "damaged", "empty", "no-text",
    "unsupported", "too-large", "missing", "forbidden", "timeout", "memory", "crashed") and ``message`` say
    why it can't be read. ``problems`` are remarks on an indexed file, such as pages without text.
    """

    file: str
    state: str
    reason: str = ""
    message: str = ""
    title: str = ""
    pages: int = 0
    passages: int = 0
    size: int = 0
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A passage that was found, with its place.

    ``page`` counts from 1 in the file; ``unit`` says what is counted ("page", "slide", "sheet", "chapter",
    "part") and ``label`` is its printed name. ``start`` and ``end`` are offsets into the page's clean text.
    ``boxes`` are the places of the sentences that match best (of the ones that carry the answer, once there
    is one), ``passage_boxes`` those of the whole passage: (left, bottom, right, top) in PDF points in the
    page's user space. ``score`` is the fused score that the order comes from; ``similarity`` is the cosine
    of the vectors; ranks count from 1 (0: not found that way). ``number`` is the source's number in the
    prompt (0: not in it). ``marked`` is the text of ``boxes``.
    """

    file: str
    page: int
    text: str
    score: float
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    passage_boxes: tuple[tuple[float, float, float, float], ...] = ()
    unit: str = "page"
    label: str = ""
    heading: str = ""
    start: int = 0
    end: int = 0
    similarity: float = 0.0
    word_score: float = 0.0
    vector_rank: int = 0
    word_rank: int = 0
    number: int = 0
    cited: bool = False
    marked: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CitationMark:
    """A mark such as [2] in an answer: ``start`` and ``end`` are offsets into its text.

    ``written`` is the number that the model wrote, where its source does not support the sentence and that of
    ``number`` does (0: as it was written). ``supported`` is False where no source supports the sentence.
    """

    start: int
    end: int
    number: int
    written: int = 0
    supported: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceSupport:
    """A sentence of an answer and how well the sources support it.

    ``support`` is 0 to 1: how well the best sentence of a source says the same, with its numbers; of a few
    words, which stand in many places, how well they are held by a sentence that is about the question.
    ``source`` is that source's number. ``supported`` is False where no source is close enough.
    """

    start: int
    end: int
    support: float
    source: int
    supported: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerQuality:
    """Figures from 0 to 1, computed locally with the embedder in the sense of RAGAS.

    ``context_relevance``: share of the sources' sentences that have to do with the question.
    ``answer_relevance``: cosine of question and answer. ``faithfulness``: mean support of the answer's
    sentences, 0 for those that no source supports; what a source says may still be the wrong answer.
    """

    context_relevance: float
    answer_relevance: float
    faithfulness: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryOpened(Event):
    """What a library holds.

    ``outdated`` counts documents that an earlier version of the app read: they can be searched, and are
    read again when the library is brought up to date.
    """

    event: ClassVar[str] = "library"
    library: str
    embedder: str
    documents: tuple[DocumentEntry, ...]
    passages: int
    outdated: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexProgress(Event):
    """Indexing goes on. ``stage`` is "scanning", "reading", "embedding", "writing" or "tidying";
    ``pages_total`` 0 and ``seconds_left`` None: not known yet. Pages are counted over all files; ``page`` and
    ``file_pages`` are those of this one.
    """

    event: ClassVar[str] = "indexing"
    stage: str
    file: str
    files_done: int
    files_total: int
    pages_done: int
    pages_total: int
    passages_done: int
    seconds: float
    seconds_left: float | None = None
    page: int = 0
    file_pages: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentIndexed(Event):
    """A file is searchable now, or is listed with the reason why not."""

    event: ClassVar[str] = "document"
    entry: DocumentEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits(Event):
    """What a search found, best first. ``found`` False: nothing in the library is close enough to answer
    from.
    """

    event: ClassVar[str] = "hits"
    query: str
    hits: tuple[Source, ...]
    found: bool
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRendered(Event):
    """A page's picture: ``rgb`` holds ``height`` rows of ``width`` pixels, three bytes each.

    ``pages`` is how many the document has, ``points`` the size of this one. ``transform`` (a, b, c, d, e, f)
    leads from PDF points in the page's user space to the picture: (x, y) stands at (ax + cy + e) of its width
    and (bx + dy + f) of its height.
    """

    event: ClassVar[str] = "page"
    file: str
    page: int
    pages: int
    width: int
    height: int
    points: tuple[float, float]
    transform: tuple[float, float, float, float, float, float]
    rgb: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionRewritten(Event):
    """A follow-up question as one that stands alone; the search and the prompt use it."""

    event: ClassVar[str] = "rewritten"
    asked: str
    question: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcesChosen(Event):
    """Which passages the model reads, numbered, and which did not fit (``left_out``). ``messages`` is the
    chat that it reads them in, for explanations of its answer.
    """

    event: ClassVar[str] = "sources"
    question: str
    sources: tuple[Source, ...]
    left_out: tuple[Source, ...]
    tokens: int
    token_budget: int
    messages: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AskSeconds:
    """Wall-clock time of an answer by phase."""

    search: float = 0.0
    generate: float = 0.0
    check: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Event):
    """The whole answer. ``found`` False: it is not in the documents, as the search or the model found.

    ``nearest`` is the number of the source whose marked sentence matches the question best, where the model
    refused although the search found something, or said what no source supports (0: otherwise).
    """

    event: ClassVar[str] = "answer"
    text: str
    sources: tuple[Source, ...]
    citations: tuple[CitationMark, ...] = ()
    sentences: tuple[SentenceSupport, ...] = ()
    found: bool = True
    nearest: int = 0
    quality: AnswerQuality | None = None
    seconds: AskSeconds = AskSeconds()
