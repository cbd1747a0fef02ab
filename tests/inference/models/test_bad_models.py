"""Models that can't or must not be loaded: each is told by its kind, and no code of theirs runs."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from inference import machine
from inference.catalog import find_model, inspect, list_models
from inference.errors import (
    InferenceError,
    ModelDamaged,
    ModelNotFound,
    ModelUnsafe,
    ModelUnsupported,
    OutOfMemory,
    TokenizerMismatch,
    UnreadableFile,
)
from inference.events import InspectRequest, ListModelsRequest
from inference.models import safety
from inference.models.loaded_model import LoadedModel

from .conftest import edit_json, save_tokenizer

Copy = Callable[..., Path]
Load = Callable[..., LoadedModel]


def test_an_empty_folder(tmp_path: Path, load_model: Load) -> None:
    with pytest.raises(ModelNotFound, match="empty") as caught:
        load_model(tmp_path)
    assert "config.json" in caught.value.hint


def test_a_folder_without_a_model(tmp_path: Path, load_model: Load) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(ModelNotFound, match="no model weights"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    "source",
    ["/no/such/folder", "no-such-owner/no-such-model", "missing.gguf", "", "../x/../y/z", "~nobody-here/m"],
)
def test_what_does_not_exist(source: str, load_model: Load) -> None:
    with pytest.raises(ModelNotFound):
        load_model(source)


def test_a_file_that_is_no_model(tmp_path: Path, load_model: Load) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ModelUnsupported, match=r"notes\.txt"):
        load_model(tmp_path / "notes.txt")


def test_a_missing_shard_is_named(copy_of: Copy, load_model: Load) -> None:
    folder = copy_of("llama", max_shard_size="100KB")
    shard = sorted(folder.glob("model-*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(ModelDamaged, match=shard.name):
        load_model(folder)


def test_shards_without_their_index(copy_of: Copy, load_model: Load) -> None:
    folder = copy_of("llama", max_shard_size="100KB")
    (folder / "model.safetensors.index.json").unlink()
    with pytest.raises(ModelDamaged, match=r"model\.safetensors\.index\.json"):
        load_model(folder)


@pytest.mark.parametrize("keep", [0, 4, 8, 500, -1, -100_000])
def test_a_truncated_file_is_named(copy_of: Copy, load_model: Load, keep: int) -> None:
    file = copy_of() / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:keep])
    with pytest.raises(ModelDamaged, match=r"model\.safetensors"):
        load_model(file.parent)


def test_random_bytes_in_a_header_never_escape_as_another_error(copy_of: Copy) -> None:
    import random

    file = copy_of() / "model.safetensors"
    whole, source = file.read_bytes(), random.Random(0)
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(4):
            data[source.randrange(0, 2000)] = source.randrange(256)
        file.write_bytes(data)
        try:
            find_model(str(file.parent))
        except ModelDamaged:
            continue


def test_missing_tensors_are_listed(copy_of: Copy, load_model: Load) -> None:
    folder = copy_of()
    edit_json(folder / "config.json", num_hidden_layers=3)
    with pytest.raises(ModelDamaged, match="tensors are missing") as caught:
        load_model(folder)
    assert "layers.2" in caught.value.details


def test_weights_of_another_size(copy_of: Copy, load_model: Load) -> None:
    folder = copy_of()
    edit_json(folder / "config.json", intermediate_size=256)
    with pytest.raises(ModelDamaged, match="sizes"):
        load_model(folder)


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", '{"model_type": 3}', "\x00\x01"])
def test_a_damaged_config(copy_of: Copy, load_model: Load, content: str) -> None:
    folder = copy_of()
    (folder / "config.json").write_text(content)
    with pytest.raises((ModelDamaged, ModelUnsupported)):
        load_model(folder)


def test_a_missing_config(copy_of: Copy, load_model: Load) -> None:
    folder = copy_of()
    (folder / "config.json").unlink()
    with pytest.raises(ModelDamaged, match=r"config\.json"):
        load_model(folder)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="everything may be read here")
def test_a_file_that_may_not_be_read(copy_of: Copy, load_model: Load) -> None:
    folder = copy_of()
    (folder / "config.json").chmod(0)
    with pytest.raises(UnreadableFile):
        load_model(folder)


def test_an_unknown_architecture_is_named(copy_of: Copy, load_model: Load) -> None:
    folder = copy_of()
    edit_json(folder / "config.json", model_type="hypermodel", architectures=["HyperForCausalLM"])
    with pytest.raises(ModelUnsupported, match="hypermodel"):
        load_model(folder)
    with pytest.raises(ModelUnsupported, match="hypermodel"):
        inspect(InspectRequest(run_id=1, model=str(folder)))


def test_a_model_that_does_not_write_text(tmp_path: Path, load_model: Load) -> None:
    from transformers import ViTConfig, ViTModel

    ViTModel(
        ViTConfig(
            hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=32
        )
    ).save_pretrained(tmp_path)
    with pytest.raises(ModelUnsupported, match="does not write text"):
        load_model(tmp_path)


def test_an_adapter_without_its_model(tmp_path: Path, load_model: Load) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(ModelUnsupported, match="adapter"):
        load_model(tmp_path)


def test_an_adapter_beside_a_model_is_not_followed(copy_of: Copy, load_model: Load) -> None:
    folder = copy_of()
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "someone/else"}))
    assert load_model(folder).info.architecture == "LlamaForCausalLM"


# --- tokenizers ---------------------------------------------------------------------------------------


def test_a_tokenizer_of_a_larger_model(copy_of: Copy, load_model: Load) -> None:
    folder = copy_of()
    save_tokenizer(folder, size=700)
    with pytest.raises(TokenizerMismatch, match="700 tokens and the model only 512"):
        load_model(folder)


def test_a_tokenizer_of_a_much_smaller_model(copy_of: Copy, load_model: Load) -> None:
    folder = copy_of()
    edit_json(folder / "config.json", vocab_size=4096)
    with pytest.raises(TokenizerMismatch, match=r"only 500 tokens and the model 4,096"):
        load_model(folder)


def test_an_end_token_that_does_not_exist(copy_of: Copy, load_model: Load) -> None:
    folder = copy_of()
    edit_json(folder / "config.json", eos_token_id=5000)
    with pytest.raises(TokenizerMismatch, match="5000"):
        load_model(folder)


def test_a_padding_token_that_the_model_does_not_know_is_no_mismatch(copy_of: Copy, load_model: Load) -> None:
    folder = copy_of()
    save_tokenizer(folder, size=512)
    tokenizer = load_model(folder).tokenizer
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(folder)
    assert load_model(folder).tokenizer.pad_token_id == 512


@pytest.mark.parametrize("damage", ["missing", "not json"])
def test_a_tokenizer_that_cannot_be_read(copy_of: Copy, load_model: Load, damage: str) -> None:
    folder = copy_of()
    for file in folder.glob("tokenizer*"):
        file.unlink() if damage == "missing" else file.write_text("{")
    with pytest.raises(ModelDamaged, match="tokenizer"):
        load_model(folder)


def test_every_architecture_of_transformers_is_known_without_importing_it() -> None:
    from transformers import CONFIG_MAPPING

    assert [name for name in CONFIG_MAPPING if not safety.is_known_architecture(name)] == []
    assert not safety.is_known_architecture("hypermodel")


# --- code and pickles ---------------------------------------------------------------------------------


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A file that exists once code of a model has run."""
    return tmp_path / "it-ran"


