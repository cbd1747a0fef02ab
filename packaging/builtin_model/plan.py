"""The training plan: mixtures, learning rates and regularisation, as functions of how far the run is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from multiprocessing import Value

from packing import Mixture

FIRST = Mixture(
    prose=0.54, questions=0.35, chat=0.03, stories=0.04, own_loops=0.04, imagined=0.3,
    prompt_weight=0.05, answer_weight=12.0,
)  # fmt: skip
# The user's words weigh nothing here: the loss is on answers (and on prose, so that it is not forgotten).
LAST = Mixture(
    prose=0.48, questions=0.41, chat=0.03, stories=0.04, own_loops=0.04, imagined=0.27,
    prompt_weight=0.0, answer_weight=12.0,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One training run: rows of `batch_tokens` tokens, `steps` of them unless the clock sets the pace.

    All methods take the run's progress from 0 to 1. The rate warms up, stays, and from `decay_from` falls in
    a straight line to zero. From `last_phase_from` on the mixture is `last`. Strong weight decay and dropout
    to the end keep a small corpus from being learnt by heart; the embedding, whose rows are seen unequally
    often, decays less.
    """

    steps: int = 5000
    batch_tokens: int = 131_072
    warmup: float = 0.02
    decay_from: float = 0.25
    last_phase_from: float = 0.5
    long_from: float = 0.35
    first_context: int = 2048
    last_context: int = 4096
    matrix_lr: float = 1.8e-3
    embedding_lr: float = 2e-3
    weight_decay: float = 0.5
    embedding_decay: float = 0.1
    dropout: float = 0.15
    average_decay: float = 0.995
    seed: int = 2
    first: Mixture = FIRST
    last: Mixture = LAST

    @property
    def teacher_tokens(self) -> int:
        """How many tokens at the end of each row are for teachers (two pieces may reach over)."""
        shares = min(each.prose + each.own_loops for each in (self.first, self.last))
        return max(0, int(shares * self.batch_tokens - 2 * self.first_context) // 1024 * 1024)

    def is_last_phase(self, progress: float) -> bool:
        """Whether this is the phase on answers."""
        return progress >= self.last_phase_from

    def mixture(self, progress: float) -> Mixture:
        """What a row is made of."""
        return self.last if self.is_last_phase(progress) else self.first

    def context(self, progress: float) -> int:
        """Longest document or conversation: short ones first, since attention then costs least."""
        return self.last_context if progress >= self.long_from else self.first_context

    def lr_factor(self, progress: float) -> float:
        """Share of the peak learning rate."""
        warm = progress / self.warmup if self.warmup else 1.0
        left = (1.0 - progress) / (1.0 - self.decay_from)
        return max(0.0, min(warm, left, 1.0))


class Progress:
    """How far a run is, from 0 to 1; worker processes that were forked see the same number.

    It counts steps, or follows the clock once that is started, so that a run ends on time whatever the
    machine's speed. A resumed run goes on from where it was.
    """

    def __init__(self, steps: int, start: float = 0.0) -> None:
        self._steps, self._start = steps, start
        self._seconds: float | None = None
        self._began = 0.0
        self._value = Value("d", start)

    def start_clock(self, seconds: float) -> None:
        """From now on the whole plan takes `seconds`."""
        self._seconds, self._began = max(seconds, 1.0), time.monotonic()

    @property
    def value(self) -> float:
        """The share of the run that is done."""
        return float(self._value.value)

    def advance(self, step: int) -> float:
        """Takes note that `step` steps are done; returns the new value."""
        if self._seconds is None:
            self._value.value = step / self._steps
        else:
            self._value.value = min(1.0, self._start + (time.monotonic() - self._began) / self._seconds)
        return self.value
