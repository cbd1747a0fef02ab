"""Words that mean about the same as a controlled one, found by the cosine of their input embeddings.

AtMan (Deiseroth et al. 2023, arXiv:2301.08110, section 3.3, "correlated token attention manipulation")
suppresses with a token those whose embedding is similar to its, so that information that the text says
twice can be seen to matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from inference.events import Event, RelatedToken, RelatedTokens, RelatedTokensRequest, ScoreRequest
from inference.running import RunHandle
from inference.steering import neighbour_factor, token_factors

if TYPE_CHECKING:
    from inference.session import Session


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


def related(session: Session, request: RelatedTokensRequest, handle: RunHandle) -> Iterator[Event]:
    """Show which tokens a control would take along before it acts -> RelatedTokens."""
    from inference.prompts import build_prompt

    engine = session.require_engine()
    prompt = build_prompt(
        engine.loaded,
        engine.table,
        ScoreRequest(run_id=request.run_id, messages=request.messages, prompt=request.prompt),
    )
    factors = token_factors(
        prompt.absolute(request.attention),
        prompt.offsets,
        text=prompt.text,
        overlap=request.steering.overlap,
    )
    threshold = request.steering.similarity_threshold
    found = neighbours(
        factors,
        prompt.ids,
        engine.loaded.model.get_input_embeddings().weight,  # type: ignore[arg-type]
        2.0 if threshold is None else threshold,
        protected=[engine.table.is_special(token) for token in prompt.ids],
    )
    yield RelatedTokens(
        run_id=request.run_id,
        tokens=tuple(
            RelatedToken(
                index=each.index,
                of=each.of,
                text=prompt.text[slice(*prompt.offsets[each.index])],
                start=prompt.offsets[each.index][0],
                end=prompt.offsets[each.index][1],
                cosine=each.cosine,
                factor=each.factor,
            )
            for each in found
        ),
    )
