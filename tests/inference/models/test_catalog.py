"""What is told of a model before it is loaded, and which models there are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from inference import machine
from inference.catalog import find_model, inspect, list_models
from inference.errors import ModelDamaged, ModelNotFound, OutOfMemory
from inference.events import InspectRequest, ListModelsRequest
from inference.models import building, estimates, packing
from inference.models.checkpoints import TensorHeader
from inference.models.describing import describe
from inference.models.loaded_model import LoadedModel
from inference.models.model_card import licence

from .conftest import edit_json, write_gguf

Copy = Callable[..., Path]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "hub").mkdir()
    return tmp_path / "hub"


def into_cache(cache: Path, repo: str, folder: Path, commit: str = COMMIT, ref: str = "main") -> Path:
    """Put a folder's files where a download would."""
    root = cache / f"models--{repo.replace('/', '--')}"
    (root / "refs").mkdir(parents=True, exist_ok=True)
    (root / "refs" / ref).write_text(commit)
    (root / "blobs").mkdir(exist_ok=True)
    snapshot = root / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for file in folder.iterdir():
        blob = root / "blobs" / f"{commit[:6]}-{file.name}"
        blob.write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(blob)
    return snapshot


def test_a_folder_is_described(copy_of: Copy) -> None:
    folder = copy_of()
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n# A model\n")
    edit_json(folder / "tokenizer_config.json", chat_template="{{ messages }}")
    info = describe(find_model(str(folder)))
    assert (info.source, info.name, info.architecture) == (str(folder), "llama", "LlamaForCausalLM")
    assert (info.layers, info.hidden_size, info.vocabulary, info.context_length) == (2, 64, 512, 128)
    assert (info.stored_dtype, info.format) == ("bfloat16", "safetensors")
    assert (info.licence, info.has_chat_template, info.has_attention) == ("apache-2.0", True, True)
    assert info.stored_bytes == (folder / "model.safetensors").stat().st_size
    assert (
        info.kv_bytes_per_token == 2 * 2 * 2 * 16 * 2
    )  # layers x (keys, values) x heads x head size x 16 bits


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("README.md", "---\nlicense: mit\n---\n", "mit"),
        ("README.md", "---\nlicense:\n- cc-by-4.0\ntags: [x]\n---\n", "cc-by-4.0"),
        ("README.md", "---\nlicense: other\nlicense_name: qwen-research\n---\n", "qwen-research"),
        ("README.md", "# no front matter\nlicense: mit\n", None),
        ("LICENSE", "   Apache License\n  Version 2.0, January 2004\n", "apache-2.0"),
        ("LICENSE.txt", "Permission is hereby granted,\nfree of charge, to any person", "mit"),
        ("LICENSE", "\nLLAMA 3 COMMUNITY LICENSE AGREEMENT\n", "LLAMA 3 COMMUNITY LICENSE AGREEMENT"),
        ("LICENSE", "", None),
        ("notes.txt", "mit license", None),
    ],
)
def test_the_licence_is_read_where_it_is_written(
    tmp_path: Path, name: str, text: str, expected: str | None
) -> None:
    (tmp_path / name).write_text(text)
    assert licence(tmp_path) == expected


@pytest.mark.parametrize("file", ["chat_template.jinja", "chat_template.json"])
def test_a_chat_template_in_its_own_file_counts(copy_of: Copy, file: str) -> None:
    folder = copy_of()
    assert not describe(find_model(str(folder))).has_chat_template
    (folder / file).write_text("{{ messages }}")
    assert describe(find_model(str(folder))).has_chat_template


def test_the_estimate_follows_the_request(copy_of: Copy) -> None:
    folder = str(copy_of())
    whole = inspect(InspectRequest(run_id=1, model=folder, device="cpu"))
    short = inspect(InspectRequest(run_id=1, model=folder, device="cpu", context_length=64))
    half = inspect(InspectRequest(run_id=1, model=folder, device="cpu", quantization="bf16"))
    assert short.estimate.kv_cache * 2 == whole.estimate.kv_cache
    assert half.estimate.weights * 2 == whole.estimate.weights
    assert half.info.kv_bytes_per_token * 2 == whole.info.kv_bytes_per_token
    assert whole.estimate.fits


# --- the cache --------------------------------------------------------------------------------------


def test_a_hub_id_is_found_in_the_cache_and_loads(
    cache: Path, copy_of: Copy, load_model: Callable[..., LoadedModel]
) -> None:
    into_cache(cache, "owner/tiny", copy_of())
    assert describe(find_model("owner/tiny")).name == "owner/tiny"
    assert load_model("owner/tiny").info.source == "owner/tiny"


def test_the_main_branch_is_preferred_and_any_revision_will_do(cache: Path, copy_of: Copy) -> None:
    llama, qwen = copy_of("llama"), copy_of("qwen2")
    other = into_cache(cache, "owner/tiny", qwen, commit="f" * 40, ref="dev")
    assert find_model("owner/tiny").folder == other
    main = into_cache(cache, "owner/tiny", llama)
    assert find_model("owner/tiny").folder == main


def test_a_download_that_was_stopped_says_so(cache: Path, copy_of: Copy) -> None:
    snapshot = into_cache(cache, "owner/tiny", copy_of())
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(ModelDamaged, match="not downloaded to its end") as caught:
        find_model("owner/tiny")
    assert "Download it again" in caught.value.hint


def test_what_is_not_in_the_cache_is_not_looked_for_elsewhere(cache: Path) -> None:
    with pytest.raises(ModelNotFound, match="download"):
        find_model("owner/absent")


