"""Rotary position embedding (Su et al., 2021) of new queries and keys, and the write into a static cache.

The kernel of :mod:`inference.kernels.attention` does it on its way; this is the same in plain torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from inference.kernels.norms import RmsNorm, reference_rms_norm


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


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRows:
    """What a step adds: see :meth:`inference.kernels.attention.DecodeAttention.__call__`."""

    q: Tensor
    k: Tensor
    v: Tensor
    cosine: Tensor | None = None
    sine: Tensor | None = None
    q_norm: RmsNorm | None = None
    k_norm: RmsNorm | None = None

    def norm_weights(self) -> tuple[Tensor, ...]:
        """Of queries and keys, where they are normed."""
        return tuple(norm.weight for norm in (self.q_norm, self.k_norm) if norm is not None)

    def uniform(self) -> bool:
        """Whether queries and keys are treated alike, by tables that the kernel reads."""
        q_norm, k_norm = self.q_norm, self.k_norm
        if q_norm is not None and k_norm is not None:
            alike = (q_norm.epsilon, q_norm.one_plus) == (k_norm.epsilon, k_norm.one_plus)
        else:
            alike = q_norm is k_norm
        tables = (self.cosine is None and self.sine is None) or (
            self.cosine is not None
            and self.sine is not None
            and self.cosine.is_contiguous()
            and self.sine.is_contiguous()
            and self.cosine.dtype == self.sine.dtype
            and self.cosine.dtype in (self.q.dtype, torch.float32)
            and self.cosine.shape[-1] % 2 == 0
            and self.cosine.data_ptr() % 8 == self.sine.data_ptr() % 8 == 0
        )
        return (
            alike
            and tables
            and all(each.stride(-1) == 1 and each.stride(0) % 2 == 0 for each in (self.q, self.k, self.v))
        )


@dataclass(slots=True)
class Tables:
    """Cosines and sines of a step as the kernel reads them: each frequency's once, and all of them once more.

    Some models (Cohere) give each frequency twice in a row. They are put in order once a step for all layers.
    """

    given: tuple[Tensor, Tensor] | None = None
    ordered: tuple[Tensor, Tensor] | None = None

    @staticmethod
    def in_turn(cosine: Tensor) -> bool:
        """Whether tables (..., rotated) have each frequency twice in a row, told by their numbers."""
        half = cosine.shape[-1] // 2
        return not torch.equal(cosine[..., :half], cosine[..., half:]) and torch.equal(
            cosine[..., ::2], cosine[..., 1::2]
        )

    def order(self, cosine: Tensor, sine: Tensor) -> tuple[Tensor, Tensor]:
        """Tables that :meth:`in_turn` tells, in the kernel's order."""
        if self.given is None or self.given[0] is not cosine or self.given[1] is not sine:
            self.given = cosine, sine
            self.ordered = (_half_twice(cosine), _half_twice(sine))
        assert self.ordered is not None
        return self.ordered


def _half_twice(table: Tensor) -> Tensor:
    half = table[..., ::2]
    return torch.cat((half, half), dim=-1)


def rotate(x: Tensor, cosine: Tensor, sine: Tensor, *, paired: bool = False) -> Tensor:
    """x (rows, heads, size) with its first numbers rotated; the rest as it is.

    Args:
        x: Queries or keys.
        cosine: (rows, rotated); see :class:`~inference.kernels.attention.DecodeAttention`.
        sine: As cosine.
        paired: Neighbours are rotated against each other, by the first half of the tables, instead of halves.
    """
    rotated = cosine.shape[-1]
    turned, rest = x[..., :rotated], x[..., rotated:]
    if paired:
        cosine, sine = (
            each[:, None, : rotated // 2].repeat_interleave(2, dim=-1).to(x.dtype) for each in (cosine, sine)
        )
        partner = torch.stack((-turned[..., 1::2], turned[..., 0::2]), dim=-1).flatten(-2)
        return torch.cat((turned * cosine + partner * sine, rest), dim=-1)
    first, second = turned.chunk(2, dim=-1)
    partner = torch.cat((-second, first), dim=-1)
    turned = turned * cosine[:, None].to(x.dtype) + partner * sine[:, None].to(x.dtype)
    return torch.cat((turned, rest), dim=-1)


def rotate_and_store(
    new: NewRows, heads: Heads, *, keys: Tensor, values: Tensor, position: Tensor, paired: bool = False
) -> Tensor:
    """Norm and rotate queries and keys, and write keys and values into the cache.

    Returns:
        Queries (rows, heads.queries, heads.size), contiguous.
    """
    rows = new.q.shape[0]
    queries = new.q.reshape(rows, heads.queries, heads.size)
    new_keys, new_values = (each.reshape(rows, heads.keys, heads.size) for each in (new.k, new.v))
    if new.q_norm is not None:
        queries = reference_rms_norm(queries, new.q_norm)
    if new.k_norm is not None:
        new_keys = reference_rms_norm(new_keys, new.k_norm)
    if new.cosine is not None and new.sine is not None:
        queries = rotate(queries, new.cosine, new.sine, paired=paired)
        new_keys = rotate(new_keys, new.cosine, new.sine, paired=paired)
    places = position.reshape(1) + torch.arange(rows, device=new.q.device)
    keys.index_copy_(1, places, new_keys.transpose(0, 1).to(keys.dtype))
    values.index_copy_(1, places, new_values.transpose(0, 1).to(values.dtype))
    return queries.contiguous()
