"""Measure a model: how well it foretells a text.

With --json: {"event": "perplexity", "perplexity", "nats_per_token", "bits_per_byte", "tokens", "window",
"stride", "seconds"}.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from inference.command_line import (
    RunFailed,
    add_model_arguments,
    at_least,
    load_model,
    print_event,
    report,
    report_error,
    run_events,
)
from inference.errors import UnreadableFile
from inference.events import Event, PerplexityMeasured, PerplexityRequest
from inference.running import RunHandle, new_run_id
from inference.session import Session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to measure, and on which text."""
    measures = parser.add_subparsers(dest="measure", required=True, metavar="MEASURE")
    perplexity = measures.add_parser("perplexity", allow_abbrev=False, help="of a text, by strided windows")
    add_model_arguments(perplexity)
    perplexity.add_argument("--text-file", required=True, type=Path, metavar="F", help="a UTF-8 text")
    perplexity.add_argument(
        "--window", type=at_least(2), default=None, metavar="N", help="tokens that are read at once"
    )
    perplexity.add_argument(
        "--stride", type=at_least(1), default=None, metavar="N", help="tokens between two windows"
    )


def run(arguments: argparse.Namespace) -> int:
    """Load the model and measure; returns the exit status."""
    try:
        text = arguments.text_file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        unreadable = UnreadableFile(f"{arguments.text_file} can't be read as UTF-8 text.", details=str(error))
        return report_error(unreadable, as_json=arguments.json)
    session = Session()
    session.handlers[PerplexityRequest] = measure_perplexity
    request = PerplexityRequest(
        run_id=new_run_id(), text=text, window=arguments.window, stride=arguments.stride
    )
    try:
        load_model(session, arguments)
        for event in run_events(session, request):
            _show(event, as_json=arguments.json)
    except RunFailed as failure:
        return report(failure, as_json=arguments.json)
    return 0


def measure_perplexity(session: Session, request: PerplexityRequest, handle: RunHandle) -> Iterator[Event]:
    """The session's answer to a PerplexityRequest -> Progress ..., PerplexityMeasured."""
    from inference.inspection import perplexity

    yield from perplexity.measure(session.require_engine().loaded, request, handle)


def _show(event: Event, *, as_json: bool) -> None:
    if isinstance(event, PerplexityMeasured):
        if as_json:
            print_event(event, as_json=True)
        else:
            print(
                f"perplexity {event.perplexity:.3f} ({event.nats_per_token:.4f} nats/token, "
                f"{event.bits_per_byte:.4f} bits/byte, {event.tokens:,} tokens, {event.seconds:.1f} s)"
            )
