"""What flows: frozen requests into the engine, frozen events out of it. Standard library only.

A request snapshots its inputs and carries a ``run_id``; every run answers with events of the same
``run_id`` and ends in exactly one of :class:`Finished`, :class:`Cancelled`, :class:`Failed`; what a run
answers comes before it. Events hold ints, floats, strings and bytes, never tensors, so they pickle, cross
threads, and print as JSON (:func:`to_json`). ``event`` on a class is its name in JSON and a contract: add,
never rename.

All log-probabilities are natural logarithms; entropies and surprisals are in nats; sizes are bytes; times
are seconds. *Raw* is the model's own distribution (softmax of the unchanged logits); *sampled* is the one
that the token was drawn from, after every control.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any, ClassVar, Literal

Quantization = Literal["none", "bf16", "fp16", "int8", "nf4", "fp4"]
Device = Literal["auto", "cpu", "cuda"]
Role = Literal["system", "user", "assistant"]
Overflow = Literal["stop", "drop-oldest"]
SearchMode = Literal["both", "vectors", "words"]
SteeringMode = Literal["log-additive", "multiplicative"]
Overlap = Literal["partial", "complete"]
Granularity = Literal["auto", "token", "word", "sentence", "paragraph", "message", "given"]
TargetGranularity = Literal["complete", "token"]
Postprocessing = Literal["none", "absolute", "square"]
Setting = float | int | bool | str


# --- what a run is steered by -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionControl:
    """Scale the attention that later tokens pay to a span of the prompt.

    ``start`` and ``end`` are character offsets into the text of message number ``message`` (``None``: into
    the raw prompt). ``factor`` 0 removes, 1 is neutral, above 1 amplifies. A token that the span covers in
    part gets ``1 + (factor - 1) * share``.
    """

    start: int
    end: int
    factor: float
    message: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SteeringOptions:
    """How attention controls act.

    ``mode`` "log-additive" adds ln(factor) to the scores of a token's key; "multiplicative" scales its
    scores. ``overlap`` "partial" scales with the covered share of a token, "complete" gives each touched
    token the whole factor. ``layers`` (first, last), both included, restricts it; None is all.
    ``similarity_threshold`` also controls related words: tokens whose input embedding has at least this
    cosine with a controlled one. ``entropy_threshold`` (nats) scales attention to tokens that the model was
    this unsure of by ``entropy_factor``.
    """

    mode: SteeringMode = "log-additive"
    overlap: Overlap = "partial"
    layers: tuple[int, int] | None = None
    similarity_threshold: float | None = None
    entropy_threshold: float | None = None
    entropy_factor: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingControls:
    """Every knob that may move while the model is generating; the next token feels it.

    ``top_k`` 0, ``top_p`` 1, ``min_p`` 0 and the penalties' neutral values (1, 0, 0) switch a stage off;
    ``temperature`` 0 is greedy. ``seed`` None draws a fresh one, which :class:`Started` reports.
    """

    temperature: float = 0.7
    top_p: float = 0.95
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    seed: int | None = None
    max_new_tokens: int = 512
    stop: tuple[str, ...] = ()
    logit_bias: tuple[tuple[int, float], ...] = ()
    attention: tuple[AttentionControl, ...] = ()
    steering: SteeringOptions = SteeringOptions()


# --- requests -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Base of all requests; ``run_id`` is unique within a process."""

    run_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a chat."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectRequest(Request):
    """Read a model's description without loading its weights -> :class:`ModelInspected`.

    ``model`` is "builtin", a folder, a GGUF file, or a hub id that is in the local cache.
    """

    model: str
    quantization: Quantization = "none"
    device: Device = "auto"
    context_length: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest(Request):
    """Load a model in place of the one that is loaded -> :class:`Progress` ..., :class:`ModelLoaded`.

    ``context_length`` None takes the model's own (bounded by what fits). ``quantization`` "none" keeps the
    stored precision on a GPU; on a CPU weights are computed in float32, the faster way there.
    """

    model: str
    quantization: Quantization = "none"
    device: Device = "auto"
    context_length: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnloadRequest(Request):
    """Free the model -> :class:`ModelUnloaded`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListModelsRequest(Request):
    """Find the built-in model, models in the Hugging Face cache, and those in ``folders`` ->
    :class:`ModelsListed`.
    """

    folders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadRequest(Request):
    """Fetch a model from the hub into the cache -> :class:`Progress` ..., :class:`Downloaded`.

    Cancelling keeps what has arrived, and the same request resumes it: pausing is cancelling and asking
    again.
    """

    repo: str
    revision: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderRequest(Request):
    """The exact text that the chat template makes of ``messages`` -> :class:`PromptRendered`."""

    messages: tuple[Message, ...]
    reply_text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest(Request):
    """Continue a chat (``messages``) or a raw text (``prompt``; exactly one of the two is given).

    ``reply_ids`` or ``reply_text`` is the beginning of the reply, kept as it is and continued: for
    "continue", and for branching from a candidate (the ids before it, and its own). ``candidates`` is how
    many alternatives are recorded at each step. ``score_prompt`` also records probabilities of the
    prompt's tokens.
    """

    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    reply_ids: tuple[int, ...] = ()
    reply_text: str = ""
    controls: SamplingControls = SamplingControls()
    candidates: int = 20
    score_prompt: bool = False
    overflow: Overflow = "stop"
    token_healing: bool = False
    prompt_lookup: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRequest(Request):
    """Probabilities of given text by one prefill -> :class:`PromptScored`, without generating.

    The text is ``prompt``, or what the template makes of ``messages``, followed by ``reply_ids`` or
    ``reply_text``. ``attention`` and ``steering`` are controls that it is read under.
    """

    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    reply_ids: tuple[int, ...] = ()
    reply_text: str = ""
    candidates: int = 20
    attention: tuple[AttentionControl, ...] = ()
    steering: SteeringOptions = SteeringOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class ListMethodsRequest(Request):
    """Which attribution methods there are, and which of them work with the loaded model ->
    :class:`MethodsListed`.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSpan:
    """Characters of message number ``message``, or of the raw prompt (None); ``message`` -1 is the reply."""

    start: int
    end: int
    message: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainRequest(Request):
    """What in the context carried the target -> :class:`ExplanationStarted`, ``ExplanationPart`` ...,
    ``Explanation``.

    The text that was read is ``prompt``, or what the template makes of ``messages``, followed by
    ``reply_ids`` or ``reply_text``. The target is ``target`` (text that is put after all of it), or else
    the reply's characters ``target_start`` to ``target_end`` (None: to its end), widened to whole tokens;
    what comes before it in the reply belongs to the context.

    ``attention`` and ``steering`` are the controls that the text was read under: its reading under them is
    what is explained, and segments are suppressed on top, in the mode and layers of ``steering`` then.

    ``given`` holds the segments of granularity "given". ``contrast_id`` asks why the target, which must be
    one token, and not this one. ``settings`` are the method's own parameters by name (:class:`MethodSpec`).
    ``memory_budget`` is the most bytes a batch may take beyond a plain forward pass (None: adapts to what
    is free). ``estimate_only`` ends the run after :class:`ExplanationStarted`, which says what it would cost.
    """

    method: str = "atman"
    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    reply_ids: tuple[int, ...] = ()
    reply_text: str = ""
    target: str | None = None
    target_start: int = 0
    target_end: int | None = None
    granularity: Granularity = "auto"
    target_granularity: TargetGranularity = "complete"
    given: tuple[TextSpan, ...] = ()
    include_special: bool = False
    factor: float = 0.1
    mode: SteeringMode = "log-additive"
    layers: tuple[int, int] | None = None
    similarity_threshold: float | None = None
    postprocessing: Postprocessing = "none"
    contrast_id: int | None = None
    attention: tuple[AttentionControl, ...] = ()
    steering: SteeringOptions = SteeringOptions()
    settings: tuple[tuple[str, Setting], ...] = ()
    memory_budget: int | None = None
    preview: bool = False
    estimate_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareMethodsRequest(Request):
    """Explain with several methods and judge them -> what ``explain`` answers for each, then
    :class:`MethodsCompared`.

    ``explain`` says what is explained (its ``method`` is ignored); ``steps`` is the number of points of
    the deletion curves.
    """

    explain: ExplainRequest
    methods: tuple[str, ...]
    steps: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class RelatedTokensRequest(Request):
    """Which tokens the related-words option would also control -> :class:`RelatedTokens`; nothing is
    generated.
    """

    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    attention: tuple[AttentionControl, ...] = ()
    steering: SteeringOptions = SteeringOptions(similarity_threshold=0.6)


