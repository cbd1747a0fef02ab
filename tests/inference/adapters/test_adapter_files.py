"""Adapters that can't be used: each is refused with its reason, and the model goes on as it was."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from inference.command_line import _adapter
from inference.events import AdapterInspected, AdaptersChanged, Event, Failed, InspectAdapterRequest
from inference.models.loaded_model import LoadedModel
from inference.running import new_run_id
from inference.session import Session

# Of peft, the oracle.
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def _edit(folder: Path, **settings: Any) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


def _failure(events: list[Event]) -> Failed:
    assert isinstance(events[-1], Failed), events
    return events[-1]


def test_what_an_adapter_says_of_itself(
    session: Session, make_adapter: Any, run: Any, llama: LoadedModel, tmp_path: Path
) -> None:
    folder = make_adapter(llama.model)
    base = tmp_path / "models" / "Tiny-Base"
    llama.model.save_pretrained(base)
    _edit(folder, base_model_name_or_path="someone/tiny-base")
    request = InspectAdapterRequest(run_id=new_run_id(), adapter=str(folder), folders=(str(base.parent),))
    got = next(event for event in run(Session(), request) if isinstance(event, AdapterInspected))
    assert (got.info.name, got.info.base, got.info.rank, got.info.alpha) == (
        "pirate",
        "someone/tiny-base",
        4,
        12,
    )
    assert got.info.modules == 6
    assert got.info.targets == ("down_proj", "q_proj")
    assert got.info.parameters == 3 * 4 * (32 + 32 + 64 + 32)
    assert got.base_source == str(base)

    _edit(folder, base_model_name_or_path="someone/else")
    got = next(event for event in run(Session(), request) if isinstance(event, AdapterInspected))
    assert got.base_source == ""


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        ({"peft_type": "IA3"}, "model-unsupported", "IA3"),
        ({"peft_type": None}, "model-unsupported", "not told"),
        ({"use_dora": True}, "model-unsupported", "DoRA"),
        ({"bias": "all"}, "model-unsupported", "biases"),
        ({"target_parameters": ["mlp.experts.gate_up_proj"]}, "model-unsupported", "experts"),
        ({"init_lora_weights": "pissa_niter_4"}, "model-unsupported", "changed copy"),
    ],
)
def test_other_kinds_of_adapters(
    settings: dict[str, Any], kind: str, words: str, session: Session, make_adapter: Any, attach: Any
) -> None:
    folder = make_adapter(session.require_engine().loaded.model)
    _edit(folder, **settings)
    failed = _failure(attach(session, folder))
    assert failed.kind == kind
    assert words in failed.message


def test_missing_and_damaged_files(session: Session, make_adapter: Any, attach: Any, tmp_path: Path) -> None:
    folder = make_adapter(session.require_engine().loaded.model)
    assert _failure(attach(session, tmp_path / "nowhere")).kind == "model-not-found"
    assert _failure(attach(session, tmp_path)).kind == "model-not-found"

    weights = folder / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    assert _failure(attach(session, folder)).kind == "model-damaged"
    weights.unlink()
    failed = _failure(attach(session, folder))
    assert failed.kind == "model-damaged"
    assert "adapter_model.safetensors" in failed.message
    (folder / "adapter_config.json").write_text("{")
    assert _failure(attach(session, folder)).kind == "model-damaged"


class _Payload:
    """What it does is done by whoever unpickles it."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.proof),)


def test_pickles_are_opened_only_where_they_hold_nothing_but_tensors(
    session: Session, make_adapter: Any, attach: Any, tmp_path: Path
) -> None:
    folder = make_adapter(session.require_engine().loaded.model)
    tensors = load_file(folder / "adapter_model.safetensors")
    (folder / "adapter_model.safetensors").unlink()
    torch.save(tensors, folder / "adapter_model.bin")
    changed = next(event for event in attach(session, folder) if isinstance(event, AdaptersChanged))
    assert changed.active[0].name == "pirate"

    proof = tmp_path / "was-run"
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(_Payload(proof)))
    assert _failure(attach(session, folder)).kind == "model-unsafe"
    assert not proof.exists()


def test_an_adapter_of_another_model_is_refused_and_the_model_stays_as_it_was(
    families: Any, as_loaded: Any, make_adapter: Any, attach: Any
) -> None:
    session = Session()
    session.use(as_loaded(families["llama"]))
    wide = make_adapter(families["gpt2"], "gpt2", target_modules=["c_attn"], fan_in_fan_out=True)
    failed = _failure(attach(session, wide))
    assert failed.kind == "model-unsupported"
    assert "transformer.h.0.attn.c_attn" in failed.message

    right = make_adapter(families["llama"], "right")
    tensors = load_file(right / "adapter_model.safetensors")
    torch.save(
        {name: torch.cat([value, value], -1) for name, value in tensors.items()}, right / "adapter_model.bin"
    )
    (right / "adapter_model.safetensors").unlink()
    _edit(right, base_model_name_or_path="someone/wider")
    failed = _failure(attach(session, right))
    assert failed.kind == "model-unsupported"
    assert "someone/wider" in failed.hint or "fit" in failed.message
    assert not any(module._forward_hooks for module in families["llama"].modules())


def test_a_scale_behind_the_folder() -> None:
    assert _adapter("runs/pirate") == ("runs/pirate", 1.0)
    assert _adapter("runs/pirate=0.5") == ("runs/pirate", 0.5)
    assert _adapter("runs/lr=1e-4/last") == ("runs/lr=1e-4/last", 1.0)
