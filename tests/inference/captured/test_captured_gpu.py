"""On a GPU: a captured run is an uncaptured one bit for bit, and memory comes back."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from inference import engine as engines
from inference.bench.random_models import random_model
from inference.captured.controls import ControlBuffers
from inference.captured.draw_kernel import COUNT, DrawKernel, _difference
from inference.captured.sampling import sample
from inference.engine import Engine
from inference.events import (
    AttentionControl,
    Event,
    Failed,
    Finished,
    GenerateRequest,
    SamplingControls,
    SteeringOptions,
    Token,
)
from inference.generation.random_stream import RandomStream
from inference.models.loaded_model import LoadedModel, release_memory
from inference.running import RunHandle, new_run_id
from inference.session import Session

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
DEVICE = torch.device("cuda", 0)
IDS = tuple(range(260, 330))
SAMPLED = SamplingControls(temperature=0.9, top_p=0.9, seed=3, max_new_tokens=48)
STEERED = replace(SAMPLED, attention=(AttentionControl(start=0, end=40, factor=0.3),))
SETTINGS = {
    "greedy": replace(SAMPLED, temperature=0.0),
    "sampled": SAMPLED,
    "penalties": replace(SAMPLED, repetition_penalty=1.2, frequency_penalty=0.2, min_p=0.01, top_k=100),
    "steered": STEERED,
    "multiplied": replace(STEERED, steering=SteeringOptions(mode="multiplicative")),
    "one layer": replace(STEERED, steering=SteeringOptions(layers=(1, 1))),
    "unsure": replace(SAMPLED, steering=SteeringOptions(entropy_threshold=2.0)),
}
CHANGES = {
    "temperature": replace(SAMPLED, temperature=0.2),
    "attention": STEERED,
    "multiplied": SETTINGS["multiplied"],
}


def decode(
    session: Session,
    controls: SamplingControls,
    change: SamplingControls | None = None,
    lookup: bool = False,
    ids: tuple[int, ...] = IDS,
    candidates: int = 20,
) -> tuple[list[Any], Event]:
    request = GenerateRequest(
        run_id=new_run_id(),
        prompt="",
        reply_ids=ids,
        controls=controls,
        prompt_lookup=lookup,
        candidates=candidates,
    )
    handle = RunHandle(request.run_id, controls)
    found: list[Any] = []
    end: Event | None = None
    for end in session.run(request, handle):
        if isinstance(end, Token):
            found.append(replace(end, at=0.0, run_id=0))
            if change is not None and len(found) == 20:
                handle.controls = change
    assert end is not None
    return found, end


@pytest.fixture(scope="module", params=["nf4", "int8", "none", "float32"])
def both(request: pytest.FixtureRequest) -> Iterator[tuple[Session, Session]]:
    """Captured and uncaptured steps on one model with the same kernels."""
    if request.param == "float32":
        loaded = random_model("tiny", "none", "cuda", 512)
        loaded.model.float()
        loaded = replace(loaded, dtype=torch.float32)
    else:
        loaded = random_model("tiny", request.param, "cuda", 512)
    captured, uncaptured = Session(), Session()
    captured.use(loaded)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(engines, "kernels_wanted", lambda *_: False)  # they are in the model already
        uncaptured.engine = Engine(loaded, steps="uncaptured")
    yield captured, uncaptured
    captured.close()


@pytest.mark.parametrize("name", SETTINGS)
def test_captured_is_uncaptured_bit_for_bit(name: str, both: tuple[Session, Session]) -> None:
    got, end = decode(both[0], SETTINGS[name])
    expected, _ = decode(both[1], SETTINGS[name])
    assert isinstance(end, Finished)
    assert (end.path, end.path_reason) == ("captured", "")
    assert got == expected
    assert len(got) == 48


@pytest.mark.parametrize("name", CHANGES)
def test_so_it_is_through_a_change(name: str, both: tuple[Session, Session]) -> None:
    got, expected = (decode(session, SAMPLED, CHANGES[name])[0] for session in both)
    assert got == expected


def test_more_candidates_than_the_kernel_records_change_nothing_else(both: tuple[Session, Session]) -> None:
    many, _ = decode(both[0], SETTINGS["penalties"], candidates=60)
    few, _ = decode(both[0], SETTINGS["penalties"], candidates=20)
    assert [token.id for token in many] == [token.id for token in few]
    assert {len(token.candidates) for token in many} == {60}
    assert many == decode(both[1], SETTINGS["penalties"], candidates=60)[0]


def test_so_it_is_with_guesses(both: tuple[Session, Session]) -> None:
    biased = replace(SAMPLED, logit_bias=tuple((token, 7.0) for token in range(260, 280)))
    got, end = decode(both[0], biased, lookup=True, ids=tuple(range(260, 280)) * 4)
    assert got == decode(both[1], biased, lookup=True, ids=tuple(range(260, 280)) * 4)[0]
    assert isinstance(end, Finished)
    assert end.guesses > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("vocabulary", [512, 1000, 128_256, 262_144])
def test_the_kernel_draws_what_the_plain_function_does(vocabulary: int, dtype: torch.dtype) -> None:
    kernel = DrawKernel(vocabulary, dtype, DEVICE)
    token, own = torch.zeros(1, dtype=torch.long, device=DEVICE), torch.zeros(1, device=DEVICE)
    for seed in range(12):
        generator = torch.Generator().manual_seed(seed)
        value = torch.rand(8, generator=generator).tolist()
        controls = SamplingControls(
            temperature=0.0 if seed == 3 else 0.1 + 2 * value[0],
            top_p=(1.0, 0.0, value[1], value[1])[seed % 4],
            top_k=0 if seed % 2 else 1 + int(300 * value[2]),
            min_p=0.0 if seed % 3 else value[3] / 2,
            repetition_penalty=1.0 if seed % 3 else 0.5 + value[4],
            frequency_penalty=value[5],
        )
        logits = torch.randn(vocabulary, generator=generator) * (0.05, 1.0, 6.0)[seed % 3]
        logits = logits.to(DEVICE, dtype)
        buffers = ControlBuffers(vocabulary, DEVICE)
        buffers.set_controls(controls)
        buffers.set_history([1, 2, 3], [5, 5, 7])
        buffers.restart(RandomStream(seed))
        expected_token, expected, _ = sample(logits, buffers, COUNT)
        record = kernel.draw(logits, buffers, token, own)
        assert not _difference(record, expected, token, expected_token)


def test_memory_returns_to_its_level_after_many_rounds() -> None:
    def round_trip() -> int:
        session = Session()
        session.use(random_model("tiny", "nf4", "cuda", 512))
        _, end = decode(session, replace(SAMPLED, max_new_tokens=8))
        assert isinstance(end, Finished)
        assert end.path == "captured"
        session.close()
        del session
        release_memory()
        return int(torch.cuda.memory_allocated())

    round_trip()
    level = round_trip()
    for _ in range(48):
        last = round_trip()
    assert last <= level


def test_no_memory_is_the_ordinary_error_and_the_engine_goes_on() -> None:
    loaded: LoadedModel = random_model("tiny", "none", "cuda", 65_536)
    session = Session()
    session.use(loaded)
    assert isinstance(decode(session, SAMPLED)[1], Finished)
    gc.collect()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(DEVICE).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**21) / total)
    try:
        end = decode(session, SAMPLED, ids=tuple(260 + place % 200 for place in range(60_000)))[1]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert isinstance(end, Failed)
    assert end.kind == "out-of-memory"
    again, end = decode(session, SAMPLED)
    assert isinstance(end, Finished)
    assert end.path == "captured"
    assert len(again) == 48
    session.close()
