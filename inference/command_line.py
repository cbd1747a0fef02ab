"""What the commands of ``python -m inference`` share: arguments of models, JSON lines, Ctrl+C."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from inference.errors import InferenceError
from inference.events import (
    AdaptersChanged,
    AttachAdapterRequest,
    Cancelled,
    Event,
    Failed,
    LoadRequest,
    ModelLoaded,
    Request,
    SamplingControls,
    Secret,
    to_json,
)
from inference.remote.address import is_remote
from inference.running import RunHandle, new_run_id
from inference.session import Session

CANCELLED = 130


class RunFailed(Exception):
    """A run ended in Failed or Cancelled; the command stops with ``status``."""

    def __init__(self, event: Event) -> None:
        super().__init__(event)
        self.event = event
        self.status = CANCELLED if isinstance(event, Cancelled) else 1


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """``--model`` and how to load it."""
    parser.add_argument(
        "--model",
        default="builtin",
        help='"builtin", a folder, a GGUF file, a hub id, or a server\'s model: openai:URL#NAME (its key is '
        "taken from MODEL_LOUPE_API_KEY)",
    )
    parser.add_argument(
        "--quantization", choices=["none", "bf16", "fp16", "int8", "nf4", "fp4"], default="none"
    )
    parser.add_argument(
        "--int8",
        choices=["weight-only", "llm-int8"],
        default="weight-only",
        help="what int8 layers compute on a GPU; llm-int8 is bitsandbytes' own, which is slower",
    )
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--context-length", type=at_least(1), default=None, metavar="N")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def at_least(lowest: int) -> Callable[[str], int]:
    """A type for argparse: a whole number that is not below ``lowest``."""

    def number(text: str) -> int:
        value = int(text)
        if value < lowest:
            raise argparse.ArgumentTypeError(f"{value} is less than {lowest}")
        return value

    return number


def add_adapter_arguments(parser: argparse.ArgumentParser) -> None:
    """``--adapter``, for commands that work on the model with its adapters."""
    parser.add_argument(
        "--adapter",
        action="append",
        default=[],
        type=_adapter,
        metavar="DIR[=SCALE]",
        help="a LoRA folder to put on the model, at 1 or another scale; may be repeated",
    )


def _adapter(text: str) -> tuple[str, float]:
    """A folder that may itself hold an "=", and the scale behind the last one."""
    folder, equals, scale = text.rpartition("=")
    if not equals or "/" in scale:
        return text, 1.0
    try:
        return folder, float(scale)
    except ValueError:
        return text, 1.0


def print_json(value: Any, stream: TextIO | None = None) -> None:
    """One line of JSON, at once."""
    print(json.dumps(to_json(value), ensure_ascii=False), file=stream or sys.stdout, flush=True)


def print_event(event: Event, *, as_json: bool) -> None:
    """An event for a program (JSON), or its text for a person; failures go to stderr."""
    if isinstance(event, Failed):
        if as_json:
            print_json(event, sys.stderr)
        else:
            print(f"{event.message}\n{event.hint}", file=sys.stderr)
    elif as_json:
        print_json(event)


@contextmanager
def cancelled_by_interrupt(handle: RunHandle) -> Iterator[None]:
    """Within the block Ctrl+C cancels the run; a second one ends the program as usual."""

    def cancel(*_: object) -> None:
        handle.cancel()
        signal.signal(signal.SIGINT, previous)

    previous = signal.signal(signal.SIGINT, cancel)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def run_events(
    session: Session, request: Request, controls: SamplingControls | None = None
) -> Iterator[Event]:
    """The events of a run, the end included if it is Finished.

    Raises:
        RunFailed: It ended otherwise.
    """
    handle = RunHandle(request.run_id, controls)
    with cancelled_by_interrupt(handle):
        for event in session.run(request, handle):
            if isinstance(event, (Failed, Cancelled)):
                raise RunFailed(event)
            yield event


def load_model(session: Session, arguments: argparse.Namespace) -> float:
    """Load what ``add_model_arguments`` asked for, adapters included; returns the seconds of the load.

    Raises:
        RunFailed: It can't be loaded, or an adapter does not fit.
    """
    request = LoadRequest(
        run_id=new_run_id(),
        model=arguments.model,
        quantization=arguments.quantization,
        int8=arguments.int8,
        device=arguments.device,
        context_length=arguments.context_length,
        key=_key(arguments.model),
    )
    seconds = 0.0
    for event in run_events(session, request):
        if isinstance(event, ModelLoaded):
            seconds = event.seconds
    for folder, scale in getattr(arguments, "adapter", ()):
        for event in run_events(
            session, AttachAdapterRequest(run_id=new_run_id(), adapter=folder, scale=scale)
        ):
            if arguments.json and isinstance(event, AdaptersChanged):
                print_event(event, as_json=True)
    return seconds


def _key(model: str) -> Secret:
    """The key for a model on a server; of no use to any other."""
    return Secret(os.environ.get("MODEL_LOUPE_API_KEY", "") if is_remote(model) else "")


def report(failure: RunFailed, *, as_json: bool) -> int:
    """Print how a run ended; returns the exit status."""
    print_event(failure.event, as_json=as_json)
    return failure.status


def report_error(error: InferenceError, *, as_json: bool) -> int:
    """Print an error that came up outside of a run; returns the exit status."""
    failed = Failed(run_id=0, kind=error.kind, message=error.message, hint=error.hint, details=error.details)
    print_event(failed, as_json=as_json)
    return 1
