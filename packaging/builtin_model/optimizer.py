"""Muon for the layers' matrices, AdamW for the embedding and the norms.

Muon (Jordan et al. 2024) replaces a matrix's momentum by its nearest orthogonal matrix, found with a
Newton-Schulz iteration, and needs markedly fewer tokens than AdamW at this size. The update is scaled as in
Moonlight (Liu et al. 2025) so that one learning rate fits matrices of every form.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """Approximately orthogonal matrices of the same singular vectors, for a stack (n, rows, columns).

    Rows must not outnumber columns. The quintic iteration pushes every singular value into about 0.7..1.2.
    """
    a, b, c = _COEFFICIENTS
    x: Tensor = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


class Muon(torch.optim.Optimizer):
    """Muon over 2-D parameters; matrices of one form are orthogonalised in one stack."""

    def __init__(
        self, parameters: list[nn.Parameter], *, lr: float, momentum: float = 0.95, weight_decay: float = 0.1
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self._orthogonalise: Callable[[Tensor], Tensor] = orthogonalise

    def compile(self) -> None:
        """Compiles the Newton-Schulz iteration."""
        self._orthogonalise = torch.compile(orthogonalise, dynamic=False)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update; the closure is not used."""
        for group in self.param_groups:
            stacks: dict[tuple[int, int], list[tuple[nn.Parameter, bool]]] = defaultdict(list)
            for parameter in group["params"]:
                tall = parameter.shape[0] > parameter.shape[1]
                rows, columns = sorted(parameter.shape)
                stacks[rows, columns].append((parameter, tall))
            for (rows, columns), members in stacks.items():
                scale = -group["lr"] * 0.2 * max(rows, columns) ** 0.5
                self._step_stack(members, group, scale)

    def _step_stack(
        self, members: list[tuple[nn.Parameter, bool]], group: dict[str, Any], scale: float
    ) -> None:
        parameters = [parameter for parameter, _ in members]
        tensors: list[Tensor] = [*parameters]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        for parameter in parameters:
            if "momentum" not in self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        momenta = [self.state[parameter]["momentum"] for parameter in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        nesterov = torch._foreach_lerp(gradients, momenta, group["momentum"])
        turned = [m.T if tall else m for m, (_, tall) in zip(nesterov, members, strict=True)]
        stack = torch.stack(turned)
        updates = self._orthogonalise(stack.bfloat16() if stack.is_cuda else stack).to(stack.dtype)
        back = [u.T if tall else u for u, (_, tall) in zip(updates, members, strict=True)]
        torch._foreach_mul_(tensors, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(tensors, back, alpha=scale)


def build_optimizers(
    model: nn.Module, *, matrix_lr: float, embedding_lr: float, weight_decay: float, embedding_decay: float
) -> list[torch.optim.Optimizer]:
    """[Muon, AdamW] over all parameters of `model`. Each group remembers its peak rate as "peak_lr"."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    embeddings = [p for n, p in model.named_parameters() if "embed" in n]
    norms = [p for p in model.parameters() if p.ndim < 2]
    adam_groups = [
        {"params": embeddings, "lr": embedding_lr, "weight_decay": embedding_decay},
        {"params": norms, "lr": embedding_lr, "weight_decay": 0.0},
    ]
    fused = next(model.parameters()).is_cuda
    optimizers: list[torch.optim.Optimizer] = [
        Muon(matrices, lr=matrix_lr, weight_decay=weight_decay),
        torch.optim.AdamW(adam_groups, betas=(0.9, 0.95), eps=1e-10, fused=fused),
    ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers
