"""Work of fixed shapes and addresses, done over and over: by replaying a CUDA graph, or by calling it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch


class CaptureFailed(Exception):
    """The work can't be held in a graph; says why. What it has written so far is of no use."""


#: Runs the work once more.
Replay = Callable[[], None]


class Graphs:
    """Captures work into graphs that share one memory pool.

    Args:
        device: A CPU has no graphs: there the work is called, which is also how it is tested.
        captures: False calls the work on a GPU too.
    """

    def __init__(self, device: torch.device, *, captures: bool = True) -> None:
        self.device = device
        self.captures = captures and device.type == "cuda"
        self._pool: tuple[int, int] | None = None

    def capture(self, work: Callable[[], None]) -> Replay:
        """Do the work a few times and hold it; returns what does it again.

        Raises:
            CaptureFailed: It can't be captured: it waits for the device, or asks it for a value.
            torch.OutOfMemoryError: The GPU has no room for it.
        """
        if not self.captures:
            work()
            return work
        try:
            return self._captured(work)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            with contextlib.suppress(RuntimeError):
                torch.cuda.synchronize(self.device)
            raise CaptureFailed(f"{type(error).__name__}: {error}".splitlines()[0]) from None

    def _captured(self, work: Callable[[], None]) -> Replay:
        with torch.cuda.device(self.device):
            stream, current = torch.cuda.Stream(), torch.cuda.current_stream()
            stream.wait_stream(current)
            with torch.cuda.stream(stream):
                for _ in range(2):  # libraries choose their algorithms and allocate at the first calls
                    work()
            current.wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool, stream=stream):
                work()
            self._pool = graph.pool()
        return graph.replay

    def drop(self) -> None:
        """The graphs are gone; so is their pool."""
        self._pool = None
