"""A run's two moving parts: whether it is cancelled, and the controls that act on its next token."""

from __future__ import annotations

import itertools
import threading

from inference.errors import RunCancelled
from inference.events import SamplingControls

_run_ids = itertools.count(1)


def new_run_id() -> int:
    """A number that no other run of this process has."""
    return next(_run_ids)


class RunHandle:
    """Shared by the thread that asks for a run and the thread that does it.

    The asker cancels and swaps the controls; the run looks at both between tokens and between batches. The
    controls are an immutable snapshot behind one attribute, so a swap is atomic and the run never sees half
    of a change.
    """

    def __init__(self, run_id: int, controls: SamplingControls | None = None) -> None:
        self.run_id = run_id
        self.controls = controls if controls is not None else SamplingControls()
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Ask the run to stop; it ends in ``Cancelled`` at its next look."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether the run was asked to stop."""
        return self._cancelled.is_set()

    def check(self) -> None:
        """Raise :class:`RunCancelled` if the run was asked to stop."""
        if self._cancelled.is_set():
            raise RunCancelled
