"""The boundary of token healing, shown before it acts: what is cut back, and which tokens fit there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from inference.attribution.reader import Reader
from inference.errors import EmptyPrompt
from inference.events import BoundaryRequest, Candidate, Event, HealingBoundary, ScoreRequest
from inference.generation.healing import Healing, tokens_to_take_back
from inference.running import RunHandle

if TYPE_CHECKING:
    from inference.session import Session


def boundary(session: Session, request: BoundaryRequest, handle: RunHandle) -> Iterator[Event]:
    """Read the prompt up to where it is cut back and ask what fits -> HealingBoundary.

    Raises:
        EmptyPrompt: The prompt has no tokens.
        ContextFull: It does not fit.
    """
    from inference.prompts import build_prompt

    engine = session.require_engine()
    prompt = build_prompt(
        engine.loaded, engine.table, ScoreRequest(run_id=request.run_id, prompt=request.prompt)
    )
    if not prompt.ids:
        raise EmptyPrompt("There is no text yet whose end could be healed.")
    table = engine.table
    kept = len(prompt.ids) - tokens_to_take_back(prompt.ids, table, engine.byte_index)
    taken = prompt.ids[kept:]
    wanted = b"".join(table.data(token) for token in taken)
    if not wanted:
        yield HealingBoundary(run_id=request.run_id, taken=(), text="")
        return
    handle.check()
    model: Any = engine.loaded.model
    ids = torch.tensor([prompt.ids[:kept]], device=engine.loaded.device)
    logprobs = Reader(model).reread(ids, 0, 1)[0, -1].float().log_softmax(-1).cpu()
    fits = Healing(engine.byte_index, wanted).mask(len(logprobs), logprobs.device)
    probs = torch.where(fits, logprobs, -torch.inf).exp()
    mass, fitting = float(probs.sum()), int(fits.sum())
    best = probs.topk(min(request.candidates, fitting)).indices.tolist()
    yield HealingBoundary(
        run_id=request.run_id,
        taken=tuple(table.text(token) for token in taken),
        text=wanted.decode("utf-8", errors="replace"),
        fitting=fitting,
        mass=mass,
        candidates=tuple(
            Candidate(
                id=token,
                text=table.text(token),
                raw_logprob=float(logprobs[token]),
                sampled_prob=float(probs[token]) / mass if mass > 0 else 0.0,
            )
            for token in best
        ),
    )
