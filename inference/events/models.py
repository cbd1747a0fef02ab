"""Requests and events about models: finding, inspecting, downloading, loading, measuring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from inference.events.base import Event, MemoryUse, Request, SingleTokens
from inference.events.remote import RemoteModel, Server
from inference.events.secret import Secret

Quantization = Literal["none", "bf16", "fp16", "int8", "nf4", "fp4"]


Device = Literal["auto", "cpu", "cuda"]

#: What an int8 layer computes on a GPU. "weight-only": activations stay as they are; fast. "llm-int8":
#: bitsandbytes' LLM.int8(), which rounds activations too, except columns with outliers; slow.
Int8Product = Literal["weight-only", "llm-int8"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeScaling:
    """Stretch a model's rotary positions ``factor`` times, so that its context is as many times longer."""

    kind: Literal["linear", "dynamic", "yarn"]
    factor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectRequest(Request):
    """Read a model's description without loading its weights -> :class:`ModelInspected`.

    ``model`` is "builtin", a folder, a GGUF file, or a hub id that is in the local cache.
    """

    model: str
    quantization: Quantization = "none"
    device: Device = "auto"
    context_length: int | None = None
    rope: RopeScaling | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest(Request):
    """Load a model in place of the one that is loaded -> :class:`Progress` ..., :class:`ModelLoaded`.

    ``context_length`` None takes the model's own (bounded by what fits). ``quantization`` "none" keeps the
    stored precision on a GPU; on a CPU weights are computed in float32, the faster way there. ``rope``
    stretches the context beyond the trained length. ``int8`` is what int8 layers compute on a GPU.

    "openai:URL#NAME" is a model on a server; ``server`` says more of it and ``key`` is what it asks for.
    """

    model: str
    quantization: Quantization = "none"
    device: Device = "auto"
    context_length: int | None = None
    rope: RopeScaling | None = None
    int8: Int8Product = "weight-only"
    server: Server | None = None
    key: Secret = Secret("")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadDraftRequest(Request):
    """Load a small model of the same vocabulary beside the loaded one, to guess ahead -> :class:`Progress`
    ..., :class:`DraftLoaded`. ``model`` "" lets go of the one that there is.
    """

    model: str
    quantization: Quantization = "none"
    device: Device = "auto"
    context_length: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftLoaded(Event):
    """A draft model is ready; ``model`` "": there is none any more."""

    event: ClassVar[str] = "draft-loaded"
    model: str
    name: str = ""
    seconds: float = 0.0
    memory: MemoryUse = MemoryUse()


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
class PerplexityRequest(Request):
    """How well the loaded model foretells a text -> :class:`Progress` ..., :class:`PerplexityMeasured`.

    The text is read in windows of ``window`` tokens (None: the context, at most 2048), each ``stride`` tokens
    (None: half a window) further on; every token is counted once, in the first window that holds it.
    """

    text: str
    window: int | None = None
    stride: int | None = None


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
    #: Parameters that a token goes through: fewer than all in a mixture of experts; 0 where not known.
    active_parameters: int = 0
    #: Experts of a layer, and how many of them a token is sent to; 0 in a model that is not a mixture.
    experts: int = 0
    active_experts: int = 0
    #: Set for a model on a server, of which little else is known.
    remote: RemoteModel | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """Bytes that loading will take, and what is free; ``device`` is where the weights go.

    ``loading`` is the most that is taken on the way, where that is more: a GGUF file is unpacked before its
    weights are packed again.
    """

    device: str
    weights: int
    kv_cache: int
    overhead: int
    free: int
    loading: int = 0

    @property
    def total(self) -> int:
        """Weights, KV cache and overhead together."""
        return self.weights + self.kv_cache + self.overhead

    @property
    def fits(self) -> bool:
        """Whether the total, and what is taken on the way to it, fits into what is free."""
        return max(self.total, self.loading) <= self.free


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadWay:
    """What one choice of precision would take, in bytes, and whether that fits."""

    quantization: Quantization
    total: int
    fits: bool


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
class ModelEntry:
    """A row of the model picker. ``origin`` is "builtin", "cache", "folder" or "server"; ``problem`` says why
    it can't be used.
    """

    source: str
    name: str
    origin: str
    size: int
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInspected(Event):
    """A model's description and what loading it would take; ``ways`` tells it of every precision."""

    event: ClassVar[str] = "model"
    info: ModelInfo
    estimate: MemoryEstimate
    ways: tuple[LoadWay, ...] = ()


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
    single_tokens: SingleTokens = SingleTokens()


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
