"""Token importance by ablation and re-embedding: how far does the text's embedding move without a segment?

The method of Watchful's token importance estimation: embed the text, embed it again without each part, and
take 1 minus the cosine. It needs no target: it tells how much the text as a whole rests on a segment, 0
(nothing changes) to 2. Token ids are removed, and the rest is not joined and tokenized again, so nothing
but the segment changes.

The embedding is the mean of the model's own last hidden states, or that of a separate sentence embedder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from inference.attribution.budget import in_batches
from inference.attribution.leave_one_out import (
    first_read,
    removal_cost,
    removal_order,
    removal_rows,
    without,
)
from inference.attribution.task import Cost, Scores, SentenceEmbedder, Task
from inference.errors import NotAvailable
from inference.events import MethodSpec, ParameterSpec

SPEC = MethodSpec(
    name="re-embedding",
    title="Re-embedding",
    summary="Removes each segment, embeds the rest, and measures how far the embedding moved.",
    signed=False,
    minimum=0.0,
    maximum=2.0,
    unit="",
    exact=True,
    uses_target=False,
    parameters=(
        ParameterSpec(
            name="embedding",
            title="Embedding",
            kind="choice",
            default="model",
            choices=("model", "sentence"),
            help="The mean of this model's last hidden states, or a separate sentence embedder.",
        ),
    ),
)

#: Texts that a sentence embedder is given at once.
_EMBED_BATCH = 32


def cost(task: Task) -> Cost:
    """One reading of the context a segment; the sentence embedder costs none of the model's passes."""
    if task.setting("embedding", SPEC) == "sentence":
        return Cost(passes=0, tokens=0, memory=0)
    length = task.passage.length
    own = removal_cost(task, length=length, kept=0)
    return Cost(passes=own.passes + 1, tokens=own.tokens + length, memory=own.memory)


def score(task: Task) -> Iterator[Scores]:
    """1 - cosine for each segment, one row.

    Raises:
        NotAvailable: The sentence embedder is asked for and there is none.
    """
    if task.setting("embedding", SPEC) == "model":
        yield from _by_hidden_states(task)
        return
    if task.embedder is None:
        raise NotAvailable("No sentence embedder is installed.", hint="Choose the model's own embedding.")
    yield from _by_embedder(task, task.embedder)


def _by_hidden_states(task: Task) -> Iterator[Scores]:
    ids = list(task.passage.ids)
    device = task.reader.device
    states = task.reader.hidden(torch.tensor([ids], device=device), 0)[0].float()
    whole, sums = states.mean(0), torch.cat([torch.zeros_like(states[:1]), states.cumsum(0)])

    def work(batch: Sequence[int]) -> Tensor:
        # The kept prefix was read under the controls of the passage, if any; an embedding is of the text
        # alone.
        start = 0 if task.controlled else first_read(task, batch)
        rows = [without(task, index, ids)[start:] for index in batch]
        if not rows[0]:
            return torch.ones(len(rows))  # nothing is left to embed, so nothing in common
        new = task.reader.hidden(torch.tensor(rows, device=device), start).float().sum(1)
        means = (sums[start] + new) / (start + len(rows[0]))
        return distances(whole, means)

    def rows(left: Sequence[int]) -> int:
        return removal_rows(task, left, len(ids), 0)

    for batch, values in in_batches(removal_order(task), rows, work, task.budget, task.check):
        yield Scores(indices=tuple(batch), values=values.unsqueeze(0))


def _by_embedder(task: Task, embedder: SentenceEmbedder) -> Iterator[Scores]:
    """The embedder has its own tokens: those whose middle lies in a segment's characters are removed with
    it.
    """
    ids, spans = embedder.tokenize(task.passage.text)
    whole = embedder.embed([ids])[0].float()

    def left_of(index: int) -> list[int]:
        segment = task.segments[index]
        return [
            token
            for token, (start, end) in zip(ids, spans, strict=True)
            if not segment.start <= (start + end - 1) / 2 < segment.end
        ]

    def work(batch: Sequence[int]) -> Tensor:
        rows = [left_of(index) for index in batch]
        values = torch.ones(len(rows))
        kept = [number for number, row in enumerate(rows) if row]
        if kept:
            values[kept] = distances(whole, embedder.embed([rows[number] for number in kept]).float())
        return values

    order = list(range(len(task.segments)))
    for batch, values in in_batches(order, lambda _: _EMBED_BATCH, work, task.budget, task.check):
        yield Scores(indices=tuple(batch), values=values.unsqueeze(0))


def distances(whole: Tensor, others: Tensor) -> Tensor:
    """(rows,) 1 - cosine between a vector and others; what rounding makes negative is 0."""
    cosine = torch.nn.functional.cosine_similarity(whole.unsqueeze(0), others, dim=-1)
    return (1.0 - cosine).clamp(min=0.0).cpu()
