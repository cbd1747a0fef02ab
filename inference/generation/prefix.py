"""What one run leaves to the next: the ids it read, the cache that holds exactly them, and their scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from inference.passes.kv_cache import EngineCache, can_crop, crop


@dataclass(frozen=True, slots=True)
class PositionScore:
    """What the logits before a token said of it; ``candidates`` are (id, log-probability), likeliest first,
    the token itself always among them.
    """

    raw_logprob: float
    entropy: float
    candidates: list[tuple[int, float]]

    def shown(self, count: int, token: int) -> list[tuple[int, float]]:
        """The first ``count`` candidates; the last gives way to ``token`` itself if that is missing."""
        first = self.candidates[: max(1, count)]
        if all(candidate != token for candidate, _ in first):
            first[-1] = (token, self.raw_logprob)
        return first


@torch.inference_mode()
def score_positions(logits: Tensor, following: Sequence[int], candidates: int) -> list[PositionScore]:
    """Score each token by the logits of the position before it.

    Args:
        logits: (positions, vocabulary).
        following: The token that came after each position.
        candidates: How many alternatives to record.
    """
    if not following:
        return []
    logprobs = torch.log_softmax(logits[: len(following)].float(), dim=-1)
    tokens = torch.tensor(list(following), device=logits.device)[:, None]
    entropies = torch.special.entr(logprobs.exp()).sum(-1)
    top = logprobs.topk(max(1, min(candidates, logprobs.shape[-1])), dim=-1).indices
    top[:, -1:] = torch.where((top == tokens).any(-1, keepdim=True), top[:, -1:], tokens)
    return [
        PositionScore(own, entropy, list(zip(ids, values, strict=True)))
        for own, entropy, ids, values in zip(
            logprobs.gather(-1, tokens)[:, 0].tolist(),
            entropies.tolist(),
            top.tolist(),
            logprobs.gather(-1, top).tolist(),
            strict=True,
        )
    ]


@dataclass(slots=True)
class Prefix:
    """A sequence that has been read.

    Attributes:
        cache: Holds exactly ``ids``, unless a forward pass broke off (then ``consistent`` is False).
        ids: What was read.
        marks: For each position how its key was steered, 0 for not at all. Two sequences are the same to
            the model only if their marks are equal too.
        scores: By position, where they are known; position 0 never has one.
        steady: Positions from here on were read while the steering of earlier ones had changed: not to be
            reused.
    """

    cache: EngineCache
    ids: list[int] = field(default_factory=list)
    marks: list[object] = field(default_factory=list)
    scores: dict[int, PositionScore] = field(default_factory=dict)
    steady: int | None = None
    consistent: bool = True

    def common_length(self, ids: Sequence[int], marks: Sequence[object]) -> int:
        """How many leading positions of another sequence are those of this one."""
        length = 0
        for mine, other, mark, other_mark in zip(self.ids, ids, self.marks, marks, strict=False):
            if mine != other or mark != other_mark:
                break
            length += 1
        return length if self.steady is None else min(length, self.steady)

    def scored_length(self, candidates: int) -> int:
        """How many leading positions have scores with enough candidates."""
        for index in range(1, len(self.ids)):
            score = self.scores.get(index)
            if score is None or len(score.candidates) < candidates:
                return index
        return len(self.ids)

    def cut(self, length: int, *, known: int = 0) -> bool:
        """Forget all but ``length`` positions; False if the cache can't (then nothing has changed).

        Scores of the first ``known`` tokens are kept: those that will be read again unchanged.
        """
        if self._cached() > length:
            if not can_crop(self.cache):
                return False
            crop(self.cache, length)
        del self.ids[length:], self.marks[length:]
        self.scores = {index: score for index, score in self.scores.items() if index < max(length, known)}
        if self.steady is not None and length <= self.steady:
            self.steady = None
        return True

    def _cached(self) -> int:
        """Positions in the cache."""
        try:
            return self.cache.get_seq_length()
        except ValueError:  # recurrent states alone do not tell how much they have read
            return len(self.ids)

    def steering_changes(self) -> None:
        """What is read from now on sees earlier keys under other factors than those that wrote them."""
        if self.steady is None:
            self.steady = len(self.ids)

    @contextmanager
    def growing(self, ids: Sequence[int], marks: Sequence[object]) -> Iterator[None]:
        """Within the block the cache is extended by ``ids``; left by an error, it can't be trusted."""
        self.consistent = False
        yield
        self.ids.extend(ids)
        self.marks.extend(marks)
        self.consistent = True
