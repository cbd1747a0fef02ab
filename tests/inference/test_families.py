"""The engine's forward pass works for every make of model: in one step, in chunks, and after taking back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging

from inference.models.loaded_model import LoadedModel
from inference.passes.forward import Forward
from inference.passes.kv_cache import can_crop, crop

SMALL: dict[str, Any] = {
    "vocab_size": 500,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
OLDER = {"n_embd": 32, "n_head": 4, "n_layer": 4, "n_positions": 256, "rotary_dim": 4}
EXPERTS = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
RECURRENT = {"state_size": 8, "expand": 2, "num_heads": 8, "head_dim": 8, "n_groups": 1}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": 16},
    "qwen2": {},
    "qwen3": {},
    "qwen3_moe": EXPERTS,
    "mixtral": EXPERTS,
    "gemma": {"head_dim": 8},
    "gemma2": {"head_dim": 8, "sliding_window": 16},
    "gemma3_text": {"head_dim": 8, "sliding_window": 16},
    "gpt_oss": {**EXPERTS, "head_dim": 8, "sliding_window": 16},
    "phi": {},
    "phi3": {},
    "falcon": {},
    "bloom": {"n_head": 4, "n_layer": 4},
    "mpt": {"d_model": 32, "n_heads": 4, "n_layers": 4, "max_seq_len": 256},
    "gpt_neox": {},
    "gpt2": OLDER,
    "gptj": OLDER,
    "gpt_bigcode": OLDER,
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "stablelm": {},
    "olmo2": {},
    "cohere2": {"sliding_window": 16},
    "starcoder2": {},
    "granite": {},
    "glm4": {"head_dim": 8},
    "smollm3": {},
    "lfm2": {},
    "mamba": RECURRENT,
    "mamba2": RECURRENT,
    "rwkv": {"attention_hidden_size": 32},
}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    yield
    logging.set_verbosity(before)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_steps_chunks_and_taking_back_equal_one_pass(
    family: str, as_loaded: Callable[..., LoadedModel]
) -> None:
    torch.manual_seed(0)
    config = type(AutoConfig.for_model(family))(**SMALL | FAMILIES[family])
    model: Any = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    loaded = as_loaded(model)
    forward = Forward(loaded)
    ids = torch.randint(3, 500, (40,)).tolist()
    expected = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]

    def read(*sizes: int) -> tuple[torch.Tensor, Any]:
        cache, place, rows = forward.new_cache(), 0, []
        for size in sizes:
            rows.append(forward(ids[place : place + size], cache, keep=size))
            place += size
        return torch.cat(rows), cache

    stepped, _ = read(30, *[1] * 10)
    torch.testing.assert_close(stepped, expected, atol=1e-4, rtol=1e-3)
    if forward.recurrent:  # the engine reads these at once and never goes back
        assert forward.chunk >= loaded.context_length
        return
    chunked, cache = read(12, 12, 12, 4)
    torch.testing.assert_close(chunked, expected, atol=1e-4, rtol=1e-3)
    if can_crop(cache):
        crop(cache, 25)
        again = forward(ids[25:], cache, keep=15)
        torch.testing.assert_close(again, expected[25:], atol=1e-4, rtol=1e-3)
    else:
        assert family in {"mistral", "gemma2", "gemma3_text", "gpt_oss", "cohere2", "lfm2"}
