"""Sessions as the worker threads make them; the slow imports happen in here, behind the painted window."""

from __future__ import annotations

import os

from app.worker import SessionLike


def make_engine() -> SessionLike:
    """The session that loads models and writes replies; it leaves a core to the window."""
    import torch

    from inference.session import Session

    torch.set_num_threads(max(1, usable_cores() - 1))
    return Session()


def make_librarian() -> SessionLike:
    """A session for catalogs and downloads: it never holds a model."""
    from inference.session import Session

    return Session()


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
