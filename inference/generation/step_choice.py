"""Which kind of steps a run takes."""

from __future__ import annotations

import logging

from torch import Tensor

from inference.captured.graphs import CaptureFailed
from inference.captured.steps import CapturedSteps
from inference.engine import Engine
from inference.generation.steps import PlainSteps, RunState, Steps

_log = logging.getLogger(__name__)


def steps_for(engine: Engine, state: RunState, logits: Tensor) -> tuple[Steps, str]:
    """Captured steps where that is possible, or plain ones and why; the reason is empty where nothing else is
    to be expected.

    Raises:
        InvalidRequest: A control is out of its range.
        torch.OutOfMemoryError: There is no memory for the step.
    """
    runner = engine.runner
    reason = engine.runner_reason if runner is None else runner.failure
    if runner is not None and not reason:
        try:
            return CapturedSteps(runner, state, logits), ""
        except CaptureFailed as error:
            runner.failure = reason = str(error)
            _log.warning("The decode step is not captured: %s", error)
    return PlainSteps(state, logits), reason
