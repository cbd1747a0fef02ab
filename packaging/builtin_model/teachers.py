"""Learning from the predictions of earlier weights: the mean of several networks knows new text better.

On 28 million tokens every network learns some of its text by heart, each other parts. The mean of their
probabilities is 3 to 4 % better on new text than the best of them (measured on the first and the third
training's weights); a network that is trained on that mean takes over a part of it (Hinton et al. 2015; in
place of hard targets alone this also works against learning by heart).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from network import PackedLlama
from tokenizers import Tokenizer
from torch import Tensor

if TYPE_CHECKING:
    from batches import Batch


def parts_of_characters(tokenizer: Tokenizer) -> Tensor:
    """Which tokens (vocabulary,) are bytes that are no character alone."""
    size = tokenizer.get_vocab_size()
    return torch.tensor(["\ufffd" in tokenizer.decode([token]) for token in range(size)])


class Teachers:
    """Networks of one vocabulary that predict the last `tokens` tokens of a row.

    `shares` (one a network, sum 1) weigh their probabilities; where the row's weight is negative its target
    is left out of the prediction, and so are the tokens `never` (vocabulary,).
    """

    def __init__(self, networks: list[PackedLlama], tokens: int, shares: list[float], never: Tensor) -> None:
        self.networks, self.tokens, self.shares, self.never = networks, tokens, shares, never
        for network in networks:
            network.eval().requires_grad_(False)
        self._losses = soft_losses

    def compile(self) -> None:
        """Compiles the layers and the loss."""
        for network in self.networks:
            for layer in network.layers:
                layer.compile()
        self._losses = torch.compile(soft_losses)

    def losses(self, model: PackedLlama, hidden: Tensor, batch: Batch, longest: int) -> Tensor:
        """Cross-entropy (n,) in nats of `model` against the mean prediction, for the row's last n tokens.

        Args:
            model: The network that learns, whose final states (T, width) for the row are `hidden`.
            longest: As in `PackedLlama.forward`.
        """
        first = len(batch.tokens) - self.tokens
        # A document that begins before `first` is read from there on: only differences of positions count.
        inside = (batch.starts - first).clamp(min=0)
        tokens, positions = batch.tokens[first:], batch.positions[first:]
        with torch.no_grad():
            taught = [each(tokens, positions, inside, longest) for each in self.networks]
        embeddings = [network.embed_tokens.weight for network in self.networks]
        avoided = torch.where(batch.weights[first:] < 0, batch.targets[first:].long(), -1)
        return self._losses(
            hidden[first:], model.embed_tokens.weight, taught, embeddings, self.shares, avoided, self.never
        )


def soft_losses(
    hidden: Tensor, embedding: Tensor, taught: list[Tensor], embeddings: list[Tensor], shares: list[float],
    avoided: Tensor, never: Tensor,
) -> Tensor:  # fmt: skip
    """Cross-entropy (n,) between the weighted mean of the teachers' distributions and the network's own.

    Where `avoided` (n,) names a token (not -1), the distribution is what is left without it and `never`.
    """
    own = F.log_softmax(F.linear(hidden, embedding.to(hidden.dtype)).float(), dim=-1)
    wanted = torch.zeros_like(own)
    for states, table, share in zip(taught, embeddings, shares, strict=True):
        wanted = wanted + share * F.softmax(F.linear(states, table.to(states.dtype)).float(), dim=-1)
    ids = torch.arange(own.shape[-1], device=own.device)
    out = (ids == avoided[:, None]) | (never & (avoided >= 0)[:, None])
    wanted = torch.where(out, 0.0, wanted)
    return -(wanted * own).sum(-1) / wanted.sum(-1).clamp(min=1e-6)
