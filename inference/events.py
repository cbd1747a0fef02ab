"""What flows: frozen requests into the engine, frozen events out of it. Standard library only.

A request snapshots its inputs and carries a ``run_id``; every run answers with events of the same ``run_id`` and ends
in exactly one of :class:`Finished`, :class:`Cancelled`, :class:`Failed`; what a run answers comes before it. Events hold
ints, floats, strings and bytes, never tensors, so they pickle, cross threads, and print as JSON (:func:`to_json`).
``event`` on a class is its name in JSON and a contract: add, never rename.

All log-probabilities are natural logarithms; entropies and surprisals are in nats; sizes are bytes; times are seconds.
*Raw* is the model's own distribution (softmax of the unchanged logits); *sampled* is the one that the token was drawn
from, after every control.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any, ClassVar, Literal

Quantization = Literal["none", "bf16", "fp16", "int8", "nf4", "fp4"]
Device = Literal["auto", "cpu", "cuda"]
Role = Literal["system", "user", "assistant"]
Overflow = Literal["stop", "drop-oldest"]
SteeringMode = Literal["log-additive", "multiplicative"]
Overlap = Literal["partial", "complete"]


# --- what a run is steered by ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionControl:
    """Scale the attention that later tokens pay to a span of the prompt.

    ``start`` and ``end`` are character offsets into the text of message number ``message`` (``None``: into the raw
    prompt). ``factor`` 0 removes, 1 is neutral, above 1 amplifies. A token that the span covers in part gets
    ``1 + (factor - 1) * share``.
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


# --- requests ----------------------------------------------------------------------------------------------------


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

    ``context_length`` None takes the model's own (bounded by what fits). ``quantization`` "none" keeps the stored
    precision on a GPU; on a CPU weights are computed in float32, the faster way there.
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
    """Find the built-in model, models in the Hugging Face cache, and those in ``folders`` -> :class:`ModelsListed`."""

    folders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadRequest(Request):
    """Fetch a model from the hub into the cache -> :class:`Progress` ..., :class:`Downloaded`.

    Cancelling keeps what has arrived, and the same request resumes it: pausing is cancelling and asking again.
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

    ``reply_ids`` or ``reply_text`` is the beginning of the reply, kept as it is and continued: for "continue", and for
    branching from a candidate (the ids before it, and its own). ``candidates`` is how many alternatives are recorded
    at each step. ``score_prompt`` also records probabilities of the prompt's tokens.
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

    The text is ``prompt``, or what the template makes of ``messages``, followed by ``reply_ids`` or ``reply_text``.
    """

    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    reply_ids: tuple[int, ...] = ()
    reply_text: str = ""
    candidates: int = 20


# --- parts of events ---------------------------------------------------------------------------------------------


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

    ``text`` is the span of the exact text that this token completes: the spans of all tokens add up to it (a token
    inside a multi-byte character has an empty span). ``raw_logprob``, ``entropy`` and ``candidates`` are those of the
    position *before* it, so the first token has none (``raw_logprob`` None).
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
class Seconds:
    """Wall-clock time by phase."""

    load: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """A row of the model picker. ``origin`` is "builtin", "cache" or "folder"; ``problem`` says why it can't be used."""

    source: str
    name: str
    origin: str
    size: int
    problem: str = ""


# --- events ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events."""

    event: ClassVar[str] = "event"
    run_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress(Event):
    """Long work goes on. ``total`` 0: not known yet. ``unit`` is "bytes", "tokens", "files", "layers" or "pages"."""

    event: ClassVar[str] = "progress"
    stage: str
    done: int
    total: int
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Event):
    """A generation begins: what was read, what came from the cache, which seed is used.

    ``dropped_messages`` counts the oldest turns that were left out because the context was full; ``prompt_text`` is
    the exact text that the model reads.
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

    ``text`` is what became printable with it (empty while a character is incomplete, and where a stop string may be
    beginning); the texts of all tokens add up to the reply. ``data`` is the token's own bytes. ``stages`` is the
    distribution after each stage, over ``candidates``; ``candidates`` always holds the chosen token. ``at`` is the
    time since the run began.
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
    """The model is ready."""

    event: ClassVar[str] = "loaded"
    info: ModelInfo
    quantization: Quantization
    device: str
    context_length: int
    seconds: float
    memory: MemoryUse


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
class PromptRendered(Event):
    """The chat template's text and how many tokens it is."""

    event: ClassVar[str] = "rendered"
    text: str
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(Event):
    """The run ended by itself. ``reason``: "stop" (end token), "stop-string", "length", "context-full", or "done"."""

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
