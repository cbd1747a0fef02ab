"""Which kind of steps a run takes."""

from __future__ import annotations

import logging

from torch import Tensor

from inference.captured.graphs import CaptureFailed
from inference.captured.steps import CapturedSteps
from inference.engine import Engine
from inference.steps import PlainSteps, RunState, Steps

_log = logging.getLogger(__name__)


def captures(engine: Engine, state: RunState) -> bool:
    """Whether a run can take captured steps now."""
    return engine.runner is not None and not _why_plain(engine, state)


def steps_for(engine: Engine, state: RunState, logits: Tensor) -> tuple[Steps, str]:
    """Captured steps where that is possible, or plain ones and why; the reason is empty where nothing else is
    to be expected.

    Raises:
        InvalidRequest: A control is out of its range.
        torch.OutOfMemoryError: There is no memory for the step.
    """
    runner = engine.runner
    reason = engine.runner_reason if runner is None else _why_plain(engine, state)
    if runner is not None and not reason:
        try:
            return CapturedSteps(runner, state, logits), ""
        except CaptureFailed as error:
            runner.failure = reason = str(error)
            _log.warning("The decode step is not captured: %s", error)
    return PlainSteps(state, logits), reason


def _why_plain(engine: Engine, state: RunState) -> str:
    runner = engine.runner
    assert runner is not None
    if runner.failure:
        return runner.failure
    steering = state.reading.steering
    options = state.controls.steering
    if steering.neutral and options.entropy_threshold is None:
        return ""
    if options.mode != "log-additive":
        return "attention scores are multiplied, which the captured step can't do"
    if options.layers is not None:
        return "attention factors act in some layers only, which the captured step can't do"
    return ""
