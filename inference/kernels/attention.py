"""Attention of one to eight new rows over a static cache: split along the keys, grouped heads read once.

One kernel norms and rotates queries and keys, writes keys and values into the cache, and attends.

The number of valid keys is read on the device, so a captured launch serves every length of its buffer.
Splitting along the keys and merging by their log-sum is flash decoding (Dao et al., 2023).

Microseconds for one row of a Llama-3-8B shape (32 heads on 8 key heads of 128, bf16) on an H200: replays of
a graph over caches larger than the L2 cache. The floor is the bytes of keys and values at 4.27 TB/s; torch's
sdpa is called as transformers does on a static cache, with a mask and expanded heads.

==========================  ====  ====  ====  ====  =====
tokens of context            128   512  2048  8192  32768
==========================  ====  ====  ====  ====  =====
this kernel, write and all   2.8   5.8   7.4  14.7   39.6
sdpa of grouped heads        4.4   8.6   9.2  15.8   38.6
sdpa, expanded, masked      31.8  31.9  52.1   182    686
floor                        0.1   0.5   2.0   7.9   31.4
==========================  ====  ====  ====  ====  =====
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from inference.kernels.attention_launch import MOST_BLOCKS, launch_of, multiprocessors
from inference.kernels.norms import RmsNorm, on_kernel
from inference.kernels.rotary import Heads, NewRows, rotate_and_store

#: Most rows of a step.
MOST_ROWS = 8
#: Blocks that share a key head's keys.
_MOST_SPLITS = 128
_MASKS = {None: 0, torch.bool: 1, torch.bfloat16: 2, torch.float16: 2, torch.float32: 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionRule:
    """What attention computes.

    Attributes:
        heads: The shape.
        scale: Of the scores.
        window: Keys that a query sees, itself included; None: all before it.
        softcap: Scores s become ``softcap * tanh(s / softcap)``; None: they stay.
        paired: Rotation turns neighbouring numbers against each other (GLM), not halves.
    """

    heads: Heads
    scale: float
    window: int | None = None
    softcap: float | None = None
    paired: bool = False


class DecodeAttention:
    """The kernel for one rule, with the memory that its parts are merged in.

    One object may serve all layers that run one after the other on a stream. It must have been called once
    before its first capture.
    """

    def __init__(self, rule: AttentionRule, *, warps: int = 0, stages: int = 0, alone: int = 2) -> None:
        """Choose how the work is laid out; zeros mean what fits the GPU best.

        Args:
            rule: What to compute.
            warps: Of a block; each takes 16 keys at a time.
            stages: How many of those are in flight.
            alone: How often one block goes over its keys before a second one is worth merging with.
        """
        self.rule = rule
        self._layout = (warps, stages)
        self._alone = alone
        self._scratch: dict[torch.device, tuple[Tensor, Tensor, Tensor]] = {}

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        keys: Tensor,
        values: Tensor,
        position: Tensor,
        cosine: Tensor | None = None,
        sine: Tensor | None = None,
        q_norm: RmsNorm | None = None,
        k_norm: RmsNorm | None = None,
        bias: Tensor | None = None,
        key_factors: Tensor | None = None,
    ) -> Tensor:
        """Norm and rotate queries and keys, write keys and values into the cache, and attend.

        Args:
            q: (rows, query heads * size); rows may be apart.
            k: (rows, key heads * size), likewise.
            v: As k.
            keys: (key heads, positions, size), written at position .. position + rows; what lies behind is
                not read.
            values: As keys.
            position: One int64 on the device: the first row's place. Row r sees the keys 0 .. position + r.
            cosine: (rows, rotated) of each row's position and each of the first ``rotated`` numbers of a
                head, whose halves are rotated against each other; None: nothing is rotated.
            sine: As cosine.
            q_norm: Of each query head before it is rotated.
            k_norm: Of each key head.
            bias: Added to the scaled scores of each key: (positions,) or (rows, positions); boolean: False
                hides.
            key_factors: (positions,) float32 that scores are multiplied with before anything is added.

        Returns:
            (rows, query heads * size).
        """
        new = NewRows(q=q, k=k, v=v, cosine=cosine, sine=sine, q_norm=q_norm, k_norm=k_norm)
        if not self._fits(new, keys, values, bias, key_factors):
            queries = rotate_and_store(
                new,
                self.rule.heads,
                keys=keys,
                values=values,
                position=position,
                paired=self.rule.paired,
            )
            return reference_attention(
                self.rule, queries, keys, values, position, bias=bias, key_factors=key_factors
            )
        heads, rule, rows = self.rule.heads, self.rule, q.shape[0]
        tile_rows = 8 if rows * heads.group <= 8 else 16
        tiles = -(-rows * heads.group // tile_rows)
        launch = launch_of(
            q.dtype,
            heads,
            tile_rows,
            _MASKS[None if bias is None else bias.dtype],
            key_factors is not None,
            0 if cosine is None else cosine.shape[-1],
            rule.paired,
            cosine is not None and cosine.dtype == torch.float32,
            0 if q_norm is None else 1 + q_norm.one_plus,
            *self._layout,
            q.device,
        )
        splits = min(_MOST_SPLITS, max(1, launch.resident // (heads.keys * tiles)))
        out = torch.empty((rows, heads.queries * heads.size), dtype=q.dtype, device=q.device)
        launch.kernel(
            out,
            q,
            k,
            v,
            cosine,
            sine,
            None if q_norm is None else q_norm.weight,
            None if k_norm is None else k_norm.weight,
            keys,
            values,
            position,
            bias,
            key_factors,
            *self._memory(q.device),
            q.stride(0),
            k.stride(0),
            v.stride(0),
            keys.stride(0),
            bias.stride(0) if bias is not None and bias.dim() == 2 else 0,
            rows,
            tiles,
            0.0 if q_norm is None else q_norm.epsilon,
            rule.scale,
            rule.softcap or 0.0,
            rule.window or 0,
            self._alone,
            grid=(splits * tiles, heads.keys),
            block=(32 * launch.warps,),
            shared=launch.shared,
            dependent=True,
        )
        return out

    def _fits(
        self, new: NewRows, keys: Tensor, values: Tensor, bias: Tensor | None, factors: Tensor | None
    ) -> bool:
        """Whether the kernel takes these."""
        heads = self.rule.heads
        dense = all(each.stride(-1) == 1 and each.stride(-2) == heads.size for each in (keys, values))
        fitting_bias = bias is None or (
            bias.dtype in (torch.bool, torch.float32, new.q.dtype) and bias.stride(-1) == 1
        )
        return (
            dense
            and fitting_bias
            and new.uniform()
            and new.q.shape[0] <= MOST_ROWS
            and heads.size % 16 == 0
            and heads.size <= 256
            and keys.stride(0) == values.stride(0)
            and (factors is None or factors.dtype == torch.float32)
            and on_kernel(new.q, new.k, new.v, keys, values, *new.norm_weights())
        )

    def _memory(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Sums and statistics of each block (of 16 rows), and counters, which every launch leaves at 0."""
        if device not in self._scratch:
            heads = self.rule.heads
            problems = heads.keys * -(-MOST_ROWS * heads.group // 8)
            blocks = problems + MOST_BLOCKS * multiprocessors(device)
            self._scratch[device] = (
                torch.empty(blocks * 16 * heads.size, device=device),
                torch.empty(blocks * 16 * 2, device=device),
                torch.zeros(problems, dtype=torch.int32, device=device),
            )
        return self._scratch[device]


def reference_attention(
    rule: AttentionRule,
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    position: Tensor,
    *,
    bias: Tensor | None = None,
    key_factors: Tensor | None = None,
) -> Tensor:
    """What :class:`DecodeAttention` does behind :func:`~inference.kernels.rotary.rotate_and_store`.

    Plain torch, in float32, or float64 where the queries (rows, query heads, size) are.
    """
    heads = rule.heads
    rows, positions = queries.shape[0], keys.shape[-2]
    wide = torch.float64 if queries.dtype == torch.float64 else torch.float32
    grouped = queries.to(wide).reshape(rows, heads.keys, heads.group, heads.size)
    scores = torch.einsum("rkgd,ksd->rkgs", grouped, keys.to(wide)) * rule.scale
    if key_factors is not None:
        scores = scores * key_factors[:positions].to(wide)
    if rule.softcap is not None:
        scores = rule.softcap * torch.tanh(scores / rule.softcap)
    if bias is not None:
        rows_of_bias = bias[..., :positions].reshape(-1, 1, 1, positions)
        if bias.dtype == torch.bool:
            scores = scores.masked_fill(~rows_of_bias, float("-inf"))
        else:
            scores = scores + rows_of_bias.to(wide)
    places = torch.arange(positions, device=queries.device)
    last = (position.reshape(1) + torch.arange(rows, device=queries.device))[:, None]
    visible = places <= last
    if rule.window is not None:
        visible &= places > last - rule.window
    scores = scores.masked_fill(~visible[:, None, None], float("-inf"))
    weights = scores.softmax(dim=-1).nan_to_num()
    written = (places < position.reshape(1) + rows)[:, None]
    known = torch.where(written, values.to(wide), 0.0)
    out = torch.einsum("rkgs,ksd->rkgd", weights, known)
    return out.reshape(rows, heads.queries * heads.size).to(queries.dtype)
