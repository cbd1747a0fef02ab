"""What the fast ways are measured against: full forward passes of a passage, one at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inference.attribution.passage import Passage


@dataclass(frozen=True, slots=True)
class Duration:
    """Wall and CPU seconds."""

    wall: float
    cpu: float

    def __add__(self, other: Duration) -> Duration:
        return Duration(self.wall + other.wall, self.cpu + other.cpu)

    def __mul__(self, factor: float) -> Duration:
        return Duration(self.wall * factor, self.cpu * factor)


def timed(work: Callable[[], object]) -> Duration:
    """How long a piece of work takes; on a GPU it must end in a synchronisation."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Duration(time.perf_counter() - wall, time.process_time() - cpu)


class FullPasses:
    """Full forward passes of one passage."""

    def __init__(self, model: Any, passage: Passage) -> None:
        import torch

        self._model, self._length = model, passage.length
        self._kept = len(passage.target_ids)
        device = model.get_input_embeddings().weight.device
        self._ids = torch.tensor([passage.read_ids], device=device)
        size = self._ids.shape[1]
        self._causal = torch.full(
            (size, size), torch.finfo(model.dtype).min, dtype=model.dtype, device=device
        )
        self._causal = self._causal.triu(1)

    def naive(self, passes: int) -> Duration:
        """Mean time of a pass of the naive loop: one token suppressed, the logits of all positions."""

        def one(number: int) -> Any:
            mask = self._causal.clone()
            mask[:, number * self._length // passes] += -2.3
            return self._model(self._ids, attention_mask=mask[None, None], use_cache=False)

        return self._mean(one, passes)

    def plain(self, passes: int) -> Duration:
        """Mean time of a plain prefill: the logits of the target's positions alone."""

        def one(_: int) -> Any:
            return self._model(self._ids, use_cache=False, logits_to_keep=self._kept)

        return self._mean(one, passes)

    def plain_peak(self) -> int:
        """Most GPU bytes during a plain forward pass with its cache; 0 on a CPU."""
        import torch

        if self._ids.device.type != "cuda":
            return 0
        torch.cuda.reset_peak_memory_stats()
        with torch.no_grad():
            self._model(self._ids, use_cache=True)
        return int(torch.cuda.max_memory_allocated())

    @staticmethod
    def _mean(one: Callable[[int], Any], passes: int) -> Duration:
        import torch

        def work() -> None:
            for number in range(passes):
                with torch.no_grad():
                    one(number).logits[0, -1].sum().item()

        return timed(work) * (1 / passes)
