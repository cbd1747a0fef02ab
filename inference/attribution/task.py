"""What a method is given, and what it gives back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from inference.attribution.budget import Budget
from inference.attribution.passage import Passage
from inference.attribution.reader import Factors, Reader
from inference.attribution.targets import Objective
from inference.events import MethodSpec, SegmentSpan, Setting, SteeringMode
from inference.related_tokens import cosines

#: Tokens of a reading from which on a device takes longer for more.
_SATURATED = {"cuda": 512}


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """How a segment is turned down by the methods that do so; the fields are those of ``ExplainRequest``."""

    factor: float = 0.1
    mode: SteeringMode = "log-additive"
    layers: tuple[int, int] | None = None
    similarity_threshold: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Scores of some segments.

    Attributes:
        indices: Which segments.
        values: (rows, segments): one row a target token, or a single row where a method scores the text as
            a whole.
        preview: Estimates that will be replaced.
        estimated: Of ``indices``, those that got a share of a coarser segment's score.
        note: What the user should know about them; may be empty.
    """

    indices: tuple[int, ...]
    values: Tensor
    preview: bool = False
    estimated: tuple[int, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a method will take: calls of the model, positions computed (a backward pass counts as two),
    bytes.
    """

    passes: int
    tokens: int
    memory: int


class SentenceEmbedder(Protocol):
    """A model that turns a text into one vector; see :mod:`.reembedding`."""

    def tokenize(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids without special tokens, and each one's characters."""

    def embed(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """(texts, dimensions) vectors of texts given as ids without special tokens."""


@dataclass(slots=True, kw_only=True)
class Task:
    """A passage, cut into segments, to be explained with a model.

    Attributes:
        reader: The model.
        passage: What it read.
        segments: The parts to score.
        objective: What is scored.
        suppression: How segments are turned down.
        settings: The method's own parameters by name.
        budget: Sizes of batches.
        per_token: Whether a row for each target token is wanted; else one row, or rows that add up to it,
            will do.
        controlled: One factor a context token that the passage is read under as it is, in the mode and
            layers of ``suppression``; empty: all 1.
        check: Raises :class:`~inference.errors.RunCancelled` once the run was cancelled.
        embedder: For re-embedding; None if there is none.
        base: (T,) the objective's values as things are; set by :meth:`read`.
        read_seconds: How long the plain reading took.
    """

    reader: Reader
    passage: Passage
    segments: tuple[SegmentSpan, ...]
    objective: Objective
    suppression: Suppression = Suppression()
    settings: Mapping[str, Setting] = field(default_factory=dict)
    budget: Budget
    per_token: bool = False
    controlled: tuple[float, ...] = ()
    check: Callable[[], None] = lambda: None
    embedder: SentenceEmbedder | None = None
    base: Tensor = field(default_factory=lambda: torch.empty(0))
    read_seconds: float = 0.0
    _cosines: Tensor | None = None

    @property
    def ids(self) -> Tensor:
        """(1, N + T - 1) tokens to read."""
        return torch.tensor([self.passage.read_ids], device=self.reader.device)

    @property
    def rows(self) -> int:
        """Target tokens (T): how many last positions are looked at."""
        return len(self.passage.target_ids)

    def read(self) -> None:
        """Read the passage as it is: base values, the shared prefix, and how long it takes."""
        begin = time.perf_counter()
        logits = self.reader.read(self.ids, self.rows, self.steering_of(self.base_factors.unsqueeze(0)))
        self.base = self.objective.values(logits)[0].cpu()
        self.read_seconds = time.perf_counter() - begin

    def seconds(self, cost: Cost) -> float:
        """What a method will take, the plain reading included, at the speed of that reading.

        A GPU reads a few hundred tokens no faster than it is told to: a short plain reading says nothing
        of the batches that follow, so it is taken as one of :data:`_SATURATED` tokens.
        """
        length = len(self.passage.read_ids)
        return self.read_seconds * (1 + cost.tokens / max(length, _SATURATED.get(self.reader.device.type, 1)))

    @property
    def base_factors(self) -> Tensor:
        """(N,) factors that the passage is read under as it is."""
        return torch.tensor(self.controlled) if self.controlled else torch.ones(self.passage.length)

    def steering_of(self, values: Tensor) -> Factors | None:
        """(batch, N) factors as the reader takes them; None where they change nothing."""
        if bool((values == 1.0).all()):
            return None
        return Factors(values.to(self.reader.device), self.suppression.mode, self.suppression.layers)

    def factors(self, index: int) -> Tensor:
        """(N,) factors that suppress a segment, and related tokens where they are asked for; those that the
        passage is read under come on top.

        A related token's factor is :func:`inference.steering.neighbour_factor` of its cosine.
        """
        factor = self.suppression.factor
        factors = torch.ones(self.passage.length)
        tokens = torch.tensor(self.segments[index].tokens)
        threshold = self.suppression.similarity_threshold
        if threshold is not None:
            cosine = self._all_cosines()[:, tokens].amax(1).clamp(max=1.0)
            related = (cosine >= threshold) & ~torch.tensor(self.passage.special)
            factors = torch.where(related, (1.0 - factor) * (1.0 - cosine) + factor, factors)
        factors[tokens] = factor
        return factors

    def first_changed(self, index: int) -> int:
        """The first position that suppressing a segment changes."""
        if self.suppression.similarity_threshold is None:
            return self.segments[index].tokens[0]
        return int((self.factors(index) != 1.0).nonzero()[0]) if self.suppression.factor != 1.0 else 0

    def suppressed_values(self, indices: Sequence[int], start: int) -> Tensor:
        """(segments, T) values of the objective with one segment suppressed in each, from a position on."""
        factors = self.base_factors * torch.stack([self.factors(index) for index in indices])
        rows = self.ids[:, start:].expand(len(indices), -1)
        return self.objective.values(
            self.reader.reread(rows, start, self.rows, self.steering_of(factors))
        ).cpu()

    def values_without(self, gone: Sequence[Sequence[int]], start: int) -> Tensor:
        """(rows, T) values of the objective with some tokens removed from the prompt, as many in each row.

        Args:
            gone: For each row the positions that are removed.
            start: Where reading begins; nothing before it is removed.
        """
        ids, base = self.passage.read_ids, self.base_factors.tolist()
        rows, factors = [], []
        for row in map(set, gone):
            rows.append(self.readable([ids[at] for at in range(start, len(ids)) if at not in row]))
            factors.append([base[at] for at in range(len(base)) if at not in row])
        logits = self.reader.reread(
            torch.tensor(rows, device=self.reader.device),
            start,
            self.rows,
            self.steering_of(torch.tensor(factors)),
        )
        return self.objective.values(logits).cpu()

    def readable(self, row: list[int]) -> list[int]:
        """Where the whole context was removed, the target is predicted from the begin-of-text token alone."""
        if len(row) >= self.rows:
            return row
        config = self.reader.model.config.get_text_config(decoder=True)
        begin = config.bos_token_id if isinstance(config.bos_token_id, int) else config.eos_token_id
        return [begin if isinstance(begin, int) else 0, *row]

    def setting(self, name: str, spec: MethodSpec) -> Setting:
        """A parameter's value: the request's, or the one that the method declares."""
        return self.settings.get(name, next(each.default for each in spec.parameters if each.name == name))

    def _all_cosines(self) -> Tensor:
        if self._cosines is None:
            self._cosines = cosines(self.passage.ids, self.reader.embedding.weight).cpu()
        return self._cosines


class Method(Protocol):
    """A module that is an attribution method."""

    SPEC: MethodSpec

    def cost(self, task: Task) -> Cost:
        """What :meth:`score` will take, the plain reading not counted."""

    def score(self, task: Task) -> Iterator[Scores]:
        """Score the segments of a task that has been read, in parts, each segment at least once."""