def _write_code(folder: Path, trap: Path) -> None:
    code = f"open({str(trap)!r}, 'w').write('x')\n"
    for name in ("modeling_own.py", "configuration_own.py", "tokenization_own.py", "__init__.py"):
        (folder / name).write_text(code)


def test_a_model_with_code_of_its_own_is_refused_unrun(copy_of: Copy, load_model: Load, trap: Path) -> None:
    folder = copy_of()
    _write_code(folder, trap)
    auto_map = {"AutoConfig": "configuration_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.OwnModel"}
    edit_json(folder / "config.json", model_type="own", auto_map=auto_map)
    with pytest.raises(ModelUnsafe, match=r"configuration_own|modeling_own") as caught:
        load_model(folder)
    assert "never run" in caught.value.message
    with pytest.raises(ModelUnsafe):
        inspect(InspectRequest(run_id=1, model=str(folder)))
    assert not trap.exists()


def test_code_beside_a_model_that_transformers_knows_is_ignored(
    copy_of: Copy, load_model: Load, trap: Path
) -> None:
    """Many folders keep the code of the time before their family came into transformers."""
    folder = copy_of()
    _write_code(folder, trap)
    edit_json(folder / "config.json", auto_map={"AutoModelForCausalLM": "modeling_own.OwnModel"})
    edit_json(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization_own.Own", None]})
    loaded = load_model(folder)
    assert type(loaded.model).__module__.startswith("transformers.")
    assert type(loaded.tokenizer).__module__.startswith("transformers.")
    assert not trap.exists()


class _Payload:
    """Unpickling it runs a command, if the unpickler lets it."""

    def __init__(self, trap: Path) -> None:
        self.trap = trap

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.trap}",)


