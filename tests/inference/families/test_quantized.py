"""int8 and NF4 of every family on a CPU: what is written stays near what the whole weights say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from inference.events import LoadRequest, ModelLoaded, PromptScored, ScoreRequest, UnloadRequest
from inference.running import new_run_id

#: Random weights are the worst case for few bits: nothing in them is redundant.
NEAR = {"int8": 0.9, "nf4": 0.4}


@pytest.mark.parametrize(
    "quantization", [pytest.param(name, marks=pytest.mark.column(name)) for name in ("int8", "nf4")]
)
@pytest.mark.slow_to_load
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_packed_weights_say_about_the_same(case: Any, quantization: Any, note: Callable[[str], None]) -> None:
    session = type(case.session)()
    request = LoadRequest(
        run_id=new_run_id(), model=str(case.folder), device="cpu", quantization=quantization
    )
    loaded = next(e for e in case.run(session, request) if isinstance(e, ModelLoaded))
    packed = sum(type(m).__name__ in ("Linear8bitLt", "Linear4bit") for m in session.loaded.model.modules())
    if packed:
        weights = session.loaded.memory().weights
        assert weights < case.session.loaded.memory().weights
        both = torch.stack([_distributions(case, session), _distributions(case, case.fresh())])
        assert float(torch.corrcoef(both)[0, 1]) > NEAR[quantization]
        assert len(case.tokens(session, prompt=case.text, controls={"max_new_tokens": 3})) > 0
    else:
        assert "can't shrink" in loaded.note
        note(f"not available: {loaded.note}")
    case.run(session, UnloadRequest(run_id=new_run_id()))


def _distributions(case: Any, session: Any) -> torch.Tensor:
    """The log-probability of every token of the vocabulary at every position, in one row."""
    request = ScoreRequest(run_id=new_run_id(), prompt=case.text, candidates=500)
    scored = next(e for e in case.run(session, request) if isinstance(e, PromptScored))
    rows = [sorted((c.id, c.raw_logprob) for c in token.candidates) for token in scored.tokens[1:]]
    return torch.tensor([[value for _, value in row] for row in rows]).flatten()
