"""Adapters with random weights that peft itself makes and saves; its own forward is the oracle."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from peft import LoraConfig, PeftModel, get_peft_model

from inference.events import AttachAdapterRequest
from inference.running import new_run_id
from inference.session import Session

MakeAdapter = Callable[..., Path]


@pytest.fixture(autouse=True)
def as_they_were(families: dict[str, PreTrainedModel]) -> Iterator[None]:
    """The models are those of all tests: nothing stays on them."""
    yield
    for model in families.values():
        for module in model.modules():
            module._forward_hooks.clear()


def _bare(model: PreTrainedModel) -> PreTrainedModel:
    """A copy without what listens to the model."""
    copied = copy.deepcopy(model)
    for module in copied.modules():
        module._forward_hooks.clear()
    return copied


@pytest.fixture
def make_adapter(tmp_path: Path) -> MakeAdapter:
    """Save a LoRA with random matrices for a model; returns its folder."""

    def make(model: PreTrainedModel, name: str = "pirate", *, seed: int = 1, **settings: Any) -> Path:
        torch.manual_seed(seed)
        config = LoraConfig(
            **{"r": 4, "lora_alpha": 12, "target_modules": ["q_proj", "down_proj"], "task_type": "CAUSAL_LM"}
            | settings
        )
        wrapped = get_peft_model(_bare(model), config)
        for key, weight in wrapped.named_parameters():
            if "lora_" in key or "modules_to_save" in key:
                weight.data = torch.randn_like(weight) * 0.3
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the model has no name
            wrapped.save_pretrained(tmp_path / name)
        return tmp_path / name

    return make


@pytest.fixture
def by_peft() -> Callable[..., PeftModel]:
    """The model with adapters as peft puts them on."""

    def load(model: PreTrainedModel, *folders: Path) -> PeftModel:
        loaded = PeftModel.from_pretrained(_bare(model), folders[0], adapter_name="0")
        for number, folder in enumerate(folders[1:], start=1):
            loaded.load_adapter(folder, adapter_name=str(number))
        loaded.base_model.set_adapter([str(number) for number in range(len(folders))])
        return loaded.eval()

    return load


@pytest.fixture
def attach(run: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """Put an adapter on the session's model."""

    def attach(session: Session, folder: Path | str, scale: float = 1.0) -> list[Any]:
        return run(session, AttachAdapterRequest(run_id=new_run_id(), adapter=str(folder), scale=scale))

    return attach
