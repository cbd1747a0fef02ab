"""Feeds rows to the training loop from worker processes that compose and tokenize them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from dialogues import DialogueMaker
from network import PackedLlama
from packing import PackedRow, RowPacker, TokenizedProse
from plan import Plan, Progress
from teachers import Teachers
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info


@dataclass(frozen=True, slots=True)
class Batch:
    """A packed row as tensors (see packing.PackedRow)."""

    tokens: Tensor
    targets: Tensor
    weights: Tensor
    positions: Tensor
    starts: Tensor
    soft: Tensor

    @classmethod
    def of(cls, row: PackedRow) -> Batch:
        """The row's arrays without copying."""
        return cls(*(torch.from_numpy(getattr(row, name)) for name in cls.__slots__))

    def to(self, device: torch.device) -> Batch:
        """The batch on `device`."""
        return Batch(*(getattr(self, name).to(device, non_blocking=True) for name in self.__slots__))

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory, so that copies to the GPU overlap with its work."""
        return Batch(*(getattr(self, name).pin_memory() for name in self.__slots__))


class Rows(IterableDataset[Batch]):
    """Rows without end, of the mixture that the plan wants at the time."""

    def __init__(
        self, prose: TokenizedProse, maker: DialogueMaker, tokenizer: Tokenizer, plan: Plan,
        progress: Progress, seed: int, own_samples: Path | None = None, imagined: Path | None = None,
    ) -> None:  # fmt: skip
        self.own_samples, self.imagined = own_samples, imagined
        self.prose, self.maker, self.tokenizer = prose, maker, tokenizer
        self.plan, self.progress, self.seed = plan, progress, seed

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        packer = RowPacker(
            self.prose, self.maker, self.tokenizer, batch_tokens=self.plan.batch_tokens,
            seed=hash((self.plan.seed, self.seed, worker.id if worker else 0)),
            own_samples=self.own_samples, imagined=self.imagined,
        )  # fmt: skip
        while True:
            at = self.progress.value
            yield Batch.of(packer.row(self.plan.mixture(at), self.plan.context(at)))


def load_batches(rows: Rows, workers: int, pin: bool) -> Iterator[Batch]:
    """Batches without end; 0 workers composes in this process."""
    loader: DataLoader[Batch] = DataLoader(
        rows, batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None, pin_memory=pin,
        multiprocessing_context="fork" if workers else None,
    )  # fmt: skip
    return iter(loader)


def weighted_loss(model: PackedLlama, batch: Batch, longest: int, teachers: Teachers | None = None) -> Tensor:
    """Mean cross-entropy in nats, weighted as the batch says.

    Where the weight is negative the target is to be avoided: the loss is -log(1 - p) there (unlikelihood,
    Welleck et al. 2020). With `teachers`, the end of the row is learnt from their predictions, too, as far as
    `batch.soft` says.
    """
    hidden = model(batch.tokens, batch.positions, batch.starts, longest)
    losses = model.losses(hidden, batch.targets)
    avoided = -torch.log(-torch.expm1(-losses.clamp(min=1e-5)))
    losses = torch.where(batch.weights < 0, avoided, losses)
    if teachers is not None:
        soft = teachers.losses(model, hidden, batch, longest)
        plain, tail = losses[: -len(soft)], losses[-len(soft) :]
        losses = torch.cat((plain, torch.lerp(tail, soft, batch.soft[-len(soft) :])))
    weights = batch.weights.abs()
    return (losses * weights).sum() / weights.sum()
