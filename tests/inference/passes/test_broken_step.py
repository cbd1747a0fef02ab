"""A step that fails in the middle of a text: the model itself goes on, from where the text was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from inference.models.loaded_model import LoadedModel
from inference.passes.forward import Forward

SMALL: dict[str, Any] = {
    "vocab_size": 97, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
    "initializer_range": 0.2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},  # this app's own step
    "gpt_neox": {},  # recorded
    "gemma2": {"head_dim": 16, "sliding_window": 16},  # keys that are thrown away
    "mamba": {"state_size": 8},  # a state that is written in place
}
IDS = [3 + 7 * place % 89 for place in range(40)]
BREAKS_AT = 30


@pytest.mark.parametrize("family", FAMILIES)
def test_the_model_goes_on_where_a_step_has_failed(
    family: str,
    as_loaded: Callable[..., LoadedModel],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    torch.manual_seed(0)
    config = type(AutoConfig.for_model(family))(**SMALL | FAMILIES[family])
    maker: Any = AutoModelForCausalLM
    model = maker.from_config(config).eval().requires_grad_(False)
    with torch.inference_mode():
        expected = model(input_ids=torch.tensor([IDS])).logits[0, 3:]
    forward = Forward(as_loaded(model))
    if forward.step is None:
        pytest.skip("not recordable in this transformers")
    for _ in range(2):  # until it is known to be right
        _read(forward)
    assert forward.single_tokens.by == ("own" if family == "llama" else "recorded")
    calls = _broken_at(monkeypatch, forward, family)
    caplog.clear()
    torch.testing.assert_close(_read(forward), expected, atol=2e-4, rtol=2e-4)
    assert calls == ["broken"]
    assert caplog.text.count("Steps are left to transformers: no memory for it") == 1
    assert (forward.single_tokens.by, forward.single_tokens.reason) == ("transformers", "no memory for it")


def _read(forward: Forward) -> Tensor:
    cache = forward.new_cache()
    found = [forward(IDS[:4], cache)[-1]]
    return torch.stack(found + [forward([token], cache)[-1] for token in IDS[4:]])


def _broken_at(monkeypatch: pytest.MonkeyPatch, forward: Forward, family: str) -> list[str]:
    """Let the last of a step's calls fail once, at :data:`BREAKS_AT`: all caches are written by then."""
    calls: list[str] = []
    step: Any = forward.step
    if family == "llama":
        head = step._head
        seen = iter(range(1000))

        def broken(hidden: Tensor) -> Tensor:
            if next(seen) == BREAKS_AT - 4:
                calls.append("broken")
                raise RuntimeError("no memory for it")
            result: Tensor = head(hidden)
            return result

        monkeypatch.setattr(step, "_head", broken)
        return calls
    for stretch in step._stretches.values():
        read = stretch.read
        if read is None:
            continue

        def breaking(token: Tensor, position: Tensor, length: int, cache: Any, read: Any = read) -> Tensor:
            result: Tensor = read(token, position, length, cache)
            if not calls and (length >= BREAKS_AT or family == "mamba"):
                calls.append("broken")
                raise RuntimeError("no memory for it")
            return result

        stretch.read = breaking
    return calls
