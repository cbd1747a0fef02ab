"""Requests and events of explanations: attribution, comparison, related words, lens, attention maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from inference.events.base import Event, Request
from inference.events.chat import Message
from inference.events.controls import AttentionControl, SteeringMode, SteeringOptions

Granularity = Literal["auto", "token", "word", "sentence", "paragraph", "source", "message", "given"]


TargetGranularity = Literal["complete", "token"]


Postprocessing = Literal["none", "absolute", "square"]


Setting = float | int | bool | str


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
