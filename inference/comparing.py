"""Several attribution methods on one passage: do they agree, and which one is faithful here?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from inference.attribution.comparison import deletion_curve, kendall, random_curve, spearman
from inference.attribution.methods import method_named, problem_with
from inference.attribution.reader import Reader
from inference.errors import InvalidRequest, NotAvailable
from inference.events import CompareMethodsRequest, Event, Explanation, MethodsCompared, Setting
from inference.explaining import explain_task, prepare
from inference.running import RunHandle

if TYPE_CHECKING:
    from inference.session import Session

Correlation = Callable[[Sequence[float], Sequence[float]], float | None]


def compare(session: Session, request: CompareMethodsRequest, handle: RunHandle) -> Iterator[Event]:
    """Explain with each method, then judge -> what ``explain`` answers for each, then MethodsCompared.

    Methods that the model cannot do are left out.

    Raises:
        NotAvailable: It can do none of them.
    """
    engine = session.require_engine()
    reader = Reader(engine.loaded.model)
    methods = [name for name in request.methods if problem_with(method_named(name), reader) is None]
    if not 1 <= request.steps <= 100:
        raise InvalidRequest(f"{request.steps} steps were asked for.", hint="Use 1 to 100.")
    if not methods:
        raise NotAvailable("None of these methods works with this model.")
    scores: dict[str, list[float]] = {}
    for name in methods:
        one = replace(
            request.explain, run_id=request.run_id, method=name, settings=_settings_of(name, request)
        )
        task, granularity = prepare(engine, one, handle)
        for event in explain_task(task, one, granularity):
            if isinstance(event, Explanation):
                scores[name] = [sum(column) for column in zip(*_known(event), strict=True)]
            yield event
    curves = [
        deletion_curve(task, name, sorted(range(len(row)), key=lambda index: -row[index]), request.steps)
        for name, row in scores.items()
    ]
    yield MethodsCompared(
        run_id=request.run_id,
        methods=tuple(methods),
        spearman=_matrix(scores, spearman),
        kendall=_matrix(scores, kendall),
        curves=(*curves, random_curve(task, request.steps)),
    )


def _settings_of(name: str, request: CompareMethodsRequest) -> tuple[tuple[str, Setting], ...]:
    """Those of the settings that a method has."""
    known = {each.name for each in method_named(name).SPEC.parameters}
    return tuple((key, value) for key, value in request.explain.settings if key in known)


def _known(event: Explanation) -> list[list[float]]:
    return [[0.0 if score is None else score for score in row] for row in event.scores]


def _matrix(scores: dict[str, list[float]], correlation: Correlation) -> tuple[tuple[float | None, ...], ...]:
    rows = list(scores.values())
    return tuple(tuple(correlation(first, second) for second in rows) for first in rows)
