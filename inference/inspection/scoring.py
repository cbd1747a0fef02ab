"""Probabilities of given text: what the model thought of each token of a prompt or of a reply that is read
again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from typing import Any

from inference.detokenizing import TokenTable
from inference.engine import Engine, Reading
from inference.events import Candidate, Event, Finished, PromptScored, ScoredToken, ScoreRequest, Seconds
from inference.generation.prefix import PositionScore, Prefix
from inference.passes.forward import KeyFactors
from inference.passes.steered_forward import prompt_factors
from inference.prompts import Prompt, build_prompt
from inference.running import RunHandle


def score(engine: Engine, request: ScoreRequest, handle: RunHandle) -> Generator[Event, Any, None]:
    """One prefill over a text -> Progress ..., PromptScored, Finished.

    Raises:
        InferenceError: The request is refused.
        RunCancelled: The run was cancelled.
    """
    began = time.perf_counter()
    prompt = build_prompt(engine.loaded, engine.table, request)
    reading = Reading(engine, handle, engine.take_prefix(), _key_factors(engine, prompt, request))
    try:
        reused = reading.reuse(prompt.ids, scored=request.candidates)
        yield from reading.prefill(prompt.ids, scored=request.candidates)
    finally:
        engine.put_back(reading.prefix)
    tokens = scored_tokens(prompt, reading.prefix, engine.table, request.candidates, handle)
    yield PromptScored(run_id=request.run_id, tokens=tokens)
    yield Finished(
        run_id=request.run_id,
        reason="done",
        prompt_tokens=len(prompt.ids),
        reused_tokens=reused,
        seconds=Seconds(prefill=time.perf_counter() - began),
        memory=engine.memory(),
    )


def _key_factors(engine: Engine, prompt: Prompt, request: ScoreRequest) -> KeyFactors:
    """The attention factors that the text is read under."""
    model: Any = engine.loaded.model
    factors = prompt_factors(
        prompt.absolute(request.attention),
        request.steering,
        spans=prompt.offsets,
        ids=prompt.ids,
        text=prompt.text,
        embeddings=model.get_input_embeddings().weight,
    )
    return KeyFactors(factors, request.steering)


def scored_tokens(
    prompt: Prompt, prefix: Prefix, table: TokenTable, candidates: int, handle: RunHandle
) -> tuple[ScoredToken, ...]:
    """The prompt's tokens with what is known of each; their texts add up to the prompt's.

    Raises:
        RunCancelled: The run was cancelled; a long prompt has some 100,000 candidates to put together.
    """
    tokens = []
    for index, (token, span) in enumerate(zip(prompt.ids, prompt.spans, strict=True)):
        handle.check()
        tokens.append(_scored_token(index, token, span, prefix.scores.get(index), table, candidates))
    return tuple(tokens)


def _scored_token(
    index: int, token: int, span: str, known: PositionScore | None, table: TokenTable, candidates: int
) -> ScoredToken:
    if known is None:
        return ScoredToken(
            index=index, id=token, text=span, data=table.data(token), special=table.is_special(token)
        )
    return ScoredToken(
        index=index,
        id=token,
        text=span,
        data=table.data(token),
        special=table.is_special(token),
        raw_logprob=known.raw_logprob,
        entropy=known.entropy,
        candidates=tuple(
            Candidate(id=each, text=table.text(each), raw_logprob=logprob, sampled_prob=math.exp(logprob))
            for each, logprob in known.shown(candidates, token)
        ),
    )
