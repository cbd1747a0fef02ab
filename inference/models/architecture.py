"""What a model's config.json says of its shape: layers, context, KV cache. No weights, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inference.models import exceptions

Config = Mapping[str, Any]

#: Where no config says how many positions a model can tell apart (state-space models have no limit).
UNKNOWN_CONTEXT = 4096

#: Scalings of the rotary embedding after which ``max_position_embeddings`` is already the scaled length.
_ALREADY_SCALED = frozenset({"default", "su", "longrope", "llama3", "mrope", "proportional"})


@dataclass(frozen=True, slots=True, kw_only=True)
class KvShape:
    """How the KV cache grows.

    Attributes:
        values_full: Numbers (keys and values) that one token adds in all layers with full attention.
        values_sliding: The same for the layers that attend to a window only.
        window: Tokens that a sliding layer keeps; 0 where there is none.
    """

    values_full: int
    values_sliding: int = 0
    window: int = 0

    def values_per_token(self) -> int:
        """Numbers that a token adds while every window is still open."""
        return self.values_full + self.values_sliding

    def values(self, tokens: int) -> int:
        """Numbers in the cache after ``tokens`` tokens."""
        return tokens * self.values_full + min(tokens, self.window) * self.values_sliding


def text_config(config: Config) -> Config:
    """The part of a config that describes the language model (multimodal models nest it)."""
    for name in ("text_config", "llm_config", "language_config", "text_model"):
        nested = config.get(name)
        if isinstance(nested, Mapping):
            return {"model_type": config.get("model_type"), **nested}
    return config


def first_int(config: Config, *names: str, default: int = 0) -> int:
    """The first of the named fields that is a number; a list's largest."""
    for name in names:
        value = config.get(name)
        if isinstance(value, list) and value and all(isinstance(item, int) for item in value):
            return int(max(value))
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return int(value)
    return default


def layer_count(config: Config) -> int:
    """Decoder layers."""
    return first_int(config, "num_hidden_layers", "n_layer", "n_layers", "num_layers")


def hidden_size(config: Config) -> int:
    """Width of the residual stream."""
    return first_int(config, "hidden_size", "n_embd", "d_model", "dim", "model_dim")


def expert_counts(config: Config) -> tuple[int, int]:
    """Experts of a layer, and how many of them a token is sent to; (0, 0) where there are none."""
    nested = config.get("ffn_config")
    fields = {**config, **nested} if isinstance(nested, Mapping) else config
    experts = first_int(fields, "num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
    chosen = first_int(fields, "num_experts_per_tok", "moe_top_k", "num_experts_per_token", "top_k_experts")
    return (experts, chosen) if experts > 1 and 0 < chosen <= experts else (0, 0)


def context_length(config: Config) -> int:
    """Most tokens that the model was made for, its rotary scaling included.

    Where a config scales the rotary embedding by a factor, ``max_position_embeddings`` holds the unscaled
    length, except for the kinds that are known to store the scaled one (llama3, longrope, Gemma 3's linear)
    and where yarn's ``original_max_position_embeddings`` shows that it is scaled already.
    """
    positions = first_int(
        config,
        "max_position_embeddings",
        "n_positions",
        "max_seq_len",
        "seq_length",
        "n_ctx",
        "max_sequence_length",
        "model_max_length",
        default=UNKNOWN_CONTEXT,
    )
    rope = config.get("rope_scaling") or config.get("rope_parameters")
    if not isinstance(rope, Mapping) or str(config.get("model_type")).startswith(exceptions.SCALED_LENGTH):
        return positions
    kind = rope.get("rope_type") or rope.get("type") or "default"
    factor = rope.get("factor")
    if kind in _ALREADY_SCALED or not isinstance(factor, (int, float)) or factor <= 1:
        return positions
    original = first_int(rope, "original_max_position_embeddings", default=positions)
    return max(positions, round(original * factor))


def has_attention(config: Config) -> bool:
    """Whether any layer attends to earlier tokens."""
    return exceptions.attends(config)


def kv_shape(config: Config) -> KvShape:
    """Size of the KV cache: grouped heads, latent attention, windows and recurrent layers considered."""
    layers = layer_count(config)
    if not has_attention(config) or not layers:
        return KvShape(values_full=0)
    kinds = _layer_kinds(config, layers)
    window = first_int(config, "sliding_window", "attention_chunk_size")
    sliding = sum(kind in ("sliding_attention", "chunked_attention") for kind in kinds) if window else 0
    growing = sum("attention" in kind and kind != "linear_attention" for kind in kinds)
    each = _values_per_layer(config)
    return KvShape(
        values_full=(growing - sliding) * each, values_sliding=sliding * each, window=window if sliding else 0
    )


def _values_per_layer(config: Config) -> int:
    """Keys and values of one token in one layer."""
    if latent := first_int(config, "kv_lora_rank"):  # transformers keeps the latent and the shared rotary key
        return latent + first_int(config, "qk_rope_head_dim")
    heads = first_int(config, "num_attention_heads", "n_head", "n_heads", "num_heads", default=1)
    size = first_int(config, "head_dim", "attention_head_dim", "kv_channels") or hidden_size(config) // max(
        heads, 1
    )
    return 2 * _kv_heads(config, heads) * size


def _kv_heads(config: Config, heads: int) -> int:
    attention = config.get("attn_config")
    nested = first_int(attention, "kv_n_heads") if isinstance(attention, Mapping) else 0
    if config.get("model_type") in exceptions.ONE_KEY_HEAD and not config.get("new_decoder_architecture"):
        return 1 if config.get("multi_query", True) else heads
    named = first_int(
        config, "num_key_value_heads", "num_kv_heads", "n_head_kv", "n_kv_heads", "multi_query_group_num"
    )
    return nested or named or heads


def _layer_kinds(config: Config, layers: int) -> list[str]:
    """The kind of each layer, in transformers' words."""
    kinds = config.get("layer_types") or config.get("layers_block_type")
    if isinstance(kinds, list) and len(kinds) == layers:
        return ["full_attention" if kind in ("attention", "hybrid") else str(kind) for kind in kinds]
    if period := first_int(config, "attn_layer_period"):  # Jamba
        offset = first_int(config, "attn_layer_offset", default=4)
        return ["full_attention" if i % period == offset else "mamba" for i in range(layers)]
    if not first_int(config, "sliding_window") or config.get("use_sliding_window") is False:
        return ["full_attention"] * layers
    if "max_window_layers" in config:  # Qwen
        first = first_int(config, "max_window_layers") if config.get("use_sliding_window") else layers
        return ["full_attention" if i < first else "sliding_attention" for i in range(layers)]
    usual = exceptions.WINDOW_PERIODS.get(str(config.get("model_type")), 0)
    if period := first_int(config, "sliding_window_pattern", "_sliding_window_pattern", default=usual):
        return ["full_attention" if (i + 1) % period == 0 else "sliding_attention" for i in range(layers)]
    return ["sliding_attention"] * layers
