"""The logit lens against the model's own logits and against the definition written out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from transformers import set_seed

from inference.errors import NotAvailable
from inference.events import Failed, LensRequest, LensRow, LensStarted
from inference.inspection.lens import OutputHead, look, residual_states
from inference.running import new_run_id
from inference.session import Session

IDS = [1, 17, 40, 3, 81, 22]
SMALL: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
    "pad_token_id": 0,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "Llama": {},
    "Qwen3": {"head_dim": 8},
    "Gemma2": {"head_dim": 8, "final_logit_softcapping": 3.0},
    "Cohere2": {"logit_scale": 0.25, "sliding_window_pattern": 2},
    "Granite": {"logits_scaling": 4.0},
    "GPT2": {"n_positions": 64, "n_embd": 32, "n_layer": 3, "n_head": 4},
    "GPTNeoX": {},
    "Phi": {},
    "Falcon": {"new_decoder_architecture": False, "alibi": False},
    "OPT": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "Mamba": {},
}


def model_of(family: str) -> Any:
    set_seed(3)
    head = "LMHeadModel" if family == "GPT2" else "ForCausalLM"
    config = getattr(transformers, family + "Config")(**(SMALL | FAMILIES[family]))
    return getattr(transformers, family + head)(config).eval().requires_grad_(False)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_row_is_what_the_model_says(family: str) -> None:
    model = model_of(family)
    states = residual_states(model, IDS, [3], range(len(IDS)))[3]
    own = model(torch.tensor([IDS])).logits[0]
    torch.testing.assert_close(OutputHead(model)(states), own, atol=1e-4, rtol=1e-4)


def test_earlier_rows_are_the_normed_hidden_states_of_transformers() -> None:
    model = model_of("Llama")
    hidden = model(torch.tensor([IDS]), output_hidden_states=True).hidden_states
    states = residual_states(model, IDS, [0, 1, 2], [1, 4])
    for layer in range(3):
        torch.testing.assert_close(states[layer], hidden[layer][0, [1, 4]], atol=1e-5, rtol=0)
        expected = model.lm_head(model.model.norm(hidden[layer][0, [1, 4]]))
        torch.testing.assert_close(OutputHead(model)(states[layer]), expected, atol=1e-5, rtol=0)


def test_a_row_holds_the_top_token_the_rank_of_another_and_the_entropy() -> None:
    model = model_of("Llama")
    states = residual_states(model, IDS, [2], [3])[2]
    probs = OutputHead(model)(states)[0].double().softmax(-1).tolist()
    row = look(OutputHead(model), states, [50])
    order = sorted(range(97), key=lambda token: -probs[token])
    assert row.top_ids == (order[0],)
    assert row.top_probs[0] == pytest.approx(probs[order[0]], abs=1e-5)
    assert row.ranks == (order.index(50) + 1,)
    assert row.followed_probs[0] == pytest.approx(probs[50], abs=1e-5)
    assert row.entropies[0] == pytest.approx(-sum(p * math.log(p) for p in probs), abs=1e-4)


def test_positions_in_chunks_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("Llama")
    states = residual_states(model, IDS, [1], range(len(IDS)))[1]
    whole = look(OutputHead(model), states, [5] * len(IDS))
    monkeypatch.setattr("inference.inspection.lens._AT_ONCE", 97 * 2)
    pieces = look(OutputHead(model), states, [5] * len(IDS))
    assert (pieces.top_ids, pieces.ranks) == (whole.top_ids, whole.ranks)
    assert pieces.entropies == pytest.approx(whole.entropies, abs=1e-5)


def test_a_head_that_is_not_known_is_refused() -> None:
    model = model_of("Granite")
    model.config.logits_scaling = 1.0
    model.logits_scaling = 4.0
    plain = model.forward

    def scaled(*arguments: Any, **named: Any) -> Any:
        output = plain(*arguments, **named)
        output.logits = output.logits.sin()
        return output

    model.forward = scaled
    with pytest.raises(NotAvailable, match="lens"):
        OutputHead(model)


def test_a_run_gives_one_row_a_layer(session: Session, run: Callable[..., Any]) -> None:
    request = LensRequest(run_id=new_run_id(), prompt="The quick brown fox", first=1)
    started, *rows, finished = run(session, request)
    assert isinstance(started, LensStarted)
    assert started.layers == (0, 1, 2, 3)
    assert [row.layer for row in rows if isinstance(row, LensRow)] == [0, 1, 2, 3]
    assert all(len(row.ranks) == len(started.positions) for row in rows)
    assert all(row.ranks[-1] == 0 and min(row.ranks[:-1]) >= 1 for row in rows)
    assert finished.event == "finished"


@pytest.mark.parametrize("wrong", [{"layers": (9,)}, {"first": 50}, {"first": 2, "last": 1}])
def test_layers_and_positions_that_do_not_exist(session: Session, run: Any, wrong: dict[str, Any]) -> None:
    events = run(session, LensRequest(run_id=new_run_id(), prompt="The quick", **wrong))
    assert isinstance(events[-1], Failed)
    assert events[-1].kind == "invalid-request"
