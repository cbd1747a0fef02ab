"""What is explained, as numbers: one value a target token, from the logits at the positions that predict
them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from inference.attribution.passage import Passage
from inference.errors import InvalidRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """How well the target is predicted.

    Without a contrast, the value of a row is the log-probability of a target token; a segment's score is
    by how much it falls when the segment is suppressed, which is the change of the target's cross-entropy.
    With a contrast it is the log-probability of the token minus that of the other one: "why this and not
    that".
    """

    target_ids: tuple[int, ...]
    contrast_id: int | None = None

    def values(self, logits: Tensor) -> Tensor:
        """Logits (batch, T, vocabulary) -> values (batch, T) in float32."""
        chosen = _at(logits, self.target_ids)
        if self.contrast_id is None:
            return chosen - logits.float().logsumexp(-1)
        return chosen - _at(logits, (self.contrast_id,))


def _at(logits: Tensor, ids: tuple[int, ...]) -> Tensor:
    index = torch.tensor(ids, device=logits.device).view(1, -1, 1).expand(len(logits), -1, 1)
    return logits.gather(-1, index).squeeze(-1).float()


def objective(passage: Passage, contrast_id: int | None, vocabulary: int) -> Objective:
    """The objective of a passage.

    Raises:
        InvalidRequest: The contrast is not a token, is the target itself, or the target is more than one
            token.
    """
    if contrast_id is not None:
        if not 0 <= contrast_id < vocabulary:
            raise InvalidRequest(f"There is no token {contrast_id} to contrast with.")
        if len(passage.target_ids) != 1:
            raise InvalidRequest(
                "A contrast needs a target of one token.", hint="Click the one token, then the candidate."
            )
        if passage.target_ids[0] == contrast_id:
            raise InvalidRequest("The contrast is the target itself.", hint="Choose another candidate.")
    return Objective(target_ids=passage.target_ids, contrast_id=contrast_id)
