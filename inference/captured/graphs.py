"""Work of fixed shapes and addresses, done over and over: by replaying a CUDA graph, or by calling it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import torch

from inference.errors import InferenceError


class CaptureFailed(Exception):
    """The work can't be held in a graph; says why. What it has written so far is of no use."""


#: Runs the work once more.
Replay = Callable[[], None]


class Graphs:
    """Captures work into graphs that share one memory pool.

    Args:
        device: A CPU has no graphs: there the work is called, which is also how it is tested.
        captures: False calls the work on a GPU too.

    Attributes:
        bytes: Memory that the graphs' pool has taken.
    """

    def __init__(self, device: torch.device, *, captures: bool = True) -> None:
        self.device = device
        self.captures = captures and device.type == "cuda"
        self._pool: Any = None
        self.bytes = 0

    def capture(self, work: Callable[[], None]) -> Replay:
        """Do the work a few times and hold it; returns what does it again.

        Raises:
            CaptureFailed: It can't be captured: it waits for the device, or asks it for a value.
            torch.OutOfMemoryError: The GPU has no room for it.
        """
        try:
            return self._captured(work) if self.captures else self._called(work)
        except (torch.OutOfMemoryError, InferenceError):
            raise
        except Exception as error:  # a model may fail with anything where shapes are not what it expects
            if self.captures:
                with contextlib.suppress(RuntimeError):
                    torch.cuda.synchronize(self.device)
            raise CaptureFailed(f"{type(error).__name__}: {error}".splitlines()[0]) from None

    @staticmethod
    def _called(work: Callable[[], None]) -> Replay:
        work()
        return work

    def _captured(self, work: Callable[[], None]) -> Replay:
        with torch.cuda.device(self.device):
            stream, current = _capture_stream(torch.cuda.current_device()), torch.cuda.current_stream()
            stream.wait_stream(current)
            with torch.cuda.stream(stream):
                for _ in range(2):  # libraries choose their algorithms and allocate at the first calls
                    work()
            current.wait_stream(stream)
            graph = self._begun_and_ended(work, stream)
            self._pool = graph.pool()
            self.bytes = _pool_bytes(self._pool)
        return graph.replay

    def _begun_and_ended(self, work: Callable[[], None], stream: torch.cuda.Stream) -> torch.cuda.CUDAGraph:
        """The work in a graph. Where it fails, ``torch.cuda.graph`` leaves the capture's stream the current
        one, and its pool open: both are put right.
        """
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        pool = self._pool if self._pool is not None else torch.cuda.graph_pool_handle()
        try:
            # Other threads may go on using the GPU: the monitor asks for its memory, an embedder computes.
            with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
                work()
        except BaseException:
            torch.cuda.set_stream(current)
            _close_pool(torch.cuda.current_device(), pool)
            raise
        return graph

    def settle(self) -> None:
        """Wait until no graph runs any more, so that they can be let go."""
        if self.captures:
            torch.cuda.synchronize(self.device)

    def drop(self) -> None:
        """The graphs are gone; so is their pool."""
        self._pool, self.bytes = None, 0


@functools.cache
def _capture_stream(device: int) -> torch.cuda.Stream:
    """One stream for all captures on a device: cuBLAS keeps 32 MB for every stream that it has seen."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _close_pool(device: int, pool: Any) -> None:
    """Let the allocator no longer think that a capture is under way."""
    end = getattr(torch._C, "_cuda_endAllocateToPool", None)
    if end is not None:
        with contextlib.suppress(RuntimeError):
            end(device, pool)


def _pool_bytes(pool: Any) -> int:
    """Memory that a graphs' pool holds."""
    segments = torch.cuda.memory_snapshot()  # type: ignore[no-untyped-call]
    return sum(
        int(each["total_size"]) for each in segments if tuple(each.get("segment_pool_id", ())) == tuple(pool)
    )
