"""Forward passes of a passage: once as it is, then again and again with changes, from the first change on.

In a causal model what comes before a change stays as it was. So the passage is read once and its KV cache
kept; a changed reading starts at the first changed token with the cache up to there. Many changed readings
go through the model together and share that prefix: it is stored once and expanded layer by layer
(:class:`PrefixLayer`), and what the readings add to it is dropped with the layer, so that a batch holds
the keys of one layer, not of all.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import Cache

from inference.attribution.differentiable import differentiable_layers, recomputed_layers
from inference.attribution.prefix_layer import PrefixLayer
from inference.attribution.softmax_taps import SoftmaxTaps
from inference.errors import NotAvailable
from inference.events import SteeringMode
from inference.passes.attention_masks import (
    MaskLayout,
    Masks,
    attention_masks,
    checked_layers,
    mask_layout,
    masks_in_layers,
    scaled_keys,
    stack_owner,
)
from inference.passes.score_bias import biased_scores
from inference.steering import REMOVED


@dataclass(frozen=True, slots=True)
class Factors:
    """Attention factors of keys.

    Attributes:
        values: (batch or 1, keys) by position; keys after the last have factor 1.
        mode: How they act.
        layers: First and last layer that they act in, both included; None is all.
    """

    values: Tensor
    mode: SteeringMode = "log-additive"
    layers: tuple[int, int] | None = None

    def log_bias(self) -> Tensor:
        """:func:`inference.steering.log_bias` of the values, with a gradient where they are above 0."""
        positive = self.values > 0
        return torch.where(positive, torch.where(positive, self.values, 1.0).log(), REMOVED)


class Reader:
    """A model, and the prefix that its readings share.

    Attributes:
        model: The causal language model.
        embedding: Its input embedding.
        device: Where inputs go.
        dtype: What masks are computed in.
        problem: Why attention cannot be controlled in this model; None where it can.
        passes: Calls of the model so far.
        tokens: Token positions computed so far, over all rows.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.embedding: Any = model.get_input_embeddings()
        self.device: torch.device = self.embedding.weight.device
        self.dtype: torch.dtype = self.embedding.weight.dtype
        self.passes = 0
        self.tokens = 0
        self.problem: NotAvailable | None = None
        self._layout: MaskLayout | None = None
        try:
            self._layout = mask_layout(model.config)
        except NotAvailable as problem:
            self.problem = problem
        base = model.base_model
        self._decoder: Any = base if base is not model else stack_owner(model)
        parameters = inspect.signature(model.forward).parameters
        self._keeps_logits = "logits_to_keep" in parameters
        self._positions = "position_ids" in parameters
        self._prefix: list[tuple[Tensor, Tensor]] = []

    @property
    def layout(self) -> MaskLayout:
        """The model's attention; raises :class:`NotAvailable` where it has none that can be controlled."""
        if self._layout is None:
            assert self.problem is not None
            raise self.problem
        return self._layout

    @property
    def shares_prefixes(self) -> bool:
        """Whether a reading can start in the middle: all layers hold keys and values, each its own."""
        config = self.model.config.get_text_config(decoder=True)
        shared_between_layers = bool(getattr(config, "num_kv_shared_layers", 0))
        return self._layout is not None and not self._layout.recurrent and not shared_between_layers

    def read(self, ids: Tensor, keep: int, factors: Factors | None = None) -> Tensor:
        """Read a passage and keep its cache for the readings that follow.

        Args:
            ids: (1, tokens).
            keep: At how many last positions logits are wanted.
            factors: That the whole passage is read under.

        Returns:
            (1, keep, vocabulary) logits.
        """
        cache = DynamicCache() if self.shares_prefixes else None
        with ExitStack() as stack, torch.no_grad():
            logits = self._steered(ids, keep, factors, 0, cache, stack)
        layers: Any = cache.layers if cache is not None else []
        self._prefix = [(layer.keys, layer.values) for layer in layers]
        return logits

    def reread(self, ids: Tensor, start: int, keep: int, factors: Factors | None = None) -> Tensor:
        """Read other tokens, or the same ones under other factors, after the first ``start`` tokens of the
        passage.

        Args:
            ids: (batch, tokens) that follow the shared prefix.
            start: Length of the prefix; 0 where prefixes cannot be shared.
            keep: At how many last positions logits are wanted.
            factors: By position, those of the prefix included; they act on the queries from ``start`` on.

        Returns:
            (batch, keep, vocabulary) logits.
        """
        with ExitStack() as stack, torch.no_grad():
            return self._steered(ids, keep, factors, start, self._shared(start) if start else None, stack)

    @contextmanager
    def differentiable(
        self,
        ids: Tensor,
        keep: int,
        factors: Factors | None = None,
        *,
        embeddings: Tensor | None = None,
        recompute: bool = False,
        taps: SoftmaxTaps | None = None,
    ) -> Iterator[Tensor]:
        """Read all tokens with a graph back to what changes them; the backward pass belongs into the block.

        Args:
            ids: (batch, tokens).
            keep: At how many last positions logits are wanted.
            factors: May carry a gradient.
            embeddings: (batch, tokens, hidden), read in place of the embeddings of ``ids``; may carry a
                gradient.
            recompute: Save memory by computing layers again in the backward pass.
            taps: Listen to the softmax of every layer that the factors act in.

        Yields:
            (batch, keep, vocabulary) logits.
        """
        with ExitStack() as stack, torch.inference_mode(False), torch.enable_grad():
            stack.enter_context(differentiable_layers(self.model))
            if recompute:
                stack.enter_context(recomputed_layers(self.model))
            if taps is not None:
                taps.attach(
                    self.model,
                    factors.layers if factors is not None else None,
                    stack,
                    recomputed=recompute,
                )
            yield self._steered(ids, keep, factors, 0, None, stack, embeddings)

    def _steered(
        self,
        ids: Tensor,
        keep: int,
        factors: Factors | None,
        start: int,
        cache: Cache | None,
        stack: ExitStack,
        embeddings: Tensor | None = None,
    ) -> Tensor:
        """A call of the model under factors; what must be undone after it goes onto the stack."""
        if factors is None:
            return self._call(ids, keep, start, cache=cache, embeddings=embeddings)
        layers = checked_layers(factors.layers, self.layout)
        if factors.mode == "multiplicative":
            cache = cache if cache is not None else self._storing_nothing()
            stack.enter_context(scaled_keys(cache, factors.values, layers))
            return self._call(ids, keep, start, cache=cache, embeddings=embeddings)

        def masks_of(bias: Tensor) -> Masks:
            return attention_masks(
                self.layout, bias, query_start=start, query_count=ids.shape[1], dtype=self.dtype
            )

        bias = factors.log_bias()
        if self.layout.own_masks:
            stack.enter_context(biased_scores(self.model, bias, layers))
            return self._call(ids, keep, start, cache=cache, embeddings=embeddings)
        masks = masks_of(bias)
        if layers is not None:
            neutral = masks_of(torch.zeros_like(bias))
            stack.enter_context(masks_in_layers(self.model, masks, neutral, layers))
        return self._call(ids, keep, start, mask=masks, cache=cache, embeddings=embeddings)

    def _storing_nothing(self) -> Cache:
        """A cache through which keys pass, so that they can be scaled. Where layers carry no state it
        stores none of them, so that a layer that is computed again finds it as it was.
        """
        if not self.shares_prefixes:
            return DynamicCache(config=self.model.config)
        return Cache(layers=[PrefixLayer(None, None, 0) for _ in self.layout.layer_kinds])

    def hidden(self, ids: Tensor, start: int) -> Tensor:
        """The last, normed hidden states (batch, tokens, hidden) of tokens after a shared prefix of
        ``start`` tokens.
        """
        cache = self._shared(start) if start else None
        self._count(ids)
        with torch.no_grad():
            output = self._decoder(
                input_ids=ids, past_key_values=cache, use_cache=cache is not None, return_dict=True
            )
        states: Tensor = output.last_hidden_state
        return states

    def forget(self) -> None:
        """Let go of the shared prefix."""
        self._prefix = []

    def _call(
        self,
        ids: Tensor,
        keep: int,
        start: int,
        *,
        mask: Any = None,
        cache: Any = None,
        embeddings: Tensor | None = None,
    ) -> Tensor:
        self._count(ids)
        arguments: dict[str, Any] = {"use_cache": cache is not None, "return_dict": True}
        arguments |= {"input_ids": ids} if embeddings is None else {"inputs_embeds": embeddings}
        if self._positions:  # OPT would count them along the mask
            arguments["position_ids"] = torch.arange(start, start + ids.shape[1], device=ids.device)[None]
        if mask is not None:
            arguments["attention_mask"] = mask
        if cache is not None:
            arguments["past_key_values"] = cache
        if self._keeps_logits:
            arguments["logits_to_keep"] = keep
        logits: Tensor = self.model(**arguments).logits
        return logits[:, -keep:]

    def _count(self, ids: Tensor) -> None:
        self.passes += 1
        self.tokens += ids.numel()

    def _shared(self, start: int) -> Cache:
        return Cache(layers=[PrefixLayer(keys, values, start) for keys, values in self._prefix])
