"""Explain requests -> explanation events: a method is run on a passage and its scores are sent as they
come.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from inference.attribution import first_order
from inference.attribution.budget import Budget
from inference.attribution.from_request import asked
from inference.attribution.methods import method_named, problem_with, statuses
from inference.attribution.reader import Reader
from inference.attribution.score_table import ScoreTable
from inference.attribution.segments import cut
from inference.attribution.targets import objective
from inference.attribution.task import Method, SentenceEmbedder, Suppression, Task
from inference.errors import InferenceError, InvalidRequest, RunCancelled
from inference.events import (
    Event,
    ExplainRequest,
    Explanation,
    ExplanationCost,
    ExplanationStarted,
    ListMethodsRequest,
    MethodsListed,
    TargetSpan,
)
from inference.running import RunHandle

if TYPE_CHECKING:
    from inference.engine import Engine
    from inference.session import Session


def list_methods(session: Session, request: ListMethodsRequest, handle: RunHandle) -> Iterator[Event]:
    """Which methods the loaded model can do -> MethodsListed."""
    reader = Reader(session.require_engine().loaded.model)
    yield MethodsListed(run_id=request.run_id, methods=statuses(reader))


def explain(session: Session, request: ExplainRequest, handle: RunHandle) -> Iterator[Event]:
    """Score the segments of a passage -> ExplanationStarted, ExplanationPart ..., Explanation."""
    task, granularity = prepare(session.require_engine(), request, handle)
    try:
        yield from explain_task(task, request, granularity)
    finally:
        task.reader.forget()


def prepare(engine: Engine, request: ExplainRequest, handle: RunHandle) -> tuple[Task, str]:
    """The task of a request, and the granularity of its segments; the passage is read once.

    Raises:
        InvalidRequest: A value is out of range, or the target is empty.
        NotAvailable: The model cannot do the method.
    """
    _check(request)
    reader = Reader(engine.loaded.model)
    method = method_named(request.method)
    if problem := problem_with(method, reader):
        raise problem
    wanted = asked(engine, request)
    passage = wanted.passage
    segments, granularity = cut(
        passage, request.granularity, given=wanted.given, include_special=request.include_special
    )
    vocabulary = int(engine.loaded.model.config.get_text_config(decoder=True).vocab_size)
    task = Task(
        reader=reader,
        passage=passage,
        segments=segments,
        objective=objective(passage, request.contrast_id, vocabulary),
        suppression=_suppression(request, controlled=bool(wanted.controlled)),
        controlled=wanted.controlled,
        settings=_settings(request, method),
        budget=Budget(engine.loaded.model, reader.device, limit=request.memory_budget),
        per_token=request.target_granularity == "token",
        check=handle.check,
        embedder=_embedder(request),
    )
    handle.check()
    task.read()
    return task, granularity


def explain_task(task: Task, request: ExplainRequest, granularity: str) -> Iterator[Event]:
    """Run a method on a task that has been read."""
    method = method_named(request.method)
    began = time.perf_counter() - task.read_seconds
    targets = _targets(task, request)
    yield ExplanationStarted(
        run_id=request.run_id,
        method=request.method,
        context=task.passage.text,
        segments=task.segments,
        targets=targets,
        granularity=granularity,
        cost=_cost(task, method),
    )
    if request.estimate_only:
        return
    _start_peak(task.reader.device)
    table = ScoreTable(task, request)
    cancelled: RunCancelled | None = None
    try:
        if request.preview and method.SPEC.needs_attention and method is not first_order:
            yield from _preview(task, table)
        for part in method.score(task):
            yield table.add(part)
    except RunCancelled as stop:
        cancelled = stop
    yield Explanation(
        run_id=request.run_id,
        method=request.method,
        segments=task.segments,
        targets=targets,
        scores=table.scores(),
        forward_passes=task.reader.passes,
        token_forwards=task.reader.tokens,
        seconds=time.perf_counter() - began,
        complete=cancelled is None,
        estimated=tuple(sorted(table.estimated)),
        preview_correlation=table.preview_correlation(),
        memory_budget=task.budget.bytes,
        peak_memory=_peak(task.reader.device),
        note=table.note,
    )
    if cancelled is not None:
        raise cancelled


def _preview(task: Task, table: ScoreTable) -> Iterator[Event]:
    """First-order estimates at once; where the model has no gradients the exact run goes on without."""
    try:
        for part in first_order.score(replace(task, per_token=table.request.target_granularity == "token")):
            yield table.add(part, preview=True)
    except InferenceError as error:
        table.note = f"No preview: {error.message}"
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError):
            raise
        table.note = "No preview: its gradient does not fit into memory."


def _check(request: ExplainRequest) -> None:
    if not 0.0 <= request.factor <= 100.0:
        raise InvalidRequest(f"The factor is {request.factor}.", hint="Use a factor from 0 to 10.")
    threshold = request.similarity_threshold
    if threshold is not None and not -1.0 <= threshold <= 1.0:
        raise InvalidRequest(f"The similarity threshold is {threshold}; a cosine lies between -1 and 1.")


def _suppression(request: ExplainRequest, *, controlled: bool) -> Suppression:
    """How segments are turned down: under controls in their mode and layers, as the two act together."""
    return Suppression(
        factor=request.factor,
        mode=request.steering.mode if controlled else request.mode,
        layers=request.steering.layers if controlled else request.layers,
        similarity_threshold=request.similarity_threshold,
    )


def _embedder(request: ExplainRequest) -> SentenceEmbedder | None:
    """The documents' embedder, where the request asks for one; a broken installation is told as such."""
    if ("embedding", "sentence") not in request.settings:
        return None
    from inference.attribution.sentence_embedder import document_embedder

    return document_embedder()


def _settings(request: ExplainRequest, method: Method) -> dict[str, float | int | bool | str]:
    """The request's settings, checked against the method's parameters."""
    parameters = {each.name: each for each in method.SPEC.parameters}
    for name, value in request.settings:
        spec = parameters.get(name)
        if spec is None:
            raise InvalidRequest(f"{method.SPEC.title} has no setting {name!r}.")
        if spec.kind == "choice":
            valid = value in spec.choices
        elif spec.kind == "bool":
            valid = isinstance(value, bool)
        else:
            valid = isinstance(value, (int, float)) and spec.minimum <= value <= spec.maximum
        if not valid:
            raise InvalidRequest(f"{spec.title} cannot be {value!r}.")
    return dict(request.settings)


def _targets(task: Task, request: ExplainRequest) -> tuple[TargetSpan, ...]:
    passage, values = task.passage, task.base.tolist()
    if request.target_granularity == "token":
        return tuple(
            TargetSpan(text=passage.target_text[start:end], start=start, end=end, ids=(token,), logprob=value)
            for token, (start, end), value in zip(
                passage.target_ids, passage.target_spans, values, strict=True
            )
        )
    text = passage.target_text
    return (TargetSpan(text=text, start=0, end=len(text), ids=passage.target_ids, logprob=sum(values)),)


def _cost(task: Task, method: Method) -> ExplanationCost:
    cost, length = method.cost(task), len(task.passage.read_ids)
    return ExplanationCost(
        forward_passes=cost.passes + 1,
        token_forwards=cost.tokens + length,
        naive_token_forwards=(len(task.segments) + 1) * length,
        seconds=task.seconds(cost),
        memory=cost.memory,
    )


def _start_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak(device: torch.device) -> int:
    """Most bytes that tensors took on a GPU since the start; 0 on a CPU, which keeps no such count."""
    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else 0
