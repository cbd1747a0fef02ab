"""The draw of :mod:`inference.captured.sampling` as one kernel, without a sort of the vocabulary."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from inference.captured.controls import ControlBuffers
from inference.captured.sampling import Record, sample
from inference.events import SamplingControls
from inference.generation.random_stream import RandomStream
from inference.kernels.compiler import KernelError, KernelUnavailable, Source, available

_log = logging.getLogger(__name__)

#: Alternatives that the kernel records; more are recorded by the plain function.
COUNT = 32
_BLOCKS, _THREADS = 64, 512
_SMALLEST, _LARGEST = 2048, 4096
_SCRATCH_BYTES = 128 * 1024
_TYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
_SIGNATURE = "PiPPPPPPPPP"


class DrawKernel:
    """The kernel for one vocabulary.

    Raises:
        KernelUnavailable: It can't run here, or for this vocabulary.
        KernelError: It does not compile, or gives something else than the plain function.
    """

    def __init__(self, vocabulary: int, dtype: torch.dtype, device: torch.device) -> None:
        part = -(-vocabulary // _BLOCKS)
        if reason := available(device):
            raise KernelUnavailable(reason)
        if dtype not in _TYPES or part > _LARGEST or vocabulary < COUNT:
            raise KernelUnavailable(f"There is no kernel for {vocabulary} logits in {dtype}.")
        capacity = max(_SMALLEST, 1 << (part - 1).bit_length())
        options = (
            f"-DBLOCKS={_BLOCKS}",
            f"-DCAPACITY={capacity}",
            f"-DCOUNT={COUNT}",
            f"-DLOGIT={_TYPES[dtype]}",
        )
        source = Source.of("prelude.cuh", "sampling.cu", options=options)
        self._kernel = source.kernel("draw", _SIGNATURE, device=device)
        self._shared = 8 * (3 * capacity + 1)
        units = torch.cuda.get_device_properties(device).multi_processor_count
        if units * self._kernel.blocks_per_multiprocessor(_THREADS, self._shared) < _BLOCKS:
            raise KernelUnavailable("The GPU can't hold all blocks of the draw at once.")
        self._scratch = torch.zeros(_SCRATCH_BYTES, dtype=torch.uint8, device=device)
        self._vocabulary, self._dtype, self._device = vocabulary, dtype, device
        self._record = torch.zeros(Record(COUNT).size, dtype=torch.float64, device=device)
        self._try()

    def draw(self, logits: Tensor, controls: ControlBuffers, token: Tensor, own_bias: Tensor) -> Tensor:
        """Draw a token and take it into the controls' history.

        Args:
            logits: (vocabulary,), contiguous.
            controls: What acts; history and number of the draw move on.
            token: (1,) int64, is set.
            own_bias: (1,) float32, is set.

        Returns:
            The record (:attr:`Record.size`,) float64, in a buffer of the kernel's own.
        """
        self._kernel(
            logits,
            self._vocabulary,
            controls.numbers,
            controls.whole,
            controls.bias,
            controls.seen,
            controls.counts,
            token,
            own_bias,
            self._record,
            self._scratch,
            grid=(_BLOCKS,),
            block=(_THREADS,),
            shared=self._shared,
        )
        return self._record

    def _try(self) -> None:
        """Draw a few times beside the plain function."""
        token = torch.zeros(1, dtype=torch.long, device=self._device)
        own_bias = torch.zeros(1, device=self._device)
        for number, controls in enumerate(_trials(self._vocabulary, self._device)):
            generator = torch.Generator(self._device).manual_seed(number)
            logits = torch.randn(self._vocabulary, generator=generator, device=self._device) * 3.0
            logits = logits.to(self._dtype)
            expected_token, expected, _ = sample(logits, controls, COUNT)
            got = self.draw(logits, controls, token, own_bias)
            if difference := _difference(got, expected, token, expected_token):
                raise KernelError(f"The draw differs from the plain one in trial {number}: {difference}.")


def _trials(vocabulary: int, device: torch.device) -> Iterator[ControlBuffers]:
    plain = SamplingControls(temperature=0.8, top_p=0.9, seed=1)
    for controls in (
        plain,
        replace(plain, temperature=0.0),
        replace(plain, top_p=1.0),
        replace(plain, top_k=40, min_p=0.02, repetition_penalty=1.3, frequency_penalty=0.2),
    ):
        buffers = ControlBuffers(vocabulary, device)
        buffers.set_controls(controls)
        buffers.set_history(range(10), [3, 3, 5])
        buffers.restart(RandomStream(1))
        yield buffers


def _difference(got: Tensor, expected: Tensor, token: Tensor, expected_token: Tensor) -> str:
    if not torch.equal(token, expected_token):
        return f"token {token.item()}, not {expected_token.item()}"
    # Tokens of equal probability may change places among the candidates; the chosen one's column may not.
    head, columns = got[:8], got[8:].view(8, -1)
    expected_head, expected_columns = expected[:8], expected[8:].view(8, -1)
    pairs = {
        "totals and masses": (head, expected_head),
        "chosen token": (columns[:, -1], expected_columns[:, -1]),
        "log-probabilities": (columns[1], expected_columns[1]),
        "probabilities": (columns[2], expected_columns[2]),
    }
    for name, (one, other) in pairs.items():
        error = float((one - other).abs().max())
        if not error < 1e-3:
            return f"{name} by {error:.2g}"
    return ""


def draw_kernel(vocabulary: int, dtype: torch.dtype, device: torch.device) -> DrawKernel | None:
    """The kernel where there is one that gives what the plain function does."""
    try:
        return DrawKernel(vocabulary, dtype, device)
    except KernelUnavailable as error:
        _log.info("Tokens are drawn without a kernel: %s", error)
    except KernelError as error:
        _log.warning("Tokens are drawn without a kernel: %s", error)
    return None
