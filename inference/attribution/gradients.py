"""What the gradient methods share: backward passes by row, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from inference.attribution.budget import free_memory
from inference.attribution.task import Cost, Task
from inference.errors import NotAvailable

#: What is said where a model cannot be differentiated.
NO_GRADIENTS = "Gradients are not available for this model: some of its layers have no backward pass."


def gradient_rows(task: Task, values: Tensor, point: Tensor) -> Tensor:
    """Gradients of the objective with respect to a point.

    Args:
        task: Says whether a row for each target token is wanted.
        values: (T,) values of the objective, with a graph.
        point: What to differentiate by.

    Returns:
        (rows, *shape of the point): T rows, or one for the sum.

    Raises:
        NotAvailable: The model's layers cannot be differentiated.
    """
    rows = torch.stack(list(gradients_in_turn(task, values, point)))
    if task.passage.length > 1 and not bool(rows.any()):
        raise _no_gradients("All gradients are zero.")
    return rows


def gradients_in_turn(task: Task, values: Tensor, point: Tensor) -> Iterator[Tensor]:
    """One backward pass a row, as :func:`gradient_rows` has them."""
    if not values.requires_grad:
        raise _no_gradients("The graph ends before the output.")
    wanted = list(values) if task.per_token else [values.sum()]
    for number, value in enumerate(wanted):
        task.check()
        try:
            (gradient,) = torch.autograd.grad(value, point, retain_graph=number + 1 < len(wanted))
        except (RuntimeError, NotImplementedError) as error:
            if any(sign in str(error) for sign in ("not have been used in the graph", "derivative")):
                raise _no_gradients(str(error)) from error
            raise
        yield gradient


def _no_gradients(details: str) -> NotAvailable:
    return NotAvailable(NO_GRADIENTS, hint="Choose AtMan or leave-one-out, which need none.", details=details)


def gradient_tokens(task: Task, *, passes: int) -> Cost:
    """The cost of ``passes`` forward passes with their backward passes; a backward pass counts as two
    forward.
    """
    length = len(task.passage.read_ids)
    backward = task.rows if task.per_token else 1
    layers = int(task.reader.model.config.get_text_config(decoder=True).num_hidden_layers)
    memory = layers * task.budget.row_bytes(length, length, task.rows)
    return Cost(passes=passes, tokens=passes * length * (1 + 2 * backward), memory=memory)


def must_recompute(task: Task) -> bool:
    """Whether the activations of all layers would take more than half of the memory that is free."""
    return gradient_tokens(task, passes=1).memory > free_memory(task.reader.device) // 2


def segment_sums(task: Task, by_token: Tensor) -> Tensor:
    """(rows, tokens) scores -> (rows, segments): a segment's score is the sum of its tokens'."""
    columns = [by_token[:, list(segment.tokens)].sum(1) for segment in task.segments]
    return torch.stack(columns, dim=1).float().cpu()
