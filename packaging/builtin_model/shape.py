"""Sizes of the network and the sums that led to the one that ships."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

HEAD_DIM = 64
WEIGHT_LIMIT_BYTES = 48_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A Llama network with tied embeddings and heads of 64 dimensions."""

    vocab_size: int = 8192
    width: int = 448
    layers: int = 8
    heads: int = 7
    kv_heads: int = 7
    ffn_width: int = 1280
    context_length: int = 4096
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5

    @property
    def kv_width(self) -> int:
        """Width of the keys of one layer."""
        return self.kv_heads * HEAD_DIM

    @property
    def layer_parameters(self) -> int:
        """Weights of one layer's matrices."""
        attention = 2 * self.width * self.heads * HEAD_DIM + 2 * self.width * self.kv_width
        return attention + 3 * self.width * self.ffn_width

    @property
    def parameters(self) -> int:
        """All weights; the embedding counts once because the output layer shares it."""
        norms = (2 * self.layers + 1) * self.width
        return self.layers * self.layer_parameters + self.vocab_size * self.width + norms

    def to_llama_config(self, bos: int, eos: int, pad: int) -> dict[str, Any]:
        """config.json as transformers' LlamaForCausalLM reads it (4.x and 5.x spellings)."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": self.vocab_size,
            "hidden_size": self.width,
            "intermediate_size": self.ffn_width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": HEAD_DIM,
            "hidden_act": "silu",
            "max_position_embeddings": self.context_length,
            "rms_norm_eps": self.norm_eps,
            "rope_theta": self.rope_theta,
            "rope_parameters": {"rope_type": "default", "rope_theta": self.rope_theta},
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": True,
            "initializer_range": 0.02,
            "bos_token_id": bos,
            "eos_token_id": eos,
            "pad_token_id": pad,
            "use_cache": True,
            "dtype": "bfloat16",
        }


SHAPES = {
    # Ships. Equal loss to "deep" on equal tokens, and a quarter faster to train (see the model card).
    "wide": Shape(),
    # A teacher, too large to ship: learns the prose only.
    "large": Shape(width=768, layers=10, heads=12, kv_heads=4, ffn_width=2048),
    # The same number of weights, deeper, with grouped keys and values.
    "deep": Shape(width=384, layers=13, heads=6, kv_heads=2, ffn_width=1024),
    # For tests: trains on a CPU in seconds.
    "test": Shape(vocab_size=512, width=64, layers=2, heads=2, kv_heads=1, ffn_width=128, context_length=512),
}
