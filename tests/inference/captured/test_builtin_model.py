"""With real weights: 256 greedy tokens are transformers' own, in plain steps and in those of fixed shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from inference.engine import Engine
from inference.events import Event, Finished, GenerateRequest, LoadRequest, Token
from inference.running import new_run_id
from inference.session import Session
from resources import BUILTIN_MODEL

pytestmark = [
    pytest.mark.builtin,
    pytest.mark.skipif(
        not (BUILTIN_MODEL / "model.safetensors").exists(), reason="the built-in model is not there"
    ),
]
PROMPT = "Once upon a time there was a small boat that wanted to see the sea. One day"


DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
        ],
    ),
]


@pytest.mark.parametrize("device", DEVICES)
def test_greedy_output_is_that_of_generate_over_256_tokens(
    device: Any, run: Callable[..., list[Event]], generating: Callable[..., GenerateRequest]
) -> None:
    session = Session()
    run(session, LoadRequest(run_id=new_run_id(), model="builtin", device=device))
    session.require_engine().close()
    loaded = session.require_engine().loaded
    # In 16 bits two tokens are often equally likely to the last bit, and any other order of sums decides.
    loaded = replace(loaded, dtype=torch.float32)
    model: Any = loaded.model
    model.float()
    ends = tuple((token, -1e4) for token in loaded.eos_ids)
    expected: list[int] | None = None
    for steps in ("plain", "uncaptured") if device == "cpu" else ("plain", "uncaptured", "captured"):
        session.engine = Engine(loaded, steps=steps)
        events = run(session, generating(prompt=PROMPT, max_new_tokens=256, logit_bias=ends))
        finished = events[-1]
        assert isinstance(finished, Finished)
        assert finished.path == ("plain" if steps == "plain" else "captured")
        if expected is None:
            ids = torch.tensor([loaded.tokenizer.encode(PROMPT)], device=loaded.device)
            assert finished.prompt_tokens == ids.shape[1]
            out = model.generate(
                ids,
                do_sample=False,
                max_new_tokens=256,
                min_new_tokens=256,
                eos_token_id=list(loaded.eos_ids),
            )
            expected = out[0, ids.shape[1] :].tolist()
        assert [event.id for event in events if isinstance(event, Token)] == expected
        session.engine.close()
