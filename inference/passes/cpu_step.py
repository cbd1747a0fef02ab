"""One token through a Llama-like model on a CPU, without what transformers does around each layer.

Two things are saved: Python between the layers, and half of the memory traffic (see
:mod:`inference.passes.packed_linear`).

Only what is known to be built like Llama is taken, and before it is relied on its logits are compared with
the model's own. Other families' tokens are read by :mod:`inference.passes.recorded_step`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import rms_norm, scaled_dot_product_attention, silu
from transformers.cache_utils import Cache

from inference.models.estimates import LARGEST_COPY, STEP_FAMILIES
from inference.passes.kv_cache import BufferedLayer
from inference.passes.packed_linear import Product, product

logger = logging.getLogger(__name__)

#: Largest difference to the model's own logits.
_TOLERANCE = 1e-4
#: Ways of rotating whose angles do not depend on the length of the text.
_FIXED_ROTATIONS = frozenset({"default", "linear", "llama3", "yarn"})
#: Positions whose angles are computed together.
_POSITIONS = 256


@dataclass(frozen=True, slots=True)
class _Norm:
    weight: Tensor
    epsilon: float

    def __call__(self, hidden: Tensor) -> Tensor:
        """Of one row: a dot product and a number of Python cost half of what ``rms_norm`` does."""
        row = hidden[0]
        mean = float(row.dot(row)) / len(row)
        return (hidden * self.weight).mul_((mean + self.epsilon) ** -0.5)


@dataclass(frozen=True, slots=True)
class _HeadNorm:
    """Of each head's (heads, head size) queries or keys."""

    weight: Tensor
    epsilon: float

    def __call__(self, heads: Tensor) -> Tensor:
        return rms_norm(heads, self.weight.shape, self.weight, self.epsilon)


@dataclass(frozen=True, slots=True)
class _Layer:
    before_attention: _Norm
    read: Product
    norms: tuple[_HeadNorm, _HeadNorm] | None
    write: Product
    before_mlp: _Norm
    widen: Product
    narrow: Product


class _Rotary:
    """Cosines and signed sines (1, head size) of a position, made for many positions at once where they do
    not depend on how long the text is.
    """

    def __init__(self, module: Any, config: Any) -> None:
        self._module = module
        kind = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
        self._at_once = _POSITIONS if kind in _FIXED_ROTATIONS else 1
        self._first, self._tables = 0, (torch.empty(0), torch.empty(0))

    def __call__(self, like: Tensor, position: int) -> tuple[Tensor, Tensor]:
        place = position - self._first
        if self._at_once == 1 or not 0 <= place < len(self._tables[0]):
            self._first, place = position - position % self._at_once, position % self._at_once
            places = torch.arange(self._first, self._first + self._at_once)[None]
            cos, sin = self._module(like[None], places)
            half = sin.shape[-1] // 2
            self._tables = cos[0], torch.cat([-sin[0, :, :half], sin[0, :, half:]], -1)
        cos, sin = self._tables
        return cos[place], sin[place]