@dataclass(frozen=True, slots=True, kw_only=True)
class LensRequest(Request):
    """What each layer would say at each position (logit lens) -> :class:`LensStarted`, :class:`LensRow` ...

    The text is ``prompt`` or the rendered ``messages``, then the reply. ``layers`` empty is all; layer 0
    is the embedding, layer n the output of the n-th block. Positions are tokens ``first`` to ``last``
    (None: the end). ``token_id`` is the token whose rank is followed; None follows the token that really
    comes next.
    """

    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    reply_ids: tuple[int, ...] = ()
    reply_text: str = ""
    layers: tuple[int, ...] = ()
    first: int = 0
    last: int | None = None
    token_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionRequest(Request):
    """Attention weights of chosen layers and heads -> :class:`AttentionStarted`, :class:`AttentionMap` ...

    ``layers`` counts blocks from 0; ``heads`` empty is all. Queries are tokens ``first`` to ``last``
    (None: the end). ``grid`` above 0 asks for thumbnails instead: each head's matrix as the maxima of grid
    x grid cells.
    """

    layers: tuple[int, ...]
    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    reply_ids: tuple[int, ...] = ()
    reply_text: str = ""
    heads: tuple[int, ...] = ()
    first: int = 0
    last: int | None = None
    grid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryRequest(Request):
    """What is in a library of documents -> :class:`LibraryOpened`. ``library`` is its folder, made if it is
    new.
    """

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
    stands alone. ``limit`` is the most sources, ``token_budget`` the most tokens that they take together
    (None: half of the model's context). ``answer_anyway`` asks the model even where nothing good enough was
    found. ``whole_sentences`` asks for the whole sentence that holds the answer, and not its bare words.
    """

    library: str
    question: str
    history: tuple[Message, ...] = ()
    limit: int = 5
    token_budget: int | None = None
    controls: SamplingControls = SamplingControls(temperature=0.0, max_new_tokens=200)
    candidates: int = 5
    files: tuple[str, ...] = ()
    answer_anyway: bool = False
    whole_sentences: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PerplexityRequest(Request):
    """How well the loaded model foretells a text -> :class:`Progress` ..., :class:`PerplexityMeasured`.

    The text is read in windows of ``window`` tokens (None: the context, at most 2048), each ``stride`` tokens
    (None: half a window) further on; every token is counted once, in the first window that holds it.
    """

    text: str
    window: int | None = None
    stride: int | None = None


# --- parts of events ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One token that could have come here."""

    id: int
    text: str
    raw_logprob: float
    sampled_prob: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The distribution after one stage of sampling, over the recorded candidates, in their order.

    ``name`` is "raw", "penalties", "temperature", "top-k", "top-p" or "min-p". ``probs`` are renormalised;
    ``removed`` is the probability mass that this stage set to zero (0 where it only reshapes).
    """

    name: str
    probs: tuple[float, ...]
    removed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredToken:
    """A token of given text (prompt, or a reply that is read again).

    ``text`` is the span of the exact text that this token completes: the spans of all tokens add up to it
    (a token inside a multi-byte character has an empty span). ``raw_logprob``, ``entropy`` and
    ``candidates`` are those of the position *before* it, so the first token has none (``raw_logprob`` None).
    """

    index: int
    id: int
    text: str
    data: bytes
    special: bool
    raw_logprob: float | None = None
    entropy: float | None = None
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What is known of a model from its files; ``None`` where unknown."""

    source: str
    name: str
    architecture: str
    parameters: int
    context_length: int
    vocabulary: int
    layers: int
    hidden_size: int
    kv_bytes_per_token: int
    stored_bytes: int
    stored_dtype: str
    licence: str | None
    has_chat_template: bool
    has_attention: bool = True
    format: str = "safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """Bytes that loading will take, and what is free; ``device`` is where the weights go."""

    device: str
    weights: int
    kv_cache: int
    overhead: int
    free: int

    @property
    def total(self) -> int:
        """Weights, KV cache and overhead together."""
        return self.weights + self.kv_cache + self.overhead

    @property
    def fits(self) -> bool:
        """Whether the total fits into what is free."""
        return self.total <= self.free


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUse:
    """Measured memory; GPU fields are 0 without a GPU."""

    process: int = 0
    weights: int = 0
    kv_cache: int = 0
    gpu_allocated: int = 0
    gpu_reserved: int = 0
    gpu_total: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorSample:
    """What the process and the machine use at a moment; None where it can't be measured.

    ``at`` is on a monotonic clock; ``process_cpu`` is in percent of one core since the sample before;
    ``gpu_allocated`` and ``gpu_reserved`` are torch's, ``gpu_used`` is that of all programs; ``gpu_load``
    is the busiest GPU's, 0..1; ``gpu_power`` is in watts, ``gpu_energy`` in joules since the driver was
    loaded.
    """

    at: float
    process_memory: int | None = None
    process_cpu: float | None = None
    system_free: int | None = None
    system_total: int | None = None
    gpu_allocated: int | None = None
    gpu_reserved: int | None = None
    gpu_used: int | None = None
    gpu_total: int | None = None
    gpu_load: float | None = None
    gpu_power: float | None = None
    gpu_energy: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """Wall-clock time by phase."""

    load: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """A row of the model picker. ``origin`` is "builtin", "cache" or "folder"; ``problem`` says why it
    can't be used.
    """

    source: str
    name: str
    origin: str
    size: int
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentSpan:
    """A part of the context whose weight is asked for: its characters in the context's exact text, and its
    tokens.

    ``label`` says where it is from ("user", "reply", "special"); empty in a raw prompt.
    """

    text: str
    start: int
    end: int
    tokens: tuple[int, ...]
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSpan:
    """The target, or one token of it: its characters in the target's text, and its log-probability as
    things are.
    """

    text: str
    start: int
    end: int
    ids: tuple[int, ...]
    logprob: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterSpec:
    """A method's own parameter; views build their controls from it."""

    name: str
    title: str
    kind: Literal["float", "int", "bool", "choice"]
    default: Setting
    minimum: float = 0.0
    maximum: float = 1.0
    choices: tuple[str, ...] = ()
    help: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodSpec:
    """What an attribution method is, and what its scores mean.

    ``signed``: negative scores mean that a segment speaks against the target. ``minimum`` and ``maximum``
    bound the scores (None: unbounded). ``unit`` is "nats" or empty. ``exact``: the scores are the defined
    quantity, not an estimate of it. ``uses_target`` False: scores tell how much the text as a whole rests
    on a segment. ``uses_factor``: factor, mode, layers and related words act on it.
    """

    name: str
    title: str
    summary: str
    signed: bool
    minimum: float | None = None
    maximum: float | None = None
    unit: str = "nats"
    exact: bool = False
    uses_target: bool = True
    uses_factor: bool = False
    needs_attention: bool = False
    needs_gradient: bool = False
    parameters: tuple[ParameterSpec, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodStatus:
    """A method and why it cannot be used with the loaded model (empty: it can)."""

    spec: MethodSpec
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplanationCost:
    """What an explanation takes: calls of the model, token positions computed, seconds and bytes beyond
    the weights.

    ``seconds`` comes from the speed of the one pass that was just measured. ``naive_token_forwards`` is
    what one full pass a segment would compute.
    """

    forward_passes: int
    token_forwards: int
    naive_token_forwards: int
    seconds: float
    memory: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletionCurve:
    """The target's log-probability as the strongest segments are removed first; the lower the area, the
    more faithful.

    ``removed`` are fractions of all segments, ``logprobs`` the target's log-probabilities then, ``area``
    the area under the curve of ``exp(logprob - logprob of the whole prompt)`` over the fractions.
    """

    method: str
    removed: tuple[float, ...]
    logprobs: tuple[float, ...]
    area: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RelatedToken:
    """Token ``index`` (characters ``start`` to ``end``) is as similar as ``cosine`` to controlled token
    ``of``.
    """

    index: int
    of: int
    text: str
    start: int
    end: int
    cosine: float
    factor: float


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
    """A mark such as [2] in an answer: ``start`` and ``end`` are offsets into its text."""

    start: int
    end: int
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceSupport:
    """A sentence of an answer and how well the sources support it.

    ``support`` is 0 to 1: the share of its words that stand in the best sentence of a source, or the cosine
    of the two, whichever is more; ``source`` is that source's number. ``supported`` is False where no
    source is close enough.
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
    ``answer_relevance``: cosine of question and answer. ``faithfulness``: share of the answer's sentences
    that the sources support.
    """

    context_relevance: float
    answer_relevance: float
    faithfulness: float


# --- events -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events."""

    event: ClassVar[str] = "event"
    run_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress(Event):
    """Long work goes on. ``total`` 0: not known yet. ``unit`` is "bytes", "tokens", "files", "layers" or
    "pages".
    """

    event: ClassVar[str] = "progress"
    stage: str
    done: int
    total: int
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Event):
    """A generation begins: what was read, what came from the cache, which seed is used.

    ``dropped_messages`` counts the oldest turns that were left out because the context was full;
    ``prompt_text`` is the exact text that the model reads.
    """

    event: ClassVar[str] = "started"
    prompt_tokens: int
    reused_tokens: int
    context_length: int
    seed: int
    prompt_text: str
    dropped_messages: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptScored(Event):
    """The prompt's tokens, with probabilities where they were asked for."""

    event: ClassVar[str] = "prompt"
    tokens: tuple[ScoredToken, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Token(Event):
    """One generated token.

    ``text`` is what became printable with it (empty while a character is incomplete, and where a stop
    string may be beginning); the texts of all tokens add up to the reply. ``data`` is the token's own
    bytes. ``stages`` is the distribution after each stage, over ``candidates``; ``candidates`` always
    holds the chosen token. ``at`` is the time since the run began.
    """

    event: ClassVar[str] = "token"
    index: int
    id: int
    text: str
    data: bytes
    special: bool
    raw_logprob: float
    sampled_prob: float
    entropy: float
    candidates: tuple[Candidate, ...]
    stages: tuple[Stage, ...]
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlsChanged(Event):
    """From token ``index`` on, other controls act; each change is (name, old, new) in words."""

    event: ClassVar[str] = "controls"
    index: int
    changes: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInspected(Event):
    """A model's description and what loading it would take."""

    event: ClassVar[str] = "model"
    info: ModelInfo
    estimate: MemoryEstimate


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLoaded(Event):
    """The model is ready. ``note`` says what was done that the user did not ask for; may be empty."""

    event: ClassVar[str] = "loaded"
    info: ModelInfo
    quantization: Quantization
    device: str
    context_length: int
    seconds: float
    memory: MemoryUse
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUnloaded(Event):
    """The model's memory is free again."""

    event: ClassVar[str] = "unloaded"
    freed: int
    memory: MemoryUse


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsListed(Event):
    """What the picker can offer."""

    event: ClassVar[str] = "models"
    entries: tuple[ModelEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded(Event):
    """The model is in the cache under ``folder``."""

    event: ClassVar[str] = "downloaded"
    repo: str
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PerplexityMeasured(Event):
    """A text's perplexity: the exponential of ``nats_per_token``, the mean surprisal of its ``tokens``."""

    event: ClassVar[str] = "perplexity"
    perplexity: float
    nats_per_token: float
    bits_per_byte: float
    tokens: int
    window: int
    stride: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptRendered(Event):
    """The chat template's text and how many tokens it is."""

    event: ClassVar[str] = "rendered"
    text: str
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodsListed(Event):
    """The attribution methods, and which the loaded model can do."""

    event: ClassVar[str] = "methods"
    methods: tuple[MethodStatus, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplanationStarted(Event):
    """What will be explained and what it costs. ``context`` is the exact text that segments are offsets
    into.
    """

    event: ClassVar[str] = "explanation-started"
    method: str
    context: str
    segments: tuple[SegmentSpan, ...]
    targets: tuple[TargetSpan, ...]
    granularity: str
    cost: ExplanationCost


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplanationPart(Event):
    """Scores of some segments as they are computed: ``scores[row][i]`` belongs to segment ``indices[i]``.

    ``preview``: estimates that later parts replace. ``done`` of ``total`` segments are final.
    """

    event: ClassVar[str] = "explanation-part"
    method: str
    indices: tuple[int, ...]
    scores: tuple[tuple[float, ...], ...]
    done: int
    total: int
    preview: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation(Event):
    """All scores: ``scores[row][segment]``, positive = the segment supports the target.

    One row for the target, or one for each of its tokens. Where a run was cancelled, ``complete`` is False
    and what was not computed is None. ``estimated`` are segments whose score is a share of a coarser one.
    ``preview_correlation`` is Spearman's between the preview and the final scores.
    """

    event: ClassVar[str] = "explanation"
    method: str
    segments: tuple[SegmentSpan, ...]
    targets: tuple[TargetSpan, ...]
    scores: tuple[tuple[float | None, ...], ...]
    forward_passes: int
    seconds: float
    token_forwards: int = 0
    complete: bool = True
    estimated: tuple[int, ...] = ()
    preview_correlation: float | None = None
    memory_budget: int = 0
    peak_memory: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodsCompared(Event):
    """How far methods agree, and which is faithful here.

    ``spearman[i][j]`` and ``kendall[i][j]`` are rank correlations (None where a method's scores are
    constant). ``curves`` has one deletion curve a method, and one named "random" (the mean of several
    shuffles).
    """

    event: ClassVar[str] = "comparison"
    methods: tuple[str, ...]
    spearman: tuple[tuple[float | None, ...], ...]
    kendall: tuple[tuple[float | None, ...], ...]
    curves: tuple[DeletionCurve, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RelatedTokens(Event):
    """Tokens that follow a controlled one because they mean about the same."""

    event: ClassVar[str] = "related"
    tokens: tuple[RelatedToken, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LensStarted(Event):
    """The tokens along the lens's columns and the layers of its rows."""

    event: ClassVar[str] = "lens-started"
    positions: tuple[int, ...]
    tokens: tuple[str, ...]
    layers: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LensRow(Event):
    """One layer of the logit lens: for each position the top token, its probability, the followed token's
    rank, entropy.

    ``ranks`` count from 1; ``followed_probs`` is the probability of the followed token; 0 and 0.0 where
    the last position has no next token. ``entropies`` are in nats.
    """

    event: ClassVar[str] = "lens-row"
    layer: int
    top_ids: tuple[int, ...]
    top_texts: tuple[str, ...]
    top_probs: tuple[float, ...]
    ranks: tuple[int, ...]
    followed_probs: tuple[float, ...]
    entropies: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionStarted(Event):
    """The tokens that queries and keys are, and the shape of what will come."""

    event: ClassVar[str] = "attention-started"
    tokens: tuple[str, ...]
    layers: tuple[int, ...]
    heads: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionMap(Event):
    """Attention weights of one head: ``rows`` x ``columns`` little-endian float16, row after row.

    Row 0 is query ``first`` (or the first cell of a thumbnail); columns are keys from 0.
    """

    event: ClassVar[str] = "attention"
    layer: int
    head: int
    first: int
    rows: int
    columns: int
    weights: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryOpened(Event):
    """What a library holds."""

    event: ClassVar[str] = "library"
    library: str
    embedder: str
    documents: tuple[DocumentEntry, ...]
    passages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexProgress(Event):
    """Indexing goes on. ``stage`` is "scanning", "reading", "embedding", "writing" or "tidying";
    ``pages_total`` 0 and ``seconds_left`` None: not known yet.
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
    """Which passages the model reads, numbered, and which did not fit (``left_out``)."""

    event: ClassVar[str] = "sources"
    question: str
    sources: tuple[Source, ...]
    left_out: tuple[Source, ...]
    tokens: int
    token_budget: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AskSeconds:
    """Wall-clock time of an answer by phase."""

    search: float = 0.0
    generate: float = 0.0
    check: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Event):
    """The whole answer. ``found`` False: it is not in the documents, as the search or the model found."""

    event: ClassVar[str] = "answer"
    text: str
    sources: tuple[Source, ...]
    citations: tuple[CitationMark, ...] = ()
    sentences: tuple[SentenceSupport, ...] = ()
    found: bool = True
    quality: AnswerQuality | None = None
    seconds: AskSeconds = AskSeconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(Event):
    """The run ended by itself. ``reason``: "stop" (end token), "stop-string", "length", "context-full", or
    "done".
    """

    event: ClassVar[str] = "finished"
    reason: str
    text: str = ""
    prompt_tokens: int = 0
    reused_tokens: int = 0
    new_tokens: int = 0
    seconds: Seconds = Seconds()
    tokens_per_second: float = 0.0
    memory: MemoryUse = MemoryUse()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled(Event):
    """The user stopped the run; what was produced before stays valid."""

    event: ClassVar[str] = "cancelled"
    text: str = ""
    prompt_tokens: int = 0
    new_tokens: int = 0
    seconds: Seconds = Seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Event):
    """The run broke off: what happened, what to do, and details to copy."""

    event: ClassVar[str] = "failed"
    kind: str
    message: str
    hint: str
    details: str = ""


#: A run has ended when one of these has come.
ENDINGS: tuple[type[Event], ...] = (
    Finished,
    Cancelled,
    Failed,
)


def to_json(value: Any) -> Any:
    """Turn an event or request into plain JSON values: ``event`` first, tuples as lists, bytes as hex."""
    if is_dataclass(value) and not isinstance(value, type):
        named = {"event": value.event} if isinstance(value, Event) else {}
        return named | {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (tuple, list)):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    return value
