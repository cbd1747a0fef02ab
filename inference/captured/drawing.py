"""The draw of a step: logits -> token on the device, and its record in pinned memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from inference.captured.controls import STEP, ControlBuffers
from inference.captured.draw_kernel import COUNT, draw_kernel
from inference.captured.sampling import Record, sample


class StepDrawing:
    """Draws from one buffer of logits into one token.

    Args:
        logits: (vocabulary,), what is drawn from.

    Attributes:
        controls: What acts, and the history.
        token: (1, 1) int64, what was drawn.
        own_bias: (1,), what acts on the key of that token.
        record: Where the numbers of a draw are.
    """

    def __init__(self, logits: Tensor) -> None:
        device = logits.device
        self._logits = logits
        self.controls = ControlBuffers(len(logits), device)
        self.token = torch.zeros((1, 1), dtype=torch.long, device=device)
        self.own_bias = torch.zeros(1, device=device)
        self.record = Record(0)
        self._one = torch.ones(1, device=device)
        self._kernel = draw_kernel(len(logits), logits.dtype, device)

    def record_at_least(self, candidates: int) -> bool:
        """Record so many alternatives; True if that changes what is recorded, so that a capture is void."""
        count = min(len(self._logits), max(COUNT, 1 << (max(1, candidates) - 1).bit_length()))
        if count == self.record.count:
            return False
        self.record = Record(count)
        self._numbers = torch.empty(
            self.record.size, dtype=torch.float64, pin_memory=self._logits.device.type == "cuda"
        )
        return True

    def __call__(self) -> None:
        """Draw a token and take it into the history; what is captured."""
        if self._kernel is not None and self.record.count == COUNT:
            record = self._kernel.draw(self._logits, self.controls, self.token, self.own_bias)
            self._numbers.copy_(record, non_blocking=True)
            return
        token, record, bias = sample(self._logits, self.controls, self.record.count)
        self._numbers.copy_(record, non_blocking=True)
        self.token[0].copy_(token)
        self.own_bias.copy_(bias)
        self._took(token)

    def put(self, token: int, own_bias: float) -> None:
        """A token that the host has drawn takes the place of the device's."""
        self.token.fill_(token)
        self._took(self.token[0])
        self.own_bias.fill_(own_bias)

    def _took(self, token: Tensor) -> None:
        self.controls.seen.index_fill_(0, token, True)
        self.controls.counts.index_add_(0, token, self._one)
        self.controls.whole[STEP:].add_(1)

    def numbers(self) -> list[float]:
        """The record of the last draw; the device must be past it."""
        values: list[float] = self._numbers.tolist()
        return values

    @contextmanager
    def kept(self) -> Iterator[None]:
        """A draw within the block leaves everything as it was."""
        controls = self.controls
        tensors = (controls.whole, controls.seen, controls.counts, self.token, self.own_bias)
        held = [tensor.clone() for tensor in tensors]
        try:
            yield
        finally:
            for tensor, copy in zip(tensors, held, strict=True):
                tensor.copy_(copy)