def test_the_cache_is_listed_with_what_can_be_used(cache: Path, copy_of: Copy, tmp_path: Path) -> None:
    from .conftest import random_model

    good = copy_of("llama")
    into_cache(cache, "owner/tiny", good)
    encoder = copy_of("qwen2")
    edit_json(encoder / "config.json", model_type="bert", architectures=["BertModel"])
    into_cache(cache, "owner/encoder", encoder)
    files = tmp_path / "ggufs"
    files.mkdir()
    write_gguf(random_model("llama"), files / "tiny-q8.gguf", kind="Q8_0")
    snapshot = into_cache(cache, "owner/tiny-GGUF", files)
    entries = {entry.source: entry for entry in list_models(ListModelsRequest(run_id=1)).entries}
    assert entries["owner/tiny"].problem == ""
    assert entries["owner/tiny"].size == (good / "model.safetensors").stat().st_size
    assert "does not write text" in entries["owner/encoder"].problem
    assert entries[str(snapshot / "tiny-q8.gguf")].problem == ""
    assert entries["builtin"].origin == "builtin"
    assert {entry.origin for source, entry in entries.items() if source != "builtin"} == {"cache"}


def test_one_of_several_ggufs_of_a_repository_can_be_named(cache: Path, tmp_path: Path) -> None:
    from .conftest import random_model

    files = tmp_path / "ggufs"
    files.mkdir()
    (files / "config.json").write_text('{"model_type": "llama"}')  # many such repositories have one
    write_gguf(random_model("llama"), files / "a.gguf")
    snapshot = into_cache(cache, "owner/one", files)
    assert find_model("owner/one").checkpoint.files == (snapshot / "a.gguf",)
    write_gguf(random_model("llama"), files / "b.gguf")
    snapshot = into_cache(cache, "owner/two", files)
    with pytest.raises(ModelNotFound, match="2 GGUF files"):
        find_model("owner/two")
    assert find_model("owner/two/b.gguf").checkpoint.files == (snapshot / "b.gguf",)
    with pytest.raises(ModelNotFound):
        find_model("owner/two/c.gguf")


def test_a_missing_cache_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "absent"))
    assert [entry.origin for entry in list_models(ListModelsRequest(run_id=1)).entries] == ["builtin"]


# --- models that are stored packed ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "name", "dtype", "shape", "weights", "nbytes"),
    [
        ({}, "a.weight", "bfloat16", (8, 16), 128, 256),
        ({"quant_method": "gptq", "bits": 4}, "a.qweight", "int32", (2, 16), 256, 128),
        ({"quant_method": "gptq", "bits": 4}, "a.scales", "float16", (1, 16), 0, 32),
        ({"quant_method": "mxfp4"}, "a.experts.down_proj_blocks", "uint8", (4, 16), 128, 256),
        ({"quant_method": "mxfp4"}, "a.experts.down_proj_scales", "uint8", (4, 1), 0, 0),
        ({"quant_method": "fp8"}, "a.weight", "float8_e4m3fn", (8, 16), 128, 128),
        ({"load_in_4bit": True}, "a.weight", "uint8", (64, 1), 128, 64),
        ({"load_in_4bit": True}, "a.weight.absmax", "float32", (2,), 0, 8),
        ({"load_in_8bit": True}, "a.weight", "int8", (8, 16), 128, 128),
    ],
)
def test_packed_tensors_are_counted_as_what_they_hold(
    config: dict[str, object], name: str, dtype: str, shape: tuple[int, ...], weights: int, nbytes: int
) -> None:
    bits = {"bfloat16": 16, "float16": 16, "float32": 32, "int32": 32}.get(dtype, 8)
    elements = 1
    for size in shape:
        elements *= size
    tensor = TensorHeader(name=name, dtype=dtype, shape=shape, nbytes=elements * bits // 8)
    described = {"quantization_config": config} if config else {}
    assert packing.weights_in(tensor, described) == weights
    assert packing.bytes_held(tensor, described, 2) == nbytes


# --- placement --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        ([10**10], {"device_map": {"": 0}}),
        ([10**6, 10**10], {"device_map": {"": 1}}),
        ([700 * 10**6] * 2, {"device_map": "auto", "max_memory": {0: 700 * 10**6, 1: 700 * 10**6, "cpu": 0}}),
    ],
)
def test_one_gpu_is_used_if_it_has_room_and_all_otherwise(
    copy_of: Copy, monkeypatch: pytest.MonkeyPatch, free: list[int], expected: dict[str, object]
) -> None:
    monkeypatch.setattr(machine, "gpu_free_bytes", lambda: free)
    monkeypatch.setattr(building, "gpu_free_bytes", lambda: free)
    plan = estimates.plan(find_model(str(copy_of())), quantization="none", device="auto", context_length=None)
    assert (plan.device, plan.dtype) == ("cuda", "bfloat16")
    if len(set(free)) == 1 and len(free) > 1:
        plan = estimates.plan(
            find_model(str(copy_of("qwen2"))),
            quantization="none",
            device="cuda",
            context_length=None,
            free=10**12,
        )
        object.__setattr__(plan.estimate, "weights", 10**9)
    assert building.placement(plan) == expected


def test_a_gpu_without_room_is_refused(copy_of: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpu_free_bytes", lambda: [10**6])
    files = find_model(str(copy_of()))
    plan = estimates.plan(files, quantization="none", device="cuda", context_length=None)
    with pytest.raises(OutOfMemory, match="on the GPU"):
        estimates.refuse_if_too_big(files, plan)
