"""The Llama network in a form that trains fast: packed documents, one flat row of tokens.

A batch is one row of T tokens that holds many documents end to end; `starts` marks where each begins.
Attention never crosses a document and positions restart in each. The weights carry transformers' names,
so exporting is a matter of saving them (see export.py), and a test holds the two networks equal.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from shape import HEAD_DIM, Shape
from torch import Tensor, nn

Attention = Callable[[Tensor, Tensor, Tensor, Tensor, int], Tensor]


def attention_by_document(q: Tensor, k: Tensor, v: Tensor, starts: Tensor, longest: int) -> Tensor:
    """Plain causal attention, one document after the other: slow, exact, for CPUs and as the reference.

    Args:
        q: Queries (T, heads, 64). `k`, `v`: (T, kv_heads, 64).
        starts: Offsets of the documents' first tokens, then T, padded with T (int32).
        longest: Length of the longest document (unused here).
    """
    bounds = starts.tolist()
    parts = []
    for begin, end in pairwise(bounds):
        if begin == end:
            continue
        query, key, value = (x[begin:end].transpose(0, 1).unsqueeze(0) for x in (q, k, v))
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
        parts.append(mixed.squeeze(0).transpose(0, 1))
    return torch.cat(parts)


def attention_varlen(q: Tensor, k: Tensor, v: Tensor, starts: Tensor, longest: int) -> Tensor:
    """The same through torch's variable-length FlashAttention kernel (CUDA, bf16)."""
    from torch.nn.attention.varlen import varlen_attn

    groups = q.shape[1] // k.shape[1]
    if groups > 1:
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    everything_before = (-1, 0)
    mixed = varlen_attn(q, k, v, starts, starts, longest, longest, window_size=everything_before)
    assert isinstance(mixed, Tensor)
    return mixed


def rotary_tables(positions: Tensor, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines (T, 1, 64) of the rotary embedding (Su et al. 2021), halves as in Llama."""
    steps = torch.arange(0, HEAD_DIM, 2, device=positions.device, dtype=torch.float32)
    angles = positions.float()[:, None] * (1.0 / theta ** (steps / HEAD_DIM))
    angles = torch.cat((angles, angles), dim=-1).unsqueeze(1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Applies the rotary embedding to (T, heads, 64)."""
    first, second = x.chunk(2, dim=-1)
    return (x * cos + torch.cat((-second, first), dim=-1) * sin).to(x.dtype)


class RmsNorm(nn.Module):
    """Root mean square norm (Zhang and Sennrich 2019), computed in float32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return (wide * self.weight).to(x.dtype)


class SelfAttention(nn.Module):
    """Grouped-query self-attention within documents."""

    def __init__(self, shape: Shape, attention: Attention) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.attention = shape.heads, shape.kv_heads, attention
        self.q_proj = nn.Linear(shape.width, shape.heads * HEAD_DIM, bias=False)
        self.k_proj = nn.Linear(shape.width, shape.kv_width, bias=False)
        self.v_proj = nn.Linear(shape.width, shape.kv_width, bias=False)
        self.o_proj = nn.Linear(shape.heads * HEAD_DIM, shape.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, starts: Tensor, longest: int) -> Tensor:
        q = rotate(self.q_proj(x).view(-1, self.heads, HEAD_DIM), cos, sin)
        k = rotate(self.k_proj(x).view(-1, self.kv_heads, HEAD_DIM), cos, sin)
        v = self.v_proj(x).view(-1, self.kv_heads, HEAD_DIM)
        mixed: Tensor = self.o_proj(self.attention(q, k, v, starts, longest).reshape(x.shape[0], -1))
        return mixed


class Mlp(nn.Module):
    """Gated feed-forward layer (SwiGLU, Shazeer 2020)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.width, shape.ffn_width, bias=False)
        self.up_proj = nn.Linear(shape.width, shape.ffn_width, bias=False)
        self.down_proj = nn.Linear(shape.ffn_width, shape.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return mixed


class Layer(nn.Module):
    """One transformer layer; dropout acts on what each half adds to the stream."""

    def __init__(self, shape: Shape, attention: Attention, dropout: float) -> None:
        super().__init__()
        self.input_layernorm = RmsNorm(shape.width, shape.norm_eps)
        self.self_attn = SelfAttention(shape, attention)
        self.post_attention_layernorm = RmsNorm(shape.width, shape.norm_eps)
        self.mlp = Mlp(shape)
        self.dropout = dropout

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, starts: Tensor, longest: int) -> Tensor:
        mixed = self.self_attn(self.input_layernorm(x), cos, sin, starts, longest)
        x = x + F.dropout(mixed, self.dropout, self.training)
        return x + F.dropout(self.mlp(self.post_attention_layernorm(x)), self.dropout, self.training)


class PackedLlama(nn.Module):
    """The whole network over one packed row."""

    def __init__(
        self, shape: Shape, attention: Attention = attention_by_document, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.width)
        self.layers = nn.ModuleList(Layer(shape, attention, dropout) for _ in range(shape.layers))
        self.norm = RmsNorm(shape.width, shape.norm_eps)
        self._token_losses: Callable[[Tensor, Tensor, Tensor], Tensor] = token_losses
        self._initialise()

    def _initialise(self) -> None:
        """Normal weights; the matrices that write to the stream start smaller with depth (GPT-2)."""
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                writes = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(parameter, std=0.02 / (2 * self.shape.layers) ** 0.5 if writes else 0.02)

    def forward(self, tokens: Tensor, positions: Tensor, starts: Tensor, longest: int) -> Tensor:
        """Final hidden states (T, width) for tokens (T,) at positions (T,) in their documents."""
        cos, sin = rotary_tables(positions, self.shape.rope_theta)
        x = self.embed_tokens(tokens)
        if x.is_cuda:
            x = x.to(torch.bfloat16)
        for layer in self.layers:
            x = layer(x, cos, sin, starts, longest)
        hidden: Tensor = self.norm(x)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits (..., vocabulary) through the shared embedding."""
        return F.linear(hidden, self.embed_tokens.weight.to(hidden.dtype))

    def losses(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy (T,) in nats of targets (T,)."""
        return self._token_losses(hidden, self.embed_tokens.weight, targets.long())

    def compile_losses(self) -> None:
        """Compiles the output layer together with the loss, so that the logits pass memory once."""
        self._token_losses = torch.compile(token_losses)


def token_losses(hidden: Tensor, embedding: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy (T,) in nats of each target; float32 inside."""
    logits = F.linear(hidden, embedding.to(hidden.dtype))
    return F.cross_entropy(logits.float(), targets, reduction="none")
