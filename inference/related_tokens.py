"""Words that mean about the same as a controlled one, found by the cosine of their input embeddings.

AtMan (Deiseroth et al. 2023, arXiv:2301.08110, section 3.3, "correlated token attention manipulation")
suppresses with a token those whose embedding is similar to its, so that information that the text says
twice can be seen to matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.steering import neighbour_factor


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """Token ``index`` is as similar as ``cosine`` to the controlled token ``of`` and gets ``factor`` with
    it.
    """

    index: int
    of: int
    cosine: float
    factor: float


def cosines(ids: Sequence[int], embeddings: Tensor) -> Tensor:
    """(tokens, tokens) cosines of the tokens' input embeddings; 0 where an embedding is 0.

    Args:
        ids: Tokens.
        embeddings: (vocabulary, hidden).
    """
    vectors = embeddings[torch.tensor(list(ids), dtype=torch.long, device=embeddings.device)].float()
    vectors = torch.nn.functional.normalize(vectors, dim=-1)
    return vectors @ vectors.T


def neighbours(
    factors: Sequence[float],
    ids: Sequence[int],
    embeddings: Tensor,
    threshold: float,
    *,
    protected: Sequence[bool] = (),
) -> tuple[Neighbour, ...]:
    """Tokens that no control names but that are similar to one that is controlled.

    Each follows the controlled token that it is most similar to. ``protected`` tokens follow none.
    """
    controlled = [index for index, factor in enumerate(factors) if factor != 1.0]
    if not controlled:
        return ()
    similar = cosines(ids, embeddings)[:, controlled]
    best, which = similar.max(dim=1)
    return tuple(
        Neighbour(
            index=index,
            of=controlled[which[index]],
            cosine=cosine,
            factor=neighbour_factor(factors[controlled[which[index]]], min(cosine, 1.0)),
        )
        for index, cosine in enumerate(best.tolist())
        if cosine >= threshold and factors[index] == 1.0 and not (protected and protected[index])
    )


def with_neighbours(
    factors: Sequence[float],
    ids: Sequence[int],
    embeddings: Tensor,
    threshold: float,
    *,
    protected: Sequence[bool] = (),
) -> tuple[float, ...]:
    """The factors, with those of related words filled in."""
    filled = list(factors)
    for each in neighbours(factors, ids, embeddings, threshold, protected=protected):
        filled[each.index] = each.factor
    return tuple(filled)
