"""The training plan: phases, mixtures, learning rates and regularisation, as functions of progress."""

from __future__ import annotations

from dataclasses import dataclass

from packing import Mixture

FIRST = Mixture(prose=0.74, questions=0.22, chat=0.04, prompt_weight=0.1, answer_weight=4.0)
MIDDLE = Mixture(prose=0.65, questions=0.3, chat=0.05, prompt_weight=0.1, answer_weight=4.0)
# The user's words weigh nothing here: the loss is on answers (and on prose, so that it is not forgotten).
LAST = Mixture(prose=0.42, questions=0.52, chat=0.06, prompt_weight=0.0, answer_weight=8.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One training run.

    `steps` rows of `batch_tokens` tokens. The rate warms up, stays, and from `decay_from` falls in a straight
    line to zero. From `last_phase_from` on the mixture is `last`, whose loss leaves the user's words out.
    """

    steps: int = 12_000
    batch_tokens: int = 131_072
    warmup_steps: int = 200
    decay_from: float = 0.5
    middle_from: float = 0.55
    last_phase_from: float = 0.8
    first_context: int = 1024
    middle_context: int = 2048
    last_context: int = 4096
    matrix_lr: float = 3.5e-3
    embedding_lr: float = 4e-3
    weight_decay: float = 0.25
    dropout: float = 0.1
    last_dropout: float = 0.1
    seed: int = 1
    first: Mixture = FIRST
    middle: Mixture = MIDDLE
    last: Mixture = LAST

    def is_last_phase(self, step: int) -> bool:
        """Whether `step` belongs to the phase on answers."""
        return step >= self.last_phase_from * self.steps

    def mixture(self, step: int) -> Mixture:
        """What the row of `step` is made of."""
        if self.is_last_phase(step):
            return self.last
        return self.middle if step >= self.middle_from * self.steps else self.first

    def context(self, step: int) -> int:
        """Longest document or conversation at `step`: short ones first, since attention then costs least."""
        if self.is_last_phase(step):
            return self.last_context
        return self.middle_context if step >= self.middle_from * self.steps else self.first_context

    def lr_factor(self, step: int) -> float:
        """Share of the peak learning rate at `step`."""
        warm = min(1.0, (step + 1) / self.warmup_steps)
        left = (self.steps - step) / (self.steps * (1 - self.decay_from))
        return max(0.0, min(warm, left, 1.0))
