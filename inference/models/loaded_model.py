"""The model that a session works on, and the giving back of its memory."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import psutil

from inference.events import MemoryUse, ModelInfo, Quantization
from inference.events.models import Int8Product

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

#: Of glibc's malloc.h.
_M_MMAP_THRESHOLD: Final = -3


@dataclass(slots=True, kw_only=True)
class LoadedModel:
    """A model in memory, in eval mode and without gradients, with its tokenizer.

    Attributes:
        model: The network.
        tokenizer: Its tokenizer; its vocabulary fits the model's embeddings.
        info: What its files say of it.
        quantization: How its linear layers are held.
        device: Where inputs go: the device of the input embeddings.
        dtype: The precision that is computed in: that of activations and of the KV cache.
        context_length: Most tokens of prompt and reply together, at most the model's own.
        eos_ids: The ids that end a reply.
        note: What the user should know of how it was loaded; may be empty.
        int8: What its int8 layers compute on a GPU.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    info: ModelInfo
    quantization: Quantization
    device: torch.device
    dtype: torch.dtype
    context_length: int
    eos_ids: frozenset[int]
    note: str = ""
    int8: Int8Product = "weight-only"

    def weight_bytes(self) -> int:
        """Bytes of all parameters and buffers, quantization constants included, shared tensors once."""
        return weight_bytes(self.model)

    def memory(self) -> MemoryUse:
        """What the process and the GPUs hold now; the KV cache belongs to the engine and is 0 here."""
        import torch

        gpus = range(torch.cuda.device_count()) if torch.cuda.is_available() else range(0)
        return MemoryUse(
            process=psutil.Process().memory_info().rss,
            weights=self.weight_bytes(),
            gpu_allocated=sum(torch.cuda.memory_allocated(gpu) for gpu in gpus),
            gpu_reserved=sum(torch.cuda.memory_reserved(gpu) for gpu in gpus),
            gpu_total=sum(torch.cuda.get_device_properties(gpu).total_memory for gpu in gpus),
        )


def weight_bytes(model: torch.nn.Module) -> int:
    """Bytes of the storages behind a module's parameters and buffers; tied and shared ones count once.

    bitsandbytes keeps the scales of a 4-bit weight in ``weight.quant_state`` and those of an int8 weight in
    ``weight.SCB``; both are part of the weights.
    """
    import torch

    storages: dict[int, int] = {}

    def count(tensor: object) -> None:
        if isinstance(tensor, torch.Tensor) and tensor.numel() and tensor.device.type != "meta":
            storage = tensor.untyped_storage()
            # A view into a bigger mapping (a memory-mapped file) takes only its own bytes.
            storages[tensor.data_ptr()] = min(storage.nbytes(), tensor.numel() * tensor.element_size())

    for tensor in (*model.parameters(), *model.buffers()):
        count(tensor)
        count(getattr(tensor, "SCB", None))
        state = getattr(tensor, "quant_state", None)
        while state is not None:
            count(state.absmax)
            count(state.code)
            count(state.offset)
            state = state.state2 if getattr(state, "nested", False) else None
    return sum(storages.values())


def release_memory() -> None:
    """Hand freed memory back to the system: Python's garbage, the CUDA cache, and glibc's free lists."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    trim_heap()


@contextlib.contextmanager
def returning_heap() -> Iterator[None]:
    """Within this, glibc gives every freed tensor back to the system at once.

    Left alone it takes more and more of them from its heap, where what is freed lies between what is kept: a
    model that is quantized while it is read would take twice the memory at its peak.
    """
    _set_heap_limit(1 << 20)
    try:
        yield
    finally:
        _set_heap_limit(32 << 20)  # where glibc's own rule ends up after large tensors


def _set_heap_limit(size: int) -> None:
    """Have glibc give allocations of at least this size pages of their own."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library, which has no such call
            ctypes.CDLL("libc.so.6").mallopt(_M_MMAP_THRESHOLD, size)


def trim_heap() -> None:
    """Give glibc's free lists back to the system: it keeps what large tensors leave, in fragments."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library, which has no such call
            ctypes.CDLL("libc.so.6").malloc_trim(0)
