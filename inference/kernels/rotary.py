"""Rotary position embedding (Su et al., 2021) of new queries and keys, and the write into a static cache.

One kernel takes the place of some twelve: norms of the heads (Qwen 3, Gemma 3), the halves' rotation, two
index copies.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.kernels.compiler import Kernel
from inference.kernels.norms import RmsNorm, layer_source, on_kernel, reference_rms_norm

_WARPS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """How many heads an attention block has, and their size."""

    queries: int
    keys: int
    size: int

    @property
    def group(self) -> int:
        """Query heads that share a key head."""
        return self.queries // self.keys


def rotate_and_store(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    heads: Heads,
    cosine: Tensor | None,
    sine: Tensor | None,
    keys: Tensor,
    values: Tensor,
    position: Tensor,
    q_norm: RmsNorm | None = None,
    k_norm: RmsNorm | None = None,
) -> Tensor:
    """Rotate queries and keys, and write keys and values into the cache.

    Args:
        q: (rows, heads.queries * heads.size); rows may be apart.
        k: (rows, heads.keys * heads.size), likewise.
        v: As k.
        heads: The shape.
        cosine: (rows, rotated) of each row's position and each of the first ``rotated`` numbers of a head,
            whose halves are rotated against each other; None: nothing is rotated.
        sine: As cosine.
        keys: (heads.keys, positions, heads.size), written at position .. position + rows.
        values: As keys.
        position: One int64 on the device.
        q_norm: Of each query head before it is rotated.
        k_norm: Of each key head.

    Returns:
        Queries (rows, heads.queries, heads.size), contiguous.
    """
    arguments = (q, k, v, heads, cosine, sine, keys, values, position, q_norm, k_norm)
    if not _fits(q, k, v, heads, cosine, sine, keys, values, q_norm, k_norm):
        return _reference(*arguments)
    rows = q.shape[0]
    out = torch.empty((rows, heads.queries, heads.size), dtype=q.dtype, device=q.device)
    one_plus = q_norm is not None and q_norm.one_plus
    kernel = _kernel(
        q.dtype,
        heads,
        0 if cosine is None else cosine.shape[-1],
        0 if q_norm is None else 1 + one_plus,
        cosine is not None and cosine.dtype == torch.float32,
        q.device,
    )
    kernel(
        out,
        keys,
        values,
        q,
        k,
        v,
        cosine,
        sine,
        None if q_norm is None else q_norm.weight,
        None if k_norm is None else k_norm.weight,
        position,
        q.stride(0),
        k.stride(0),
        v.stride(0),
        keys.stride(0),
        0.0 if q_norm is None else q_norm.epsilon,
        grid=(-(-(heads.queries + 2 * heads.keys) // _WARPS), rows),
        block=(32 * _WARPS,),
        dependent=True,
    )
    return out


def reference_rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """x (rows, heads, size) rotated by the halves of its first numbers; the rest as it is."""
    rotated = cosine.shape[-1]
    turned, rest = x[..., :rotated], x[..., rotated:]
    first, second = turned.chunk(2, dim=-1)
    partner = torch.cat((-second, first), dim=-1)
    turned = turned * cosine[:, None].to(x.dtype) + partner * sine[:, None].to(x.dtype)
    return torch.cat((turned, rest), dim=-1)


def _reference(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: Heads,
    cosine: Tensor | None,
    sine: Tensor | None,
    keys: Tensor,
    values: Tensor,
    position: Tensor,
    q_norm: RmsNorm | None,
    k_norm: RmsNorm | None,
) -> Tensor:
    """:func:`rotate_and_store` in plain torch."""
    rows = q.shape[0]
    queries = q.reshape(rows, heads.queries, heads.size)
    new_keys, new_values = (each.reshape(rows, heads.keys, heads.size) for each in (k, v))
    if q_norm is not None:
        queries = reference_rms_norm(queries, q_norm)
    if k_norm is not None:
        new_keys = reference_rms_norm(new_keys, k_norm)
    if cosine is not None and sine is not None:
        queries = reference_rotate(queries, cosine, sine)
        new_keys = reference_rotate(new_keys, cosine, sine)
    places = position.reshape(1) + torch.arange(rows, device=q.device)
    keys.index_copy_(1, places, new_keys.transpose(0, 1).to(keys.dtype))
    values.index_copy_(1, places, new_values.transpose(0, 1).to(values.dtype))
    return queries.contiguous()


#: The plain torch twin.
reference_rotate_and_store = _reference


def _fits(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: Heads,
    cosine: Tensor | None,
    sine: Tensor | None,
    keys: Tensor,
    values: Tensor,
    q_norm: RmsNorm | None,
    k_norm: RmsNorm | None,
) -> bool:
    """Whether the kernel takes these."""
    alike = (q_norm is None) == (k_norm is None) and (
        q_norm is None
        or k_norm is None
        or (q_norm.epsilon, q_norm.one_plus) == (k_norm.epsilon, k_norm.one_plus)
    )
    tables = cosine is None or (
        sine is not None
        and cosine.is_contiguous()
        and sine.is_contiguous()
        and cosine.dtype == sine.dtype
        and cosine.dtype in (q.dtype, torch.float32)
        and cosine.shape[-1] % 2 == 0
    )
    dense = all(each.stride(-1) == 1 and each.stride(-2) == heads.size for each in (keys, values))
    return (
        alike
        and tables
        and dense
        and heads.size % 2 == 0
        and keys.stride(0) == values.stride(0)
        and all(each.stride(-1) == 1 and each.stride(0) % 2 == 0 for each in (q, k, v))
        and on_kernel(q, k, v, keys, values, *(each.weight for each in (q_norm, k_norm) if each))
    )


@functools.cache
def _kernel(
    dtype: torch.dtype, heads: Heads, rotated: int, norm: int, wide_table: bool, device: torch.device
) -> Kernel:
    options = {
        "BFLOAT16": dtype == torch.bfloat16,
        "HEAD": heads.size,
        "ROTARY": rotated,
        "QUERY_HEADS": heads.queries,
        "KEY_HEADS": heads.keys,
        "WARPS": _WARPS,
        "NORM": norm,
        "TABLE_FLOAT": wide_table,
    }
    return layer_source("rotary.cu", options).kernel("rotary", "PPPPPPPPPPPqqqqf", device=device)
