"""The same text read without adapters and with them: what they change of each token."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from inference.engine import Engine, Reading
from inference.errors import NotAvailable
from inference.events import (
    AdapterScale,
    AdaptersCompared,
    CompareAdaptersRequest,
    ComparedCandidate,
    ComparedToken,
    Event,
    Progress,
    ScoreRequest,
)
from inference.generation.prefix import PositionScore
from inference.prompts import Prompt, build_prompt
from inference.running import RunHandle

if TYPE_CHECKING:
    from inference.session import Session


@dataclass(frozen=True, slots=True)
class _Read:
    """One reading: what is known of each position, and the log-probabilities (vocabulary,) behind the
    last.
    """

    scores: dict[int, PositionScore]
    following: Tensor


def compare(session: Session, request: CompareAdaptersRequest, handle: RunHandle) -> Iterator[Event]:
    """Read a text twice -> Progress ..., AdaptersCompared.

    Raises:
        NotAvailable: No adapter is on, and none was named.
        InvalidRequest: An adapter is not attached.
        RunCancelled: The run was cancelled.
    """
    engine = session.require_engine()
    before = engine.adapters.active
    compared = before if request.adapters is None else request.adapters
    if not compared:
        raise NotAvailable("No adapter is on.", hint="Switch one on; then both readings differ.")
    asked = ScoreRequest(
        run_id=request.run_id,
        messages=request.messages,
        prompt=request.prompt,
        reply_ids=request.reply_ids,
        reply_text=request.reply_text,
    )
    prompt = build_prompt(engine.loaded, engine.table, asked)
    try:
        base = yield from _read(engine, (), prompt, request, handle)
        adapted = yield from _read(engine, compared, prompt, request, handle)
    finally:
        engine.use_adapters(before)
    kl = (adapted.following.exp() * (adapted.following - base.following)).sum()
    yield AdaptersCompared(
        run_id=request.run_id,
        adapters=tuple(compared),
        tokens=tuple(_tokens(engine, prompt, base, adapted)),
        following=_following(engine, base.following, adapted.following, request.candidates),
        divergence=max(0.0, float(kl)),
    )


def _read(
    engine: Engine,
    scales: Sequence[AdapterScale],
    prompt: Prompt,
    request: CompareAdaptersRequest,
    handle: RunHandle,
) -> Generator[Progress, None, _Read]:
    engine.use_adapters(scales)
    reading = Reading(engine, handle, engine.take_prefix())
    try:
        reading.reuse(prompt.ids, scored=request.candidates)
        logits = yield from reading.prefill(prompt.ids, scored=request.candidates)
    finally:
        engine.put_back(reading.prefix)
    return _Read(dict(reading.prefix.scores), logits.double().log_softmax(-1))


def _tokens(engine: Engine, prompt: Prompt, base: _Read, adapted: _Read) -> Iterator[ComparedToken]:
    """The reply's tokens; the first token of a text has no probability."""
    for index in range(max(1, prompt.reply_start), len(prompt.ids)):
        one, other = base.scores[index], adapted.scores[index]
        yield ComparedToken(
            index=index,
            id=prompt.ids[index],
            text=prompt.spans[index],
            base=one.raw_logprob,
            adapted=other.raw_logprob,
            candidates=_joined(engine, dict(one.candidates), dict(other.candidates)),
        )


def _joined(
    engine: Engine, base: dict[int, float], adapted: dict[int, float]
) -> tuple[ComparedCandidate, ...]:
    """Two lists of likely tokens as one, likeliest first."""
    ids = sorted(
        base.keys() | adapted.keys(),
        key=lambda token: max(base.get(token, -1e9), adapted.get(token, -1e9)),
        reverse=True,
    )
    return tuple(
        ComparedCandidate(
            id=token, text=engine.table.text(token), base=base.get(token), adapted=adapted.get(token)
        )
        for token in ids
    )


def _following(engine: Engine, base: Tensor, adapted: Tensor, count: int) -> tuple[ComparedCandidate, ...]:
    """The likeliest next tokens of either reading, with their log-probability in both."""
    count = max(1, min(count, len(base)))
    ids = {*base.topk(count).indices.tolist(), *adapted.topk(count).indices.tolist()}
    return _joined(
        engine, {each: float(base[each]) for each in ids}, {each: float(adapted[each]) for each in ids}
    )
