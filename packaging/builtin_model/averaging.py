"""A running average of the weights, which forgets slowly: it evens out the last steps' noise."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Average:
    """weights <- decay * weights + (1 - decay) * the model's (Polyak and Juditsky 1992, exponential)."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights: list[Tensor] = [parameter.detach().clone() for parameter in model.parameters()]

    @torch.no_grad()
    def update(self, model: nn.Module, steps: int = 1) -> None:
        """Takes in the model's weights after `steps` steps."""
        fresh = [parameter.detach() for parameter in model.parameters()]
        torch._foreach_lerp_(self.weights, fresh, 1.0 - self.decay**steps)

    @torch.no_grad()
    def swap(self, model: nn.Module) -> None:
        """Exchanges the model's weights and the average; twice does nothing."""
        for mine, parameter in zip(self.weights, model.parameters(), strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(mine)
            mine.copy_(kept)
