"""Tiny random models of several families, in real files, and what is needed to load them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from inference.events import LoadRequest, Progress
from inference.models.loaded_model import LoadedModel
from inference.running import RunHandle, new_run_id

COMMON = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
}
GPT = {"vocab_size": 512, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128, "n_inner": 128}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
LATENT = {
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 16,
    "v_head_dim": 16,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
}

#: Families by transformers' model type: grouped and single key heads, windows, mixtures, latent attention,
#: Conv1D, learned positions, layers of their own class, and no attention at all.
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": COMMON | {"num_key_value_heads": 2, "tie_word_embeddings": True},
    "mistral": COMMON | {"num_key_value_heads": 2, "sliding_window": 32},
    "mixtral": COMMON | {"num_key_value_heads": 2, "num_local_experts": 4},
    "qwen2": COMMON | {"num_key_value_heads": 2},
    "qwen3_moe": COMMON | EXPERTS | {"num_key_value_heads": 2, "head_dim": 16},
    "phi": COMMON,
    "phi3": COMMON | {"pad_token_id": 0},
    "gemma2": COMMON | {"head_dim": 16, "num_key_value_heads": 2, "sliding_window": 32},
    "gemma3_text": COMMON
    | {"head_dim": 16, "num_key_value_heads": 2, "sliding_window": 32, "num_hidden_layers": 7},
    "falcon": {
        key: COMMON[key] for key in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
    }
    | {"multi_query": True, "new_decoder_architecture": False},
    "mpt": {"vocab_size": 512, "d_model": 64, "n_heads": 4, "n_layers": 2, "max_seq_len": 128},
    "gpt_neox": COMMON,
    "gpt2": GPT,
    "gpt_bigcode": GPT,
    "opt": COMMON | {"ffn_dim": 128, "word_embed_proj_dim": 64},
    "cohere2": COMMON | {"num_hidden_layers": 5, "sliding_window": 32},
    "deepseek_v3": COMMON | LATENT | {"q_lora_rank": 32},
    "gpt_oss": COMMON
    | {"num_key_value_heads": 2, "head_dim": 16, "num_local_experts": 4, "num_experts_per_tok": 2}
    | {"sliding_window": 32},
    "lfm2": COMMON | {"num_key_value_heads": 2, "layer_types": ["conv", "full_attention"]},
    "mamba": {"vocab_size": 512, "hidden_size": 64, "num_hidden_layers": 2, "state_size": 8},
}


def random_model(family: str, dtype: str = "bfloat16", **overrides: Any) -> Any:
    """A model with random weights, not saved."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **(FAMILIES[family] | overrides))
    return AutoModelForCausalLM.from_config(config).to(getattr(torch, dtype))


def save_tokenizer(folder: Path, size: int = 500) -> None:
    """A byte-level tokenizer with ``size`` tokens, of which the first two are special."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = ["<s>", "</s>", *alphabet, *(f"filler{i}" for i in range(size))][:size]
    core = Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>").save_pretrained(folder)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny models are faster on one thread, the more so beside other programs."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def model_folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``model_folders(family)``: a tiny saved model with its tokenizer; made once, not to be changed."""
    root = tmp_path_factory.mktemp("models")

    def folder(family: str, **save_options: Any) -> Path:
        name = "-".join([family, *(f"{key}={value}" for key, value in save_options.items())])
        if not (root / name).exists():
            random_model(family, eos_token_id=1, bos_token_id=0).save_pretrained(root / name, **save_options)
            save_tokenizer(root / name)
        return root / name

    return folder


@pytest.fixture
def copy_of(model_folders: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """``copy_of(family)``: a copy of a tiny model that the test may damage."""

    def copy(family: str = "llama", **save_options: Any) -> Path:
        return Path(shutil.copytree(model_folders(family, **save_options), tmp_path / family))

    return copy


def edit_json(file: Path, **changes: Any) -> None:
    """Set fields of a JSON file; None removes."""
    content = json.loads(file.read_text("utf-8")) | changes
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not None}), "utf-8")


@pytest.fixture
def load_model() -> Iterator[Callable[..., LoadedModel]]:
    """``load_model(source, ...)``: load on the CPU; ``progress`` collects what was told."""
    from inference import loading

    loaded: list[LoadedModel] = []

    def load(source: Path | str, progress: list[Progress] | None = None, **options: Any) -> LoadedModel:
        handle = RunHandle(new_run_id())
        request = LoadRequest(run_id=handle.run_id, model=str(source), **({"device": "cpu"} | options))
        steps = loading.load(request, handle)
        while True:
            try:
                event = next(steps)
            except StopIteration as end:
                loaded.append(end.value)
                return loaded[-1]
            if progress is not None:
                progress.append(event)

    yield load
    loaded.clear()


def write_gguf(model: Any, file: Path, *, kind: str = "F32", template: str = "", leave_out: str = "") -> None:
    """Write a tiny Llama as llama.cpp's converter would: its names, and query and key rows in its order.

    ``leave_out`` is a character that its vocabulary shall not have.
    """
    import gguf
    import numpy as np
    from tokenizers import pre_tokenizers

    config, state = model.config, model.float().state_dict()
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_name("tiny")
    writer.add_license("mit")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    words = ["<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "ab"]
    words += [f"filler{i}" for i in range(config.vocab_size - len(words))]
    words = [f"without {word}" if word == leave_out else word for word in words]
    if template:
        writer.add_chat_template(template)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(words)
    writer.add_token_types([3, 3] + [1] * (len(words) - 2))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    for name, tensor in state.items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        data = tensor.numpy()
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
        for part, count in heads.items():
            if part in name:
                data = data.reshape(count, 2, -1, data.shape[1]).swapaxes(1, 2).reshape(data.shape)
        for old, new in GGUF_NAMES.items():
            name = name.replace(old, new)
        chosen = gguf.GGMLQuantizationType[kind if data.ndim == 2 else "F32"]
        packed = gguf.quants.quantize(np.ascontiguousarray(data), chosen)
        writer.add_tensor(name, packed, raw_dtype=chosen)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


GGUF_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.layers.": "blk.",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "post_attention_layernorm": "ffn_norm",
    "input_layernorm": "attn_norm",
    "model.norm": "output_norm",
    "lm_head": "output",
}
