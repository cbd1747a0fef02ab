"""Steps on a CPU made of a model's recorded calls: its own logits, whatever the family, or not taken."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
import torch
import transformers
from packaging.version import Version
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from inference.models.loaded_model import LoadedModel
from inference.passes.forward import Forward
from inference.passes.recorded_step import RecordedStep

SMALL: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT = {"n_embd": 64, "n_head": 4, "n_layer": 2, "n_positions": 256, "rotary_dim": 8}
WINDOW = {"head_dim": 16, "sliding_window": 16}
EXPERTS = {"num_local_experts": 4, "num_experts": 4, "num_experts_per_tok": 2}
FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": GPT,  # learned positions, joined projections
    "gptj": GPT,  # parallel blocks, positions turned in pairs
    "gpt_neox": {},  # parallel blocks, partly rotary
    "bloom": {"n_head": 4, "n_layer": 2},  # ALiBi that grows with the text
    "mpt": {"d_model": 64, "n_heads": 4, "n_layers": 2, "max_seq_len": 256},
    "falcon": {},  # one head of keys, products that are no linears
    "opt": {"ffn_dim": 96, "word_embed_proj_dim": 64},
    "gemma2": WINDOW,  # soft-capping, norms around 1, windows in every other layer
    "gemma3_text": WINDOW | {"layer_types": ["sliding_attention", "full_attention"]},
    "cohere": {},  # scaled logits
    "olmo2": {},  # norms behind the blocks
    "stablelm": {},
    "granite": {},  # multipliers
    "glm": {"head_dim": 16},
    "deepseek_v3": {
        "num_key_value_heads": 4, "kv_lora_rank": 32, "q_lora_rank": 32, "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8, "v_head_dim": 16, "n_routed_experts": 4, "num_experts_per_tok": 2,
        "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1, "moe_intermediate_size": 32,
    },
    "mixtral": EXPERTS,
    "mamba": {"state_size": 8},  # a state and nothing else
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "gpt_oss": WINDOW | EXPERTS,  # sinks, biased and transposed experts
}  # fmt: skip
FROM_5_23 = (
    "opt",
    "mamba",
    "lfm2",
)  # 5.17 looks at the mask's values, or keeps states elsewhere
IDS = [3 + 7 * place % 89 for place in range(40)]


def built(family: str) -> Any:
    """A random model whose weights float16 holds, as those of bfloat16 checkpoints."""
    torch.manual_seed(0)
    config = type(AutoConfig.for_model(family))(**SMALL | FAMILIES[family])
    maker: Any = AutoModelForCausalLM
    model = maker.from_config(config).eval().requires_grad_(False)
    for weight in model.parameters():
        weight.copy_(weight.bfloat16().float())
    return model


class Counted:
    """How often a model reads."""

    def __init__(self, model: Any) -> None:
        self.times = 0
        model.register_forward_pre_hook(self._count)

    def _count(self, *args: Any) -> None:
        self.times += 1


def read_one_by_one(forward: Forward, first: int = 4) -> Tensor:
    """Logits of :data:`IDS` from ``first`` - 1 on."""
    cache = forward.new_cache()
    found = [forward(IDS[:first], cache)[-1]]
    return torch.stack(found + [forward([token], cache)[-1] for token in IDS[first:]])


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_the_model(
    family: str, as_loaded: Callable[..., LoadedModel], caplog: pytest.LogCaptureFixture
) -> None:
    model = built(family)
    with torch.inference_mode():
        expected = model(input_ids=torch.tensor([IDS])).logits[0, 3:]
    forward = Forward(as_loaded(model))
    step = forward.step
    if step is None and family in FROM_5_23 and Version(transformers.__version__) < Version("5.23"):
        assert "Steps are left to transformers" in caplog.text
        pytest.skip("not recordable in this transformers")
    assert isinstance(step, RecordedStep)
    found = read_one_by_one(forward)
    assert step.right, step.reason
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=2e-4)
    counted = Counted(model)
    read_one_by_one(forward)
    # The first part; what is around the window; a second text, until it is known to be read the same way.
    assert counted.times <= (12 if "sliding_window" in FAMILIES[family] else 2)
    if hasattr(torch, "fbgemm_pack_gemm_matrix_fp16"):
        assert step.copied > 0


def test_a_third_text_is_read_without_the_model(as_loaded: Callable[..., LoadedModel]) -> None:
    model = built("gpt_neox")
    forward = Forward(as_loaded(model))
    read_one_by_one(forward)
    counted = Counted(model)
    read_one_by_one(forward)
    assert counted.times == 1  # of several tokens


def test_what_grows_with_the_text_is_right_in_shorter_and_longer_ones(
    as_loaded: Callable[..., LoadedModel],
) -> None:
    model = built("bloom")
    forward = Forward(as_loaded(model))
    read_one_by_one(forward, 30)
    with torch.inference_mode():
        expected = model(input_ids=torch.tensor([IDS])).logits[0, 1:]
    torch.testing.assert_close(read_one_by_one(forward, 2), expected, atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize(
    ("hook", "reason"),
    [
        (lambda out, _: out * 2.0 if out.sum() > 0 else out, "looks into a tensor"),
        (lambda out, calls: out * (1.0 + calls), "at another token"),
        (lambda out, _: out + torch.rand_like(out), "draws random numbers"),
        (lambda out, calls: out * 2.0 if calls > 2 else out, "logits differ"),  # 1 and 2 are recorded
        (lambda out, _: out + ELSEWHERE, "a tensor from elsewhere"),
    ],
)
def test_what_can_not_be_repeated_is_left_to_the_model(
    hook: Callable[[Tensor, int], Tensor],
    reason: str,
    as_loaded: Callable[..., LoadedModel],
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = built("gpt_neox")
    calls = count()
    model.gpt_neox.layers[1].mlp.register_forward_hook(lambda module, given, out: hook(out, next(calls)))
    forward = Forward(as_loaded(model))
    assert forward.step is None
    assert reason in caplog.text


ELSEWHERE = torch.ones(64)
