"""Stretched positions, and caches of windows that stay as long as the window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerBase

from inference.errors import InvalidRequest, NotAvailable
from inference.events import (
    Event,
    Failed,
    Finished,
    GenerateRequest,
    InspectRequest,
    LoadRequest,
    ModelInspected,
    ModelLoaded,
    PromptScored,
    RopeScaling,
    SamplingControls,
    ScoreRequest,
)
from inference.running import RunHandle, new_run_id
from inference.session import Session

LONG = "The quick brown fox reads a prompt, token by token, while the river flows. " * 8
TRAINED = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, byte_tokenizer: PreTrainedTokenizerBase) -> Path:
    """A Llama that was trained on 64 tokens, it says."""
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=500, hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=TRAINED, initializer_range=0.3, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("stretched")
    AutoModelForCausalLM.from_config(config).save_pretrained(path)
    byte_tokenizer.save_pretrained(path)
    return path


def run(session: Session, request: Any) -> list[Event]:
    return list(session.run(request, RunHandle(request.run_id, getattr(request, "controls", None))))


def load(folder: Path, rope: RopeScaling | None) -> tuple[Session, list[Event]]:
    session = Session()
    return session, run(session, LoadRequest(run_id=new_run_id(), model=str(folder), device="cpu", rope=rope))


@pytest.mark.parametrize("kind", ["linear", "dynamic", "yarn"])
def test_positions_are_stretched_as_transformers_does(folder: Path, kind: Any) -> None:
    """Read in one piece, as NTK's frequencies follow the length of what is read."""
    session, events = load(folder, RopeScaling(kind=kind, factor=4.0))
    loaded = next(event for event in events if isinstance(event, ModelLoaded))
    assert (loaded.info.context_length, loaded.context_length) == (TRAINED, 4 * TRAINED)
    assert "Trained on 64 tokens" in loaded.note
    ids = session.loaded.tokenizer(LONG)["input_ids"][:60] * 3  # type: ignore[union-attr]
    parameters = {"rope_type": kind, "rope_theta": 10000.0, "factor": 4.0}
    if kind != "linear":
        parameters["original_max_position_embeddings"] = TRAINED
    reference = AutoModelForCausalLM.from_pretrained(folder, rope_parameters=parameters)
    plain = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        given = torch.tensor([ids])
        ours = session.loaded.model(given, use_cache=False).logits  # type: ignore[union-attr]
        torch.testing.assert_close(ours, reference(given, use_cache=False).logits, atol=1e-4, rtol=1e-4)
        assert (ours - plain(given, use_cache=False).logits)[0, -1].abs().max() > 0.05


@pytest.mark.parametrize("kind", ["linear", "yarn"])
def test_a_text_beyond_the_trained_length_is_read(folder: Path, kind: Any) -> None:
    session, _ = load(folder, RopeScaling(kind=kind, factor=4.0))
    text = LONG[:420]
    asked = ScoreRequest(run_id=new_run_id(), prompt=text, candidates=1)
    scored = next(event for event in run(session, asked) if isinstance(event, PromptScored))
    assert TRAINED < len(scored.tokens) <= 4 * TRAINED
    ids = torch.tensor([[token.id for token in scored.tokens]])
    with torch.no_grad():
        logprobs = session.loaded.model(ids, use_cache=False).logits[0].log_softmax(-1)  # type: ignore[union-attr]
    expected = logprobs[:-1].gather(-1, ids[0, 1:, None])[:, 0]
    told = torch.tensor([token.raw_logprob for token in scored.tokens[1:]])
    torch.testing.assert_close(told, expected, atol=1e-4, rtol=1e-3)


def test_the_estimate_counts_the_longer_cache(folder: Path) -> None:
    def inspect(rope: RopeScaling | None) -> ModelInspected:
        events = run(
            Session(), InspectRequest(run_id=new_run_id(), model=str(folder), device="cpu", rope=rope)
        )
        return next(event for event in events if isinstance(event, ModelInspected))

    plain, longer = inspect(None), inspect(RopeScaling(kind="yarn", factor=4.0))
    assert longer.estimate.kv_cache == 4 * plain.estimate.kv_cache > 0
    assert longer.info.context_length == TRAINED


def test_what_can_not_be_stretched_says_why(folder: Path, case: Any) -> None:
    if case.family.kind in ("bloom", "mpt", "mamba"):
        _, events = load(case.folder, RopeScaling(kind="yarn", factor=2.0))
        assert isinstance(events[-1], Failed)
        assert events[-1].kind == NotAvailable.kind
        assert "no rotary positions" in events[-1].message


def test_a_factor_below_one_is_refused(folder: Path) -> None:
    _, events = load(folder, RopeScaling(kind="linear", factor=0.5))
    assert isinstance(events[-1], Failed)
    assert events[-1].kind == InvalidRequest.kind


def _cache(case: Any, tokens: int) -> int:
    """Bytes of the cache behind so many new tokens."""
    controls = SamplingControls(temperature=0.0, max_new_tokens=tokens, logit_bias=((300, 1e4),))
    asked = GenerateRequest(run_id=new_run_id(), prompt=case.text, controls=controls, candidates=1)
    return next(e for e in case.run(case.fresh(), asked) if isinstance(e, Finished)).memory.kv_cache


def test_a_window_s_cache_stops_growing(case: Any) -> None:
    """Keys and values of at most the window's 16 tokens in each of three layers, however long the text."""
    if case.family.name != "Mistral":
        return
    config = case.original.config
    a_token = 2 * config.num_key_value_heads * (config.hidden_size // config.num_attention_heads) * 4
    assert _cache(case, 40) == _cache(case, 200) <= config.num_hidden_layers * config.sliding_window * a_token
