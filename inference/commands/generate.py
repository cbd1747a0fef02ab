"""Continue a chat or a text, token by token.

Without --json the text is printed as it comes; with it, the events of the run:
{"event": "token", "index", "id", "text", "raw_logprob", "sampled_prob", "entropy", "candidates", ...} ...
then {"event": "finished", "reason", "text", "prompt_tokens", "new_tokens", "seconds", "tokens_per_second",
"memory"}.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

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
from inference.events import (
    AttentionControl,
    DraftLoaded,
    Event,
    Finished,
    GenerateRequest,
    LoadDraftRequest,
    Message,
    SamplingControls,
    Token,
)
from inference.running import new_run_id
from inference.session import Session

_DEFAULTS = SamplingControls()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to continue, and every control."""
    add_model_arguments(parser)
    add_adapter_arguments(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--prompt", metavar="TEXT", help="raw text to continue")
    what.add_argument("--chat", metavar="TEXT", help="a user's message to answer")
    parser.add_argument("--system", metavar="TEXT", help="system prompt for --chat")
    parser.add_argument("--max-new-tokens", type=at_least(0), default=_DEFAULTS.max_new_tokens, metavar="N")
    parser.add_argument("--temperature", type=float, default=_DEFAULTS.temperature, metavar="F")
    parser.add_argument("--top-p", type=float, default=_DEFAULTS.top_p, metavar="F")
    parser.add_argument("--top-k", type=int, default=_DEFAULTS.top_k, metavar="N")
    parser.add_argument("--min-p", type=float, default=_DEFAULTS.min_p, metavar="F")
    parser.add_argument("--repetition-penalty", type=float, default=1.0, metavar="F")
    parser.add_argument("--frequency-penalty", type=float, default=0.0, metavar="F")
    parser.add_argument("--presence-penalty", type=float, default=0.0, metavar="F")
    parser.add_argument("--seed", type=int, default=None, metavar="N")
    parser.add_argument("--stop", action="append", default=[], metavar="TEXT", help="may be repeated")
    parser.add_argument(
        "--logit-bias", action="append", default=[], type=_bias, metavar="ID:BIAS", help="may be repeated"
    )
    parser.add_argument(
        "--candidates", type=at_least(0), default=20, metavar="K", help="alternatives to record"
    )
    parser.add_argument(
        "--control",
        action="append",
        default=[],
        type=_control,
        metavar="START:END:FACTOR",
        help="scale attention to characters of the prompt (of the message with --chat); may be repeated",
    )
    parser.add_argument("--score-prompt", action="store_true", help="also score the prompt's tokens")
    parser.add_argument(
        "--prompt-lookup", action="store_true", help="guess ahead from the prompt's own words"
    )
    parser.add_argument(
        "--draft-model", metavar="M", help="a small model of the same vocabulary that guesses ahead"
    )
    parser.add_argument("--token-healing", action="store_true", help="re-tokenize the end of --prompt")


def run(arguments: argparse.Namespace) -> int:
    """Load the model and generate; returns the exit status."""
    if arguments.system is not None and arguments.chat is None:
        arguments.refuse("--system goes with --chat")
    if arguments.token_healing and arguments.prompt is None:
        arguments.refuse("--token-healing goes with --prompt")
    session = Session()
    request = _request(arguments)
    try:
        seconds = load_model(session, arguments)
        if arguments.draft_model is not None:
            _load_draft(session, arguments)
        for event in run_events(session, request, request.controls):
            _show(event, seconds, as_json=arguments.json)
    except RunFailed as failure:
        return report(failure, as_json=arguments.json)
    return 0


def _load_draft(session: Session, arguments: argparse.Namespace) -> None:
    wanted = LoadDraftRequest(
        run_id=new_run_id(),
        model=arguments.draft_model,
        quantization=arguments.quantization,
        device=arguments.device,
        context_length=arguments.context_length,
    )
    for event in run_events(session, wanted):
        if isinstance(event, DraftLoaded) and arguments.json:
            print_event(event, as_json=True)


def _show(event: Event, load_seconds: float, *, as_json: bool) -> None:
    if isinstance(event, Finished):
        event = replace(event, seconds=replace(event.seconds, load=load_seconds))
    if as_json:
        print_event(event, as_json=True)
    elif isinstance(event, Token):
        sys.stdout.write(event.text)
        sys.stdout.flush()
    elif isinstance(event, Finished):
        print(
            f"\n[{event.new_tokens} tokens, {event.tokens_per_second:.1f}/s, {event.reason}]", file=sys.stderr
        )


def _request(arguments: argparse.Namespace) -> GenerateRequest:
    messages: tuple[Message, ...] = ()
    if arguments.chat is not None:
        system = [Message(role="system", content=arguments.system)] if arguments.system else []
        messages = (*system, Message(role="user", content=arguments.chat))
    number = len(messages) - 1 if messages else None
    return GenerateRequest(
        run_id=new_run_id(),
        messages=messages,
        prompt=arguments.prompt,
        controls=SamplingControls(
            temperature=arguments.temperature,
            top_p=arguments.top_p,
            top_k=arguments.top_k,
            min_p=arguments.min_p,
            repetition_penalty=arguments.repetition_penalty,
            frequency_penalty=arguments.frequency_penalty,
            presence_penalty=arguments.presence_penalty,
            seed=arguments.seed,
            max_new_tokens=arguments.max_new_tokens,
            stop=tuple(arguments.stop),
            logit_bias=tuple(arguments.logit_bias),
            attention=tuple(replace(control, message=number) for control in arguments.control),
        ),
        candidates=arguments.candidates,
        score_prompt=arguments.score_prompt,
        token_healing=arguments.token_healing,
        prompt_lookup=arguments.prompt_lookup,
        draft=arguments.draft_model is not None,
    )


def _control(text: str) -> AttentionControl:
    try:
        start, end, factor = text.split(":")
        return AttentionControl(start=int(start), end=int(end), factor=float(factor))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not START:END:FACTOR") from None


def _bias(text: str) -> tuple[int, float]:
    try:
        token, bias = text.split(":")
        return int(token), float(bias)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not ID:BIAS") from None
