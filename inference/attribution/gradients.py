"""What the gradient methods share: backward passes by row, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from inference.attribution.budget import free_memory, give_back, is_out_of_memory
from inference.attribution.task import Cost, Task
from inference.errors import NotAvailable, OutOfMemory

T = TypeVar("T")

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


def gradient_tokens(task: Task, *, passes: int, weights: bool = False) -> Cost:
    """The cost of ``passes`` forward passes with their backward passes; a backward pass counts as two
    forward. ``weights``: attention weights are kept, too.
    """
    length = len(task.passage.read_ids)
    backward = task.rows if task.per_token else 1
    kept, recomputed = _memory(task, weights)
    memory = recomputed if must_recompute(task, weights=weights) else kept
    return Cost(passes=passes, tokens=passes * length * (1 + 2 * backward), memory=memory)


def must_recompute(task: Task, *, weights: bool = False) -> bool:
    """Whether the activations of all layers would take more than half of the memory that is free."""
    return _memory(task, weights)[0] > free_memory(task.reader.device) // 2


def _memory(task: Task, weights: bool) -> tuple[int, int]:
    """Bytes of a gradient where all layers keep their activations, and where one layer at a time does."""
    length = len(task.passage.read_ids)
    config = task.reader.model.config.get_text_config(decoder=True)
    layers, budget = int(config.num_hidden_layers), task.budget
    layer = budget.row_bytes(length, length, task.rows)
    if weights:
        layer += budget.weight_bytes(length, length)
    inputs = layers * length * int(config.hidden_size) * 4
    return layers * layer, inputs + 3 * layer


def in_memory(task: Task, work: Callable[[bool], T], *, weights: bool = False) -> T:
    """Do work that needs a gradient; where memory runs out, once more with layers computed again.

    Args:
        task: The model and the passage.
        work: Is told whether layers are to be computed again in the backward pass.
        weights: Whether attention weights are kept as well.

    Raises:
        OutOfMemory: It does not fit even so.
    """
    problem = ""
    for recompute in (True,) if must_recompute(task, weights=weights) else (False, True):
        try:
            return work(recompute)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            problem = str(error)
        give_back()  # outside the except block: the traceback held the tensors
        task.budget.halvings += 1
    raise OutOfMemory(
        "A gradient through this prompt does not fit into memory.",
        hint="Choose AtMan, which reads the prompt in as small parts as needed.",
        details=problem,
    )


def segment_sums(task: Task, by_token: Tensor) -> Tensor:
    """(rows, tokens) scores -> (rows, segments): a segment's score is the sum of its tokens'."""
    columns = [by_token[:, list(segment.tokens)].sum(1) for segment in task.segments]
    return torch.stack(columns, dim=1).float().cpu()
