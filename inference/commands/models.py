"""List the models on this computer, or describe one.

With --json: {"event": "models", "entries": [{"source", "name", "origin", "size", "problem"}]}; with --inspect
MODEL: {"event": "model", "info": {...}, "estimate": {"device", "weights", "kv_cache", "overhead", "free"}}.
"""

from __future__ import annotations

import argparse

from inference.command_line import RunFailed, at_least, print_event, report, run_events
from inference.events import Event, InspectRequest, ListModelsRequest, ModelInspected, ModelsListed, Request
from inference.running import new_run_id
from inference.session import Session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to look, or what to describe."""
    parser.add_argument(
        "--folder", action="append", default=[], metavar="DIR", help="also look here; may be repeated"
    )
    parser.add_argument("--inspect", metavar="MODEL", help="describe this model instead of listing")
    parser.add_argument(
        "--quantization", choices=["none", "bf16", "fp16", "int8", "nf4", "fp4"], default="none"
    )
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--context-length", type=at_least(1), default=None, metavar="N")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def run(arguments: argparse.Namespace) -> int:
    """List or describe; returns the exit status."""
    request: Request = ListModelsRequest(run_id=new_run_id(), folders=tuple(arguments.folder))
    if arguments.inspect is not None:
        request = InspectRequest(
            run_id=new_run_id(),
            model=arguments.inspect,
            quantization=arguments.quantization,
            device=arguments.device,
            context_length=arguments.context_length,
        )
    try:
        for event in run_events(Session(), request):
            _show(event, as_json=arguments.json)
    except RunFailed as failure:
        return report(failure, as_json=arguments.json)
    return 0


def _show(event: Event, *, as_json: bool) -> None:
    if as_json:
        if isinstance(event, (ModelsListed, ModelInspected)):
            print_event(event, as_json=True)
    elif isinstance(event, ModelsListed):
        for entry in event.entries:
            print(f"{entry.origin:8} {entry.size / 1e9:8.2f} GB  {entry.source}  {entry.problem}".rstrip())
    elif isinstance(event, ModelInspected):
        info, estimate = event.info, event.estimate
        print(f"{info.name}: {info.architecture}, {info.parameters:,} parameters in {info.stored_dtype}")
        print(f"context {info.context_length:,} tokens, licence {info.licence or 'unknown'}")
        print(
            f"weights {estimate.weights / 1e9:.2f} GB + cache {estimate.kv_cache / 1e9:.2f} GB + "
            f"{estimate.overhead / 1e9:.2f} GB, {estimate.free / 1e9:.2f} GB free on {estimate.device}"
        )
