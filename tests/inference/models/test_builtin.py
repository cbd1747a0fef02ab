"""The model in the box loads like any other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from inference.catalog import inspect, list_models
from inference.events import InspectRequest, ListModelsRequest
from inference.models.loaded_model import LoadedModel
from resources import BUILTIN_MODEL

pytestmark = [
    pytest.mark.builtin,
    pytest.mark.skipif(
        not (BUILTIN_MODEL / "model.safetensors").is_file(), reason="the built-in model is not here"
    ),
]

Load = Callable[..., LoadedModel]


def test_it_is_the_first_of_the_list() -> None:
    entry = list_models(ListModelsRequest(run_id=1)).entries[0]
    assert (entry.source, entry.origin, entry.problem) == ("builtin", "builtin", "")


def test_it_computes_what_transformers_computes(load_model: Load) -> None:
    from transformers import AutoModelForCausalLM

    loaded = load_model("builtin")
    reference = AutoModelForCausalLM.from_pretrained(BUILTIN_MODEL, dtype=torch.float32)
    ids = loaded.tokenizer("Once upon a time there was a small", return_tensors="pt").input_ids
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(ids).logits, reference(ids).logits)


@pytest.mark.parametrize("quantization", ["none", "bf16", "int8", "nf4", "fp4"])
def test_it_loads_in_every_precision_and_takes_what_was_told(load_model: Load, quantization: str) -> None:
    from inference.models.quantization import check_quantization

    chosen = check_quantization(quantization)
    told = inspect(InspectRequest(run_id=1, model="builtin", quantization=chosen, device="cpu"))
    loaded = load_model("builtin", quantization=quantization)
    assert told.estimate.weights == pytest.approx(loaded.weight_bytes(), rel=0.01)
    assert told.info.parameters == sum(
        parameter.numel() for parameter in load_model("builtin").model.parameters()
    )
    assert told.info.has_chat_template
    assert loaded.tokenizer.convert_tokens_to_ids("<|end|>") in loaded.eos_ids
