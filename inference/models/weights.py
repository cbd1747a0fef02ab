"""Stored weights as lazy tensors: each is read when it is asked for, counted, and may be cancelled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from inference.background import Reporter
from inference.errors import ModelDamaged
from inference.models.checkpoints import load_pickle
from inference.models.loaded_model import trim_heap

if TYPE_CHECKING:
    import torch

    from inference.models.model_files import ModelFiles


#: Bytes that are read between two trims of the heap: converting tensor after tensor would otherwise leave
#: holes of up to the size of the whole model.
_TRIM_EVERY = 256 * 2**20


class ByteCounter:
    """Adds up what was read and reports it."""

    def __init__(self, reporter: Reporter, stage: str, total: int) -> None:
        self._reporter = reporter
        self._stage = stage
        self._total = total
        self._done = self._untrimmed = 0

    def add(self, nbytes: int) -> None:
        """Count a tensor that was read; raises RunCancelled if the run was cancelled."""
        self._done += nbytes
        self._untrimmed += nbytes
        if self._untrimmed >= _TRIM_EVERY:
            trim_heap()
            self._untrimmed = 0
        self._reporter.report(self._stage, min(self._done, self._total), self._total, "bytes")


class LazyTensor:
    """A tensor in a file that reads itself when it is indexed, as transformers expects of lazy ones."""

    def __init__(self, source: Any, counter: ByteCounter) -> None:
        self._source = source
        self._counter = counter

    def __getitem__(self, index: Any) -> torch.Tensor:
        self._counter.add(0)  # look at the cancel flag before a long read
        tensor: torch.Tensor = self._source[index]
        self._counter.add(tensor.numel() * tensor.element_size())
        return tensor

    def get_shape(self) -> list[int]:
        """The stored shape."""
        source = self._source
        return list(source.get_shape() if hasattr(source, "get_shape") else source.shape)

    def get_dtype(self) -> str:
        """The stored dtype, by safetensors' name where the file has one."""
        source = self._source
        return str(source.get_dtype() if hasattr(source, "get_dtype") else source.dtype)

    @property
    def shape(self) -> list[int]:
        """The stored shape."""
        return self.get_shape()


@contextmanager
def open_weights(files: ModelFiles, reporter: Reporter, *, stage: str) -> Iterator[dict[str, Any]]:
    """The state dict of a model's files, its tensors not yet read; usable inside the ``with`` block.

    Raises:
        ModelDamaged: A file can't be read.
        ModelUnsafe: A pickle holds more than tensors. Nothing of it was run.
    """
    counter = ByteCounter(reporter, stage, files.checkpoint.nbytes)
    counter.add(0)
    with ExitStack() as stack:
        state_dict: dict[str, Any] = {}
        for file in files.checkpoint.files:
            reporter.check()
            if files.format == "safetensors":
                from safetensors import SafetensorError, safe_open

                try:
                    opened = stack.enter_context(safe_open(file, framework="pt"))
                except SafetensorError as error:
                    raise ModelDamaged(f"{file.name} can't be read.", details=str(error)) from None
                names = opened.keys()
                state_dict |= {name: LazyTensor(opened.get_slice(name), counter) for name in names}
            else:
                state_dict |= {
                    name: LazyTensor(tensor, counter) for name, tensor in load_pickle(file).items()
                }
        yield state_dict