class CpuStep:
    """Reads single tokens; make one with :func:`cpu_step`.

    Attributes:
        right: Whether the logits are those of the model; None until that is known.
        copied: Bytes of the packed copy of the weights.
        reason: Why it is not taken, or no longer.
    """

    def __init__(self, model: Any) -> None:
        self.right: bool | None = None
        self.copied = 0
        self.reason = ""
        base, config = model.model, model.config
        attention = base.layers[0].self_attn
        self._size: int = attention.head_dim
        self._scale: float = attention.scaling
        self._queries: int = config.num_attention_heads
        self._keys: int = config.num_key_value_heads
        self._rotary = _Rotary(base.rotary_emb, config)
        self._embeddings: Tensor = base.embed_tokens.weight
        copy = sum(weight.numel() for weight in model.parameters()) <= LARGEST_COPY
        self._layers = [self._layer(layer, copy) for layer in base.layers]
        self._norm = _norm(base.norm)
        self._head = self._linear(copy, model.lm_head)

    def fits(self, cache: Any) -> bool:
        """Whether the cache is one that this step can write into."""
        layers = cache.layers if isinstance(cache, Cache) and self.right is not False else ()
        return bool(layers) and all(
            type(layer) is BufferedLayer and layer.keys is not None and layer.keys.shape[0] == 1
            for layer in layers
        )

    def read(self, token: int, cache: Cache, own: Callable[[], Tensor]) -> Tensor:
        """Read a token behind what is in the cache, at first as the model does; (1, vocabulary) logits.

        Args:
            token: Its id.
            cache: Is extended by it.
            own: Lets the model read it.
        """
        if self.right is False:
            return own()
        length = int(cache.get_seq_length())
        try:
            logits = self(token, cache)
        except Exception as error:  # whatever it is, the model can go on from where the cache was
            _take_back(cache, length)
            self._give_up(str(error) or type(error).__name__)
            return own()
        if self.right:
            return logits
        _take_back(cache, length)
        expected = own()
        difference = float((logits - expected).abs().max())
        self.right = difference <= _TOLERANCE
        if not self.right:
            self._give_up(f"logits differ by {difference:.1e}")
        return expected

    def _give_up(self, reason: str) -> None:
        """Leave what follows to the model; the copies are let go of."""
        logger.warning("Steps are left to transformers: %s", reason)
        self.right, self.reason, self.copied = False, reason, 0
        self._layers.clear()

    def __call__(self, token: int, cache: Cache) -> Tensor:
        """Read a token behind what is in the cache; returns (1, vocabulary) logits."""
        hidden = self._embeddings[token][None]
        cos, sin = self._rotary(hidden, int(cache.get_seq_length()))
        for layer, held in zip(self._layers, cache.layers, strict=True):
            mixed = layer.read(layer.before_attention(hidden)).view(-1, self._size)
            if layer.norms is not None:
                first, second = self._queries, self._queries + self._keys
                queries, keys = layer.norms[0](mixed[:first]), layer.norms[1](mixed[first:second])
                mixed = torch.cat([queries, keys, mixed[second:]])
            hidden = layer.write(self._attended(mixed, cos, sin, held), hidden)
            gate, up = layer.widen(layer.before_mlp(hidden)).chunk(2, -1)
            hidden = layer.narrow(silu(gate).mul_(up), hidden)
        return self._head(self._norm(hidden))

    def _attended(self, mixed: Tensor, cos: Tensor, sin: Tensor, held: Any) -> Tensor:
        """What the heads read, (1, heads * head size); ``mixed`` is (queries + keys + values, head size)."""
        rotated = self._queries + self._keys
        turning = mixed[:rotated]
        turned = torch.addcmul(turning * cos, turning.roll(self._size // 2, 1), sin)
        keys, values = held.update(turned[None, self._queries :, None], mixed[None, rotated:, None])
        read = scaled_dot_product_attention(
            turned[None, : self._queries, None],
            keys,
            values,
            scale=self._scale,
            enable_gqa=self._queries != self._keys,
        )
        return read.reshape(1, -1)

    def _layer(self, layer: Any, copy: bool) -> _Layer:
        attention, mlp = layer.self_attn, layer.mlp
        return _Layer(
            before_attention=_norm(layer.input_layernorm),
            read=self._linear(copy, *_joined(attention, "qkv_proj", "q_proj", "k_proj", "v_proj")),
            norms=_head_norms(attention),
            write=self._linear(copy, attention.o_proj),
            before_mlp=_norm(layer.post_attention_layernorm),
            widen=self._linear(copy, *_joined(mlp, "gate_up_proj", "gate_proj", "up_proj")),
            narrow=self._linear(copy, mlp.down_proj),
        )

    def _linear(self, copy: bool, *modules: Any) -> Product:
        """One product for linears that read the same, from a packed copy where that is exact."""
        weights = [module.weight for module in modules]
        made, copied = product(weights, [module.bias for module in modules], copy=copy)
        self.copied += copied
        return made


def _take_back(cache: Cache, length: int) -> None:
    """Forget what was read since, in as many layers as had come to it."""
    layers: list[Any] = cache.layers
    for layer in layers:
        if layer.length > length:
            layer.crop(length - layer.length)


def cpu_step(model: Any) -> CpuStep | None:
    """The step of a model, or None where it is not one that is built as expected."""
    config: Any = getattr(model, "config", None)
    if type(model).__name__ not in STEP_FAMILIES or config._attn_implementation != "sdpa":
        return None
    if getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
        return None
    if config.hidden_act != "silu" or hasattr(model, "_hf_hook"):
        return None
    rotation = getattr(config, "rope_parameters", None) or {}
    if rotation.get("partial_rotary_factor", getattr(config, "partial_rotary_factor", 1.0)) != 1.0:
        return None
    linears = (module for module in model.modules() if isinstance(module, torch.nn.Linear))
    if any(type(module) is not torch.nn.Linear for module in linears):  # quantized ones
        return None
    if any(weight.dtype != torch.float32 or weight.device.type != "cpu" for weight in model.parameters()):
        return None
    return CpuStep(model)


def _joined(module: Any, whole: str, *parts: str) -> list[Any]:
    """A module's linears of these names, or the one that some families (Phi 3) join them in."""
    found = getattr(module, whole, None)
    return [getattr(module, part) for part in parts] if found is None else [found]


def _head_norms(attention: Any) -> tuple[_HeadNorm, _HeadNorm] | None:
    """The norms of queries and keys, where a family (Qwen 3) has them."""
    if not hasattr(attention, "q_norm"):
        return None
    queries, keys = attention.q_norm, attention.k_norm
    return (
        _HeadNorm(queries.weight, queries.variance_epsilon),
        _HeadNorm(keys.weight, keys.variance_epsilon),
    )


def _norm(module: Any) -> _Norm:
    return _Norm(module.weight, module.variance_epsilon)
