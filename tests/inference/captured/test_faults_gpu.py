"""On a GPU: what can't be captured, and memory that ends in the middle, leave a model that goes on."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from inference.bench.random_models import random_model
from inference.events import Event, Failed, Finished, GenerateRequest, LoadRequest, SamplingControls, Token
from inference.models.loaded_model import release_memory
from inference.running import RunHandle, new_run_id
from inference.session import Session
from resources import BUILTIN_MODEL

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
SAMPLED = SamplingControls(temperature=0.9, top_p=0.9, seed=3, max_new_tokens=40)


def events_of(
    session: Session, count: int = 40, ids: tuple[int, ...] = tuple(range(260, 330))
) -> Iterator[Event]:
    controls = SamplingControls(temperature=0.9, top_p=0.9, seed=3, max_new_tokens=count)
    request = GenerateRequest(run_id=new_run_id(), prompt="", reply_ids=ids, controls=controls)
    yield from session.run(request, RunHandle(request.run_id, controls))


def fill_up() -> list[torch.Tensor]:
    """Take all memory but pieces of a few MB, and let the process have no more."""
    gc.collect()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**23) / total)
    held = []
    with contextlib.suppress(torch.OutOfMemoryError):
        while True:
            held.append(torch.empty(2**23, dtype=torch.uint8, device="cuda"))
    return held


def written(events: list[Event]) -> list[int]:
    return [event.id for event in events if isinstance(event, Token)]


def test_a_model_that_asks_the_gpu_for_a_value_decodes_plainly_and_says_why() -> None:
    session, whole = Session(), Session()
    whole.use(random_model("tiny", "nf4", "cuda", 512))
    expected = written(list(events_of(whole)))
    whole.close()
    loaded = random_model("tiny", "nf4", "cuda", 512)

    def asks(_: Any, args: Any, output: Any) -> None:
        assert float(output.sum()) != float("inf")

    hook = loaded.model.lm_head.register_forward_hook(asks)
    session.use(loaded)
    for _ in range(2):
        events = list(events_of(session))
        end = events[-1]
        assert isinstance(end, Finished)
        assert end.path == "plain"
        assert end.path_reason
        assert len(written(events)) == 40
    hook.remove()
    session.close()
    other = Session()
    other.use(random_model("tiny", "nf4", "cuda", 512))
    events = list(events_of(other))
    assert isinstance(events[-1], Finished)
    assert events[-1].path == "captured"
    assert written(events) == expected
    other.close()


def test_memory_that_ends_in_mid_reply_is_the_ordinary_error_and_the_model_goes_on() -> None:
    session = Session()
    session.use(random_model("tiny", "none", "cuda", 262_144))
    before = written(list(events_of(session)))
    ids = tuple(260 + place % 200 for place in range(130_000))
    seen, end, held = 0, None, []
    try:
        # Room for 131,072 positions is reserved; the reply needs a larger bucket after some 1,070 tokens.
        for end in events_of(session, 1_500, ids):
            seen += isinstance(end, Token)
            if seen == 5:
                held = fill_up()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        held.clear()
    assert seen > 1_000
    assert isinstance(end, Failed)
    assert end.kind == "out-of-memory"
    events = list(events_of(session))
    assert isinstance(events[-1], Finished)
    assert events[-1].path == "captured"
    assert written(events) == before
    session.close()


@pytest.mark.builtin
@pytest.mark.skipif(not (BUILTIN_MODEL / "model.safetensors").exists(), reason="no built-in model")
@pytest.mark.parametrize("quantization", ["nf4", "int8", "none"])
def test_memory_returns_after_many_models_were_loaded_from_a_folder(quantization: Any) -> None:
    def round_trip() -> int:
        session = Session()
        for event in session.run(
            load := LoadRequest(
                run_id=new_run_id(), model="builtin", device="cuda", quantization=quantization
            ),
            RunHandle(load.run_id, SAMPLED),
        ):
            assert not isinstance(event, Failed), event
        end = list(events_of(session, 8))[-1]
        assert isinstance(end, Finished)
        assert end.path == "captured"
        session.close()
        del session
        release_memory()
        return int(torch.cuda.memory_allocated())

    round_trip()
    level = round_trip()
    for _ in range(15):
        last = round_trip()
    assert last <= level
