"""One forward pass under attention factors: what the decode loop wraps around each call of the model.

::

    factors = prompt_factors(controls.attention, controls.steering, spans=spans, ids=ids, embeddings=table)
    with steered(model, factors, controls.steering, cache=cache, query_start=n, query_count=1) as mask:
        logits = model(input_ids, attention_mask=mask, past_key_values=cache).logits

Neutral factors give the mask None, so that an unsteered run takes the same path as ever, bit for bit. The
factors may change between any two calls; keys that were cached under other factors are right under the new
ones, because the cache stores them unscaled (but what earlier tokens took in from a suppressed token stays
in their own keys: to undo that, read the prompt again).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from inference.events import AttentionControl, SteeringOptions
from inference.passes.attention_masks import (
    Masks,
    attention_masks,
    checked_layers,
    mask_layout,
    masks_in_layers,
    scaled_keys,
)
from inference.passes.score_bias import biased_scores
from inference.related_tokens import with_neighbours
from inference.steering import TokenSpan, is_neutral, key_bias, token_factors


def prompt_factors(
    controls: Sequence[AttentionControl],
    options: SteeringOptions,
    *,
    spans: Sequence[TokenSpan],
    ids: Sequence[int],
    text: str | None = None,
    message_starts: Sequence[int | None] = (),
    embeddings: Tensor | None = None,
) -> tuple[float, ...]:
    """One factor a prompt token: the controls' own, then those of related words where they are asked for.

    Args:
        controls: Spans and factors.
        options: How they act; ``similarity_threshold`` needs ``embeddings``.
        spans: Each token's characters in the prompt text; special tokens have empty ones.
        ids: The prompt's tokens.
        text: The exact prompt text; see :func:`inference.steering.token_factors`.
        message_starts: Where each message's content begins in it.
        embeddings: (vocabulary, hidden), the model's input embeddings.
    """
    factors = token_factors(
        controls, spans, text=text, message_starts=message_starts, overlap=options.overlap
    )
    if options.similarity_threshold is None or embeddings is None or is_neutral(factors):
        return factors
    protected = [span[0] == span[1] for span in spans]
    return with_neighbours(factors, ids, embeddings, options.similarity_threshold, protected=protected)


@contextmanager
def steered(
    model: nn.Module,
    factors: Sequence[float],
    options: SteeringOptions,
    *,
    cache: Any,
    query_start: int,
    query_count: int,
) -> Iterator[Masks | None]:
    """Within the block, a forward pass that is given the yielded mask and ``cache`` feels the factors.

    Args:
        model: A causal language model of transformers.
        factors: By position; positions after the end are neutral.
        options: Mode and layers.
        cache: The cache of the pass; the multiplicative mode needs one.
        query_start: Number of tokens that the cache holds.
        query_count: Number of tokens of the pass.

    Yields:
        The ``attention_mask`` for the model; None where the model's own will do.

    Raises:
        NotAvailable: The architecture cannot be steered.
        InvalidRequest: The range of layers is not one of this model's.
    """
    if is_neutral(factors):
        yield None
        return
    config: Any = model.config
    layout = mask_layout(config)
    layers = checked_layers(options.layers, layout)
    weight = next(model.parameters())
    table: Any = model.get_input_embeddings().weight  # type: ignore[operator]
    if options.mode == "multiplicative":
        with scaled_keys(cache, torch.tensor([list(factors)], device=weight.device), layers):
            yield None
        return

    def masks(bias: Sequence[float]) -> Masks:
        values = torch.tensor([list(bias)], device=table.device)
        return attention_masks(
            layout, values, query_start=query_start, query_count=query_count, cache=cache, dtype=table.dtype
        )

    bias = key_bias(factors)
    assert bias is not None
    if layout.own_masks:
        with biased_scores(model, torch.tensor([list(bias)], device=table.device), layers):
            yield None
        return
    mask = masks(bias)
    if layers is None:
        yield mask
        return
    with masks_in_layers(model, mask, masks(()), layers):
        yield mask
