"""How many readings go through the model at once: as many as memory allows, fewer when it runs out."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import psutil
import torch

from inference.errors import OutOfMemory

T = TypeVar("T")

#: Of the free memory, what a batch may take unless the request says otherwise; and never more than this
#: many bytes.
_SHARE = 0.3
_CAP = 8 * 2**30
#: Token positions a batch beyond which a device gains nothing: a GPU is busy, a CPU falls out of its caches.
_USEFUL_TOKENS = {"cuda": 16384, "cpu": 256}


class Budget:
    """Sizes of batches.

    Attributes:
        bytes: What a batch may take beyond a plain forward pass.
        useful_tokens: Positions a batch beyond which there is no gain.
        halvings: How often a batch was halved because memory ran out.
    """

    def __init__(
        self, model: Any, device: torch.device, *, limit: int | None = None, useful_tokens: int | None = None
    ) -> None:
        self.bytes = limit if limit is not None else min(_CAP, int(free_memory(device) * _SHARE))
        self.useful_tokens = useful_tokens or _USEFUL_TOKENS.get(device.type, 4096)
        self.halvings = 0
        self._largest: int | None = None
        config = model.config.get_text_config(decoder=True)
        element = torch.finfo(model.dtype).bits // 8 if model.dtype.is_floating_point else 4
        hidden = int(config.hidden_size)
        inner = getattr(config, "intermediate_size", None) or 4 * hidden
        inner = int(max(inner) if isinstance(inner, (list, tuple)) else inner)
        heads = int(getattr(config, "num_attention_heads", None) or 1)
        size = int(getattr(config, "head_dim", None) or hidden // heads)
        self._position = (10 * hidden + 3 * inner + 4 * heads * size) * element
        self._key = 4 * heads * size * element
        eager = getattr(config, "_attn_implementation", "sdpa") == "eager"
        self._pair = (2 * heads * 4 if eager else 0) + 4 * element
        self._weight = heads * (4 + element)
        self._logit = int(config.vocab_size) * (element + 8)

    def row_bytes(self, queries: int, keys: int, kept: int) -> int:
        """What one reading takes: activations of its positions, one layer's keys, its masks, its logits."""
        return queries * self._position + keys * self._key + queries * keys * self._pair + kept * self._logit

    def weight_bytes(self, queries: int, keys: int) -> int:
        """What a layer's attention weights take, in float32 and in the model's own precision."""
        return queries * keys * self._weight

    def rows(self, queries: int, keys: int, kept: int) -> int:
        """How many readings of this size make a batch; at least one."""
        fitting = self.bytes // max(1, self.row_bytes(queries, keys, kept))
        useful = -(-self.useful_tokens // max(1, queries))
        return max(1, min(fitting, useful, self._largest or fitting))

    def halve(self, rows: int) -> None:
        """Never again make a batch of this many rows."""
        self.halvings += 1
        self._largest = max(1, rows // 2)


def in_batches(
    items: Sequence[int],
    rows: Callable[[Sequence[int]], int],
    work: Callable[[Sequence[int]], T],
    budget: Budget,
    check: Callable[[], None],
) -> Iterator[tuple[Sequence[int], T]]:
    """Work through items in batches; a batch that does not fit into memory is halved, down to one item.

    Args:
        items: What to work on, in order.
        rows: Of the items that are left, how many make the next batch.
        work: Does a batch.
        budget: Is told of halvings.
        check: Raises if the run was cancelled; looked at before each batch.

    Raises:
        OutOfMemory: Not even one item fits.
    """
    place = 0
    while place < len(items):
        check()
        count = min(rows(items[place:]), len(items) - place)
        try:
            result = work(items[place : place + count])
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if count == 1:
                raise OutOfMemory(
                    "Not even one more reading of this prompt fits into memory.", details=str(error)
                ) from error
            budget.halve(count)
        else:
            yield items[place : place + count], result
            place += count
            continue
        give_back()  # outside the except block: the traceback held the tensors of the failed batch


def give_back() -> None:
    """Free what a computation that broke off has left."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out; PyTorch's CPU allocator has no class of its own for it."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def free_memory(device: torch.device) -> int:
    """Bytes that can still be taken on a device, what PyTorch holds in reserve included."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    return int(psutil.virtual_memory().available)
