"""Saves and restores a training run: weights, optimizer states and the step, in one file."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from averaging import Average
from network import PackedLlama

_NAME = "checkpoint.pt"


def save_checkpoint(
    folder: Path, model: PackedLlama, optimizers: list[torch.optim.Optimizer], average: Average,
    step: int, progress: float,
) -> None:  # fmt: skip
    """Writes beside the old checkpoint and then replaces it, so that a stop in between loses nothing."""
    state = {
        "step": step,
        "progress": progress,
        "average": average.weights,
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
    }
    fresh = folder / (_NAME + ".new")
    torch.save(state, fresh)
    os.replace(fresh, folder / _NAME)


def load_checkpoint(
    folder: Path, model: PackedLlama, optimizers: list[torch.optim.Optimizer], average: Average
) -> tuple[int, float]:
    """Restores the last checkpoint and returns its step and progress; zeros where there is none.

    Rates and weight decay stay those of the current plan, so that a resumed run may change them.
    """
    if not (folder / _NAME).exists():
        return 0, 0.0
    device = next(model.parameters()).device
    state = torch.load(folder / _NAME, map_location=device, weights_only=True)
    model.load_state_dict(state["model"])
    for optimizer, stored in zip(optimizers, state["optimizers"], strict=True):
        for group, current in zip(stored["param_groups"], optimizer.param_groups, strict=True):
            group.update({name: current[name] for name in ("lr", "peak_lr", "weight_decay")})
        optimizer.load_state_dict(stored)
    average.weights = state["average"]
    return int(state["step"]), float(state["progress"])
