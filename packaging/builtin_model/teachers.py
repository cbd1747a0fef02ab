"""Learning from the predictions of earlier weights: the mean of several networks knows new text better.

On 28 million tokens every network learns some of its text by heart, each other parts. The mean of their
probabilities is 3 to 4 % better on new text than the best of them (measured on the first and the third
training's weights); a network that is trained on that mean takes over a part of it (Hinton et al. 2015; in
place of hard targets alone this also works against learning by heart).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from network import PackedLlama
from torch import Tensor


class Teachers:
    """Networks of one vocabulary that predict the last `tokens` tokens of a row, which are prose.

    `share` is how much their predictions count against the text itself.
    """

    def __init__(self, networks: list[PackedLlama], tokens: int, share: float) -> None:
        self.networks, self.tokens, self.share = networks, tokens, share
        for network in networks:
            network.eval().requires_grad_(False)
        self._losses = soft_losses

    def compile(self) -> None:
        """Compiles the layers and the loss."""
        for network in self.networks:
            for layer in network.layers:
                layer.compile()
        self._losses = torch.compile(soft_losses)

    def losses(
        self, model: PackedLlama, hidden: Tensor, tokens: Tensor, positions: Tensor, starts: Tensor,
        longest: int,
    ) -> Tensor:  # fmt: skip
        """Cross-entropy (n,) in nats of `model` against the mean prediction, for the row's last n tokens.

        Args:
            model: The network that learns, whose final states (T, width) for the row are `hidden`.
            tokens: The row, with `positions`, `starts` and `longest` as in `PackedLlama.forward`.
        """
        first = len(tokens) - self.tokens
        # A document that begins before `first` is read from there on: only differences of positions count.
        inside = (starts - first).clamp(min=0)
        with torch.no_grad():
            taught = [each(tokens[first:], positions[first:], inside, longest) for each in self.networks]
        embeddings = [network.embed_tokens.weight for network in self.networks]
        return self._losses(hidden[first:], model.embed_tokens.weight, taught, embeddings)


def soft_losses(hidden: Tensor, embedding: Tensor, taught: list[Tensor], embeddings: list[Tensor]) -> Tensor:
    """Cross-entropy (n,) between the mean of the teachers' distributions and the network's own."""
    own = F.log_softmax(F.linear(hidden, embedding.to(hidden.dtype)).float(), dim=-1)
    wanted = torch.zeros_like(own)
    for states, table in zip(taught, embeddings, strict=True):
        wanted = wanted + F.softmax(F.linear(states, table.to(states.dtype)).float(), dim=-1)
    return -(wanted / len(taught) * own).sum(-1)