@pytest.mark.parametrize("layout", ["torch", "legacy", "plain pickle", "sharded"])
def test_a_pickle_with_a_payload_is_refused_unrun(
    copy_of: Copy, load_model: Load, trap: Path, layout: str
) -> None:
    folder = copy_of()
    (folder / "model.safetensors").unlink()
    file, content = folder / "pytorch_model.bin", {"weight": torch.zeros(2), "gift": _Payload(trap)}
    if layout == "plain pickle":
        file.write_bytes(pickle.dumps(content))
    elif layout == "legacy":
        torch.save(content, file, _use_new_zipfile_serialization=False)
    else:
        torch.save(content, file)
    if layout == "sharded":
        file.rename(folder / "pytorch_model-00001-of-00001.bin")
        index = {"weight_map": {"weight": "pytorch_model-00001-of-00001.bin"}}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelUnsafe, match="could run code"):
        load_model(folder)
    with pytest.raises(ModelUnsafe):
        inspect(InspectRequest(run_id=1, model=str(folder)))
    assert not trap.exists()


@pytest.mark.parametrize("keep", [0, 10, -50])
def test_a_truncated_pickle_is_damaged(copy_of: Copy, load_model: Load, keep: int) -> None:
    folder = copy_of()
    (folder / "model.safetensors").unlink()
    torch.save({"weight": torch.zeros(1000)}, folder / "pytorch_model.bin")
    whole = (folder / "pytorch_model.bin").read_bytes()
    (folder / "pytorch_model.bin").write_bytes(whole[:keep])
    with pytest.raises(ModelDamaged):
        load_model(folder)


def test_a_folder_with_only_other_pickles_is_unsafe(copy_of: Copy, load_model: Load) -> None:
    folder = copy_of()
    (folder / "model.safetensors").rename(folder / "consolidated.00.pth")
    with pytest.raises(ModelUnsafe, match=r"consolidated\.00\.pth"):
        load_model(folder)


def test_an_index_may_not_point_outside(copy_of: Copy, load_model: Load) -> None:
    folder = copy_of()
    (folder / "model.safetensors").rename(folder.parent / "elsewhere.safetensors")
    index = {"weight_map": {"weight": "../elsewhere.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelUnsafe, match="outside"):
        load_model(folder)


# --- memory -------------------------------------------------------------------------------------------


def test_a_model_that_cannot_fit_is_refused_before_it_is_read(
    copy_of: Copy, load_model: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "free_memory", lambda device: 1_000_000)
    with pytest.raises(OutOfMemory, match="needs about") as caught:
        load_model(copy_of())
    assert caught.value.hint


# --- the list -----------------------------------------------------------------------------------------


def test_the_list_says_what_is_wrong_instead_of_failing(copy_of: Copy, tmp_path: Path) -> None:
    good = copy_of("qwen2")
    for name in ("truncated", "coded"):
        copy_of("llama").rename(tmp_path / name)
    (tmp_path / "truncated" / "model.safetensors").write_bytes(b"short")
    edit_json(
        tmp_path / "coded" / "config.json", model_type="own", auto_map={"AutoModelForCausalLM": "m.Own"}
    )
    (tmp_path / "broken.gguf").write_bytes(b"nothing")
    listed = list_models(ListModelsRequest(run_id=1, folders=(str(tmp_path), "/no/such/folder")))
    problems = {
        Path(entry.source).name: entry.problem for entry in listed.entries if entry.origin == "folder"
    }
    assert set(problems) == {"qwen2", "truncated", "coded", "broken.gguf", "folder"}
    assert problems.pop(good.name) == ""
    assert all(problems.values())


def test_every_refusal_says_what_to_do(tmp_path: Path, load_model: Load) -> None:
    with pytest.raises(InferenceError) as caught:
        load_model(tmp_path)
    assert caught.value.hint.endswith(".")
    assert caught.value.message.endswith(".")
