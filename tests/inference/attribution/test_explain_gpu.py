"""On a GPU: memory stays within the stated budget, batches are halved, and bfloat16 tells the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, set_seed

from inference.attribution import atman, first_order
from inference.attribution.budget import Budget
from inference.attribution.passage import Passage, Region
from inference.attribution.reader import Reader
from inference.attribution.segments import cut
from inference.attribution.targets import Objective
from inference.attribution.task import Task

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

TOKENS, TARGETS = 384, 16


@pytest.fixture(scope="module")
def model() -> Any:
    """A Llama of 200 million parameters in bfloat16, made on the GPU."""
    set_seed(1)
    config = LlamaConfig(
        vocab_size=32000,
        hidden_size=1024,
        intermediate_size=2816,
        num_hidden_layers=12,
        num_attention_heads=16,
        num_key_value_heads=4,
        initializer_range=0.05,
    )
    with torch.device("cuda"):
        made = LlamaForCausalLM(config)
    return made.to(torch.bfloat16).eval().requires_grad_(False)


def task_of(model: Any, *, limit: int | None = None) -> Task:
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(3, 32000, (TOKENS + TARGETS,), generator=generator).tolist()
    passage = Passage(
        text="x" * TOKENS,
        ids=tuple(ids[:TOKENS]),
        spans=tuple((index, index + 1) for index in range(TOKENS)),
        special=(False,) * TOKENS,
        target_text="y" * TARGETS,
        target_ids=tuple(ids[TOKENS:]),
        target_spans=tuple((index, index + 1) for index in range(TARGETS)),
        regions=(Region(start=0, end=TOKENS),),
    )
    reader = Reader(model)
    made = Task(
        reader=reader,
        passage=passage,
        segments=cut(passage, "token")[0],
        objective=Objective(target_ids=passage.target_ids),
        budget=Budget(model, reader.device, limit=limit),
    )
    made.read()
    return made


def scores(method: Any, task: Task) -> torch.Tensor:
    found = torch.full((len(task.segments),), torch.nan)
    for part in method.score(task):
        found[list(part.indices)] = part.values.sum(0)
    return found


@pytest.mark.parametrize("limit", [2**26, 2**29])
def test_peak_memory_stays_within_a_plain_pass_and_the_budget(model: Any, limit: int) -> None:
    task = task_of(model, limit=limit)
    torch.cuda.reset_peak_memory_stats()
    with torch.no_grad():
        model(task.ids, use_cache=True)
    plain = torch.cuda.max_memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    scores(atman, task)
    assert torch.cuda.max_memory_allocated() <= 1.5 * plain + limit


def test_batches_are_halved_when_the_gpu_is_full(model: Any) -> None:
    expected = scores(atman, task_of(model, limit=2**28))
    held = torch.cuda.memory_allocated()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((held + 2**29) / total)
    try:
        task = task_of(model, limit=2**35)
        task.budget.useful_tokens = 2**20
        found = scores(atman, task)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert task.budget.halvings > 0
    assert (found - expected).norm() <= 0.05 * expected.norm()


def test_a_gradient_that_does_not_fit_is_computed_again_layer_by_layer(model: Any) -> None:
    expected = scores(first_order, task_of(model))
    total = torch.cuda.get_device_properties(0).total_memory
    for room in (2**29, 2**28, 3 * 2**26):
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + room) / total)
        try:
            task = task_of(model)
            found = scores(first_order, task)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        if task.budget.halvings:
            break
    assert task.budget.halvings == 1
    assert (found - expected).norm() <= 0.05 * expected.norm()


def test_first_order_is_quick_and_finite(model: Any) -> None:
    assert scores(first_order, task_of(model)).isfinite().all()
