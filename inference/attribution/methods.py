"""The attribution methods by name. A new one is a module with ``SPEC``, ``cost`` and ``score``, and a line
here.
"""

from __future__ import annotations

from inference.attribution import (
    atman,
    coarse_to_fine,
    first_order,
    gradient_times_input,
    integrated_gradients,
    leave_one_out,
    reembedding,
    target_rows,
)
from inference.attribution.reader import Reader
from inference.attribution.task import Method
from inference.errors import InvalidRequest, NotAvailable
from inference.events import MethodStatus

METHODS: dict[str, Method] = {
    method.SPEC.name: method
    for method in (
        atman,
        coarse_to_fine,
        target_rows,
        first_order,
        leave_one_out,
        reembedding,
        gradient_times_input,
        integrated_gradients,
    )
}


def method_named(name: str) -> Method:
    """Look a method up.

    Raises:
        InvalidRequest: There is none of this name.
    """
    if name not in METHODS:
        raise InvalidRequest(
            f"There is no attribution method {name!r}.", hint=f"Use one of {', '.join(METHODS)}."
        )
    return METHODS[name]


def problem_with(method: Method, reader: Reader) -> NotAvailable | None:
    """Why a method cannot be used with a model; None if it can."""
    if method.SPEC.needs_attention and reader.problem is not None:
        return reader.problem
    if method is target_rows and not reader.shares_prefixes:
        return NotAvailable(
            "AtMan in the target's rows is not available for this architecture: some layers carry a state or "
            "share their keys, so a reading cannot begin at the target."
        )
    return None


def statuses(reader: Reader) -> tuple[MethodStatus, ...]:
    """All methods, and what speaks against each."""
    problems = {name: problem_with(method, reader) for name, method in METHODS.items()}
    return tuple(
        MethodStatus(spec=method.SPEC, problem=problem.message if (problem := problems[name]) else "")
        for name, method in METHODS.items()
    )
