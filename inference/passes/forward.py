"""One forward pass: ids and a cache in, logits out, whatever the family of the model.

The model is called as transformers defines it, never layer by layer, so every architecture works. Without
attention controls no mask is built: a single query needs none, and SDPA takes its fast path.
"""

from __future__ import annotations

import inspect
import logging
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from transformers.cache_utils import Cache, LinearAttentionCacheLayerMixin

from inference.errors import NotAvailable
from inference.events import SingleTokens, SteeringOptions
from inference.models.estimates import GPU_CHUNK, cpu_chunk
from inference.passes.attention_masks import mask_layout
from inference.passes.cpu_step import CpuStep, cpu_step
from inference.passes.kv_cache import EngineCache, RecomputingCache, new_cache
from inference.passes.recorded_step import RecordedStep, can_follow, why_not_recorded
from inference.passes.steered_forward import steered
from inference.steering import is_neutral

if TYPE_CHECKING:
    from inference.models.loaded_model import LoadedModel


logger = logging.getLogger(__name__)

_PLAIN = SteeringOptions()
#: Tokens that every model has.
_REHEARSAL = (0, 1, 2, 3, 1, 2)


class KeyFactors:
    """One attention factor a position (1 beyond the last), and how they act."""

    __slots__ = ("factors", "neutral", "options")

    def __init__(self, factors: tuple[float, ...] = (), options: SteeringOptions = _PLAIN) -> None:
        self.factors = factors
        self.options = options
        self.neutral = is_neutral(factors)

    def marks(self, start: int, stop: int) -> list[object]:
        """For each of these positions a value that is equal where the key is steered in the same way."""
        if self.neutral:
            return [0] * (stop - start)
        how = (self.options.mode, self.options.layers)
        factors = self.factors[start:stop]
        marks: list[object] = [0 if factor == 1.0 else (*how, factor) for factor in factors]
        return marks + [0] * (stop - start - len(factors))


class Forward:
    """The forward pass of one loaded model."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self._model: Any = loaded.model
        parameters = inspect.signature(self._model.forward).parameters
        self._keeps = "logits_to_keep" in parameters
        self._cache_name = next((n for n in ("past_key_values", "cache_params") if n in parameters), None)
        self._positions = "position_ids" in parameters
        #: How single tokens are read where there is a shorter way, and it is known to be right.
        self.step: CpuStep | RecordedStep | None = cpu_step(self._model)
        #: Something listens to the model's layers and changes what they say: they have to be called.
        self.hooked = False
        self._no_step = ""
        if self.step is None:
            self._no_step = why_not_recorded(self._model)
            if not self._no_step and self._cache_name is None:
                self._no_step = "it hands its state on by itself instead of keeping it in a cache"
            if not self._no_step:
                self.step = self._rehearsed()
            if self.step is None:
                logger.info("Single tokens are left to transformers: %s", self._no_step)

    @property
    def single_tokens(self) -> SingleTokens:
        """How they are read as long as nothing changes attention or layers, and why not in a shorter way."""
        if self.step is None or self.step.right is False:
            reason = self._no_step if self.step is None else self.step.reason
            return SingleTokens(by="transformers", reason=reason)
        return SingleTokens(by="own" if isinstance(self.step, CpuStep) else "recorded")

    @torch.inference_mode()
    def _rehearsed(self) -> RecordedStep | None:
        """Steps as the model is seen to make them; it is watched at once, as replies begin with the first."""
        step, cache = RecordedStep(self._model), self.new_cache()
        self._read(list(_REHEARSAL[:-3]), cache, 1, None)
        for token in _REHEARSAL[-3:]:
            if step.right is not False and not can_follow(cache):
                self._no_step = "its cache has layers that can't be taken back by a token"
                return None
            step.read(token, cast(Cache, cache), partial(self._read, [token], cache, 1, None))
            if step.right is False:
                self._no_step = f"its code can't be repeated from a recording ({step.reason})"
                return None
        return step

    @cached_property
    def recurrent(self) -> bool:
        """Whether a state is carried along that reads a prompt at once and then one token at a time."""
        if self._cache_name is None:
            return False
        layers = new_cache(self._model.config).layers
        states = any(isinstance(layer, LinearAttentionCacheLayerMixin) for layer in layers)
        return states or self._cache_name == "cache_params"

    @cached_property
    def chunk(self) -> int:
        """Tokens to read at once: few enough that a cancel is soon seen, and always the same number for a
        model, so that a run can be repeated to the bit.
        """
        if self.recurrent:
            return self._loaded.context_length
        if self._loaded.device.type != "cpu":
            return GPU_CHUNK
        return cpu_chunk(self._loaded.info.parameters)

    def new_cache(self) -> EngineCache:
        """An empty cache of the right kind."""
        if self._cache_name is None:
            return RecomputingCache()
        return new_cache(self._model.config, limit=self._loaded.context_length)

    @torch.inference_mode()
    def __call__(
        self, ids: list[int], cache: EngineCache, *, keep: int = 1, steering: KeyFactors | None = None
    ) -> Tensor:
        """Read ids behind what is in the cache.

        Args:
            ids: New tokens.
            cache: Is extended by them.
            keep: For how many of the last of them logits are wanted.
            steering: Attention factors by position.

        Returns:
            (keep, vocabulary) logits in the model's precision.
        """
        steering = None if steering is None or steering.neutral else steering
        step = self.step
        if step is not None and len(ids) == 1 and steering is None and not self.hooked and step.fits(cache):
            return step.read(ids[0], cast(Cache, cache), partial(self._read, ids, cache, keep, None))
        return self._read(ids, cache, keep, steering)

    def _read(self, ids: list[int], cache: EngineCache, keep: int, steering: KeyFactors | None) -> Tensor:
        new = torch.tensor([ids], device=self._loaded.device)
        if isinstance(cache, RecomputingCache):
            self._refuse(steering)
            return self._logits(self._model(input_ids=cache.extended(new), use_cache=False), keep)
        arguments: dict[str, Any] = {"input_ids": new, str(self._cache_name): cache, "use_cache": True}
        if self._keeps:
            arguments["logits_to_keep"] = keep
        if self._cache_name != "past_key_values":  # a state alone, without positions
            self._refuse(steering)
            return self._logits(self._model(**arguments), keep)
        start = int(cache.get_seq_length())
        if self._positions:  # some models (Bamba) count from 0 at every call if they are not told
            arguments["position_ids"] = torch.arange(start, start + len(ids), device=new.device)[None]
        if steering is None:
            return self._logits(self._model(**arguments), keep)
        with steered(
            self._model,
            steering.factors,
            steering.options,
            cache=cache,
            query_start=start,
            query_count=len(ids),
        ) as mask:
            return self._logits(self._model(attention_mask=mask, **arguments), keep)

    def _refuse(self, steering: KeyFactors | None) -> None:
        """Say why attention can't be controlled, where it can't."""
        if steering is not None:
            mask_layout(self._model.config)
            raise NotAvailable("Attention control is not available for this architecture.")

    @staticmethod
    def _logits(output: Any, keep: int) -> Tensor:
        logits: Tensor = output.logits
        return logits[0, -keep:]
