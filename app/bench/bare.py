"""The same decode loop in a bare script, and ``transformers.generate`` beside it: no Qt, no thread."""

from __future__ import annotations

import argparse
import json
import sys

from app.bench.endless import Endless
from inference.events import Finished, GenerateRequest, LoadRequest, Message, SamplingControls
from inference.running import RunHandle, new_run_id

PROMPT = "Tell a long story about a lighthouse keeper, a storm and a lost ship."


def controls(tokens: int) -> SamplingControls:
    """Ordinary sampling, so many tokens."""
    return SamplingControls(temperature=0.8, top_p=0.95, seed=7, max_new_tokens=tokens)


def decode_rate(model: str, tokens: int, repeats: int) -> list[float]:
    """Tokens per second of ``Session.run``, one figure a repeat."""
    session = Endless()
    for event in session.run(LoadRequest(run_id=new_run_id(), model=model), RunHandle(0)):
        if event.event == "failed":
            raise SystemExit(str(event))
    return [reply_rate(session, tokens) for _ in range(repeats + 1)][1:]


def reply_rate(session: Endless, tokens: int) -> float:
    """Tokens per second of one reply to which nobody listens, as :class:`Finished` tells them."""
    acting = controls(tokens)
    request = GenerateRequest(
        run_id=new_run_id(), messages=(Message(role="user", content=PROMPT),), controls=acting
    )
    for event in session.run(request, RunHandle(request.run_id, acting)):
        if isinstance(event, Finished) and event.new_tokens == tokens:
            return event.tokens_per_second
    raise SystemExit(f"a reply was not {tokens} tokens long")


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(json.dumps({"rates": decode_rate(options.model, options.tokens, options.repeats)}))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
