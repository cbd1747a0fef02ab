"""Which parts of a prompt carried a target.

Prints {"event": "explanation", "method", "segments": [{"text", "start", "end", ...}], "targets": [...],
"scores": [[...]], "forward_passes", "seconds", ...} after the events of the run; start and end are
character offsets into the prompt, positive scores support the target. Without --json: a ranked list.
"""

from __future__ import annotations

import argparse

from inference.command_line import (
    RunFailed,
    add_adapter_arguments,
    add_model_arguments,
    at_least,
    load_model,
    print_event,
    report,
    run_events,
)
from inference.events import Event, ExplainRequest, Explanation, Message, Setting
from inference.running import new_run_id
from inference.session import Session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to explain, and how."""
    add_model_arguments(parser)
    add_adapter_arguments(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--prompt", metavar="TEXT", help="raw text that comes before the target")
    what.add_argument("--chat", metavar="TEXT", help="a user's message; the target is in the reply")
    parser.add_argument("--system", metavar="TEXT", help="system prompt for --chat")
    parser.add_argument("--target", metavar="TEXT", required=True, help="text whose prediction is explained")
    parser.add_argument("--method", default="atman", metavar="NAME", help="default: %(default)s")
    parser.add_argument(
        "--granularity",
        choices=["auto", "token", "word", "sentence", "paragraph", "source", "message"],
        default="auto",
    )
    parser.add_argument("--target-granularity", choices=["complete", "token"], default="complete")
    parser.add_argument("--include-special", action="store_true", help="also score special tokens")
    parser.add_argument("--factor", type=float, default=0.1, metavar="F")
    parser.add_argument("--mode", choices=["log-additive", "multiplicative"], default="log-additive")
    parser.add_argument("--layers", type=_layers, metavar="FIRST:LAST", help="default: all")
    parser.add_argument("--similarity-threshold", type=float, metavar="F", help="also suppress related words")
    parser.add_argument("--postprocessing", choices=["none", "absolute", "square"], default="none")
    parser.add_argument(
        "--contrast", type=int, metavar="ID", help="explain why the target and not this token"
    )
    parser.add_argument(
        "--setting", type=_setting, action="append", default=[], metavar="NAME=VALUE", help="of the method"
    )
    parser.add_argument(
        "--memory-budget", type=at_least(1), metavar="BYTES", help="for a batch; default: adapts"
    )
    parser.add_argument("--preview", action="store_true", help="show first-order estimates first")
    parser.add_argument("--estimate", action="store_true", help="only say what it would cost")


def run(arguments: argparse.Namespace) -> int:
    """Load the model and explain; returns the exit status."""
    if arguments.system is not None and arguments.chat is None:
        arguments.refuse("--system goes with --chat")
    session = Session()
    try:
        load_model(session, arguments)
        for event in run_events(session, request_from(arguments)):
            if arguments.json:
                print_event(event, as_json=True)
            else:
                _show(event)
    except RunFailed as failure:
        return report(failure, as_json=arguments.json)
    return 0


def request_from(arguments: argparse.Namespace) -> ExplainRequest:
    """The request that the arguments ask for."""
    messages: tuple[Message, ...] = ()
    if arguments.chat is not None:
        system = [Message(role="system", content=arguments.system)] if arguments.system else []
        messages = (*system, Message(role="user", content=arguments.chat))
    return ExplainRequest(
        run_id=new_run_id(),
        method=arguments.method,
        messages=messages,
        prompt=arguments.prompt,
        target=arguments.target,
        granularity=arguments.granularity,
        target_granularity=arguments.target_granularity,
        include_special=arguments.include_special,
        factor=arguments.factor,
        mode=arguments.mode,
        layers=arguments.layers,
        similarity_threshold=arguments.similarity_threshold,
        postprocessing=arguments.postprocessing,
        contrast_id=arguments.contrast,
        settings=tuple(arguments.setting),
        memory_budget=arguments.memory_budget,
        preview=arguments.preview,
        estimate_only=arguments.estimate,
    )


def _show(event: Event) -> None:
    if not isinstance(event, Explanation):
        return
    for target, row in zip(event.targets, event.scores, strict=True):
        print(f"{target.text!r}  log-probability {target.logprob:.3f} nats")
        known = [
            (score, segment) for score, segment in zip(row, event.segments, strict=True) if score is not None
        ]
        for score, segment in sorted(known, key=lambda pair: -abs(pair[0])):
            print(f"  {score:+9.4f}  {segment.start}:{segment.end}  {segment.text!r}")
    print(f"{event.forward_passes} forward passes, {event.seconds:.2f} s")


def _layers(text: str) -> tuple[int, int]:
    try:
        first, last = map(int, text.split(":"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not FIRST:LAST") from None
    return first, last


def _setting(text: str) -> tuple[str, Setting]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    if value in ("true", "false"):
        return name, value == "true"
    for number in (int, float):
        try:
            return name, number(value)
        except ValueError:
            continue
    return name, value
