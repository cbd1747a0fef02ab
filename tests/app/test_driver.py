"""A GPU that cannot be used is mentioned once, when a model went to the CPU instead."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.controllers.driver import DriverController
from inference.events import MemoryUse, ModelInfo, ModelLoaded

LOADED = ModelLoaded(
    run_id=1,
    info=ModelInfo(
        source="builtin",
        name="small",
        architecture="LlamaForCausalLM",
        parameters=1000,
        context_length=64,
        vocabulary=10,
        layers=1,
        hidden_size=8,
        kv_bytes_per_token=16,
        stored_bytes=4000,
        stored_dtype="float32",
        licence="",
        has_chat_template=False,
    ),
    quantization="none",
    device="cpu",
    context_length=64,
    seconds=0.1,
    memory=MemoryUse(process=1),
)


def test_it_is_said_once(faults: Any) -> None:
    controller = DriverController(faults=faults, find_problem=lambda: "The driver is too old.")
    for loaded in (None, LOADED, None, LOADED):
        controller.note_model(loaded)
    assert [fault["message"] for fault in faults] == ["The driver is too old. Models run on the CPU."]


@pytest.mark.parametrize(("device", "problem"), [("cuda", "too old"), ("cpu", "")])
def test_a_gpu_that_works_or_is_not_there_is_no_news(faults: Any, device: str, problem: str) -> None:
    DriverController(faults=faults, find_problem=lambda: problem).note_model(replace(LOADED, device=device))
    assert faults == []
